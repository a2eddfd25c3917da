package delivery

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/promptreports/caddy-webhooks/storage"
)

func TestCodesAreAClosedList(t *testing.T) {
	t.Parallel()
	declared := declaredCodes(t)
	if len(declared) < 20 {
		t.Fatalf("got %d codes from the source, want more than 20", len(declared))
	}
	for _, code := range append(declared, storage.CodeInterrupted, "http_200", "http_400", "http_503", "http_599") {
		if !IsCode(code) {
			t.Errorf("got no code %q, want one", code)
		}
	}
	for _, text := range []string{
		"", "timeout", "HTTP_503", "http_", "http_5xx", "http_99", "http_0503", "http_+503", "http_9999", "http_302", "http_410",
	} {
		if IsCode(text) {
			t.Errorf("got a code %q, want none", text)
		}
	}
}

// declaredCodes reads the constants Code… of this package from its source, so
// that one which is added is not forgotten.
func declaredCodes(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Code") {
				return true
			}
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				code, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				codes = append(codes, code)
			}
			return true
		})
	}
	return codes
}

// TestReadmeExplainsEveryCode holds that the table of codes in the README has
// all of them, and no other.
func TestReadmeExplainsEveryCode(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(readme), "\n| code | meaning |\n")
	if !found {
		t.Fatal("the README has no table of codes")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	explained := make(map[string]bool)
	for row := range strings.Lines(table) {
		for name := range strings.FieldsFuncSeq(strings.Split(row, "|")[1], func(r rune) bool { return r == ' ' || r == '`' }) {
			explained[name] = true
		}
	}
	for _, code := range append(declaredCodes(t), storage.CodeInterrupted, "http_<status>") {
		if !explained[code] {
			t.Errorf("got no row for the code %s in the README, want one", code)
		}
		delete(explained, code)
	}
	delete(explained, "---")
	for code := range explained {
		t.Errorf("got a row for %s in the README, want none: it is no code", code)
	}
}
