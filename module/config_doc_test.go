package module

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryOptionIsDocumented holds that each field of the JSON configuration
// has a comment, as the comments are its reference.
func TestEveryOptionIsDocumented(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	options := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			f, ok := n.(*ast.Field)
			if !ok || f.Tag == nil || !strings.Contains(f.Tag.Value, `json:"`) {
				return true
			}
			options++
			if len(f.Names) > 0 && len(strings.TrimSpace(f.Doc.Text())) < 10 {
				t.Errorf("got no comment on %s in %s, want its meaning, unit and default", f.Names[0], name)
			}
			return true
		})
	}
	if options < 40 {
		t.Errorf("got %d options, want all of them, at least 40", options)
	}
}
