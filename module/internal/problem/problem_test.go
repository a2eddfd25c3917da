package problem

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

// TestGolden holds each answer of the catalogue still: clients decide on it.
func TestGolden(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, k := range Kinds() {
		t.Run(k.Code, func(t *testing.T) {
			if seen[k.Code] {
				t.Fatalf("code %q is in the catalogue twice", k.Code)
			}
			seen[k.Code] = true
			rec := httptest.NewRecorder()
			k.New("").Write(rec)
			got := answer(rec)
			file := filepath.Join("testdata", k.Code+".golden")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(seen) {
		t.Errorf("got %d golden files, want one for each of %d codes", len(files), len(seen))
	}
}

// answer is what a client sees.
func answer(rec *httptest.ResponseRecorder) []byte {
	var b bytes.Buffer
	b.WriteString(http.StatusText(rec.Code) + "\n")
	if err := rec.Result().Header.Write(&b); err != nil {
		return nil
	}
	b.WriteString("\n" + rec.Body.String())
	return bytes.ReplaceAll(b.Bytes(), []byte("\r\n"), []byte("\n"))
}

func TestKind(t *testing.T) {
	t.Parallel()
	for _, k := range Kinds() {
		switch {
		case strings.ToLower(k.Code) != k.Code || strings.ContainsAny(k.Code, " _"):
			t.Errorf("%s: a code is lower-case words with dashes", k.Code)
		case !strings.HasSuffix(k.Title, "."):
			t.Errorf("%s: got title %q, want a sentence", k.Code, k.Title)
		case k.Status < 400 || http.StatusText(k.Status) == "":
			t.Errorf("%s: got status %d, want an error", k.Code, k.Status)
		case (k.Status >= 500 && k.Status != http.StatusLoopDetected) != (k.RetryAfter > 0):
			t.Errorf("%s: got status %d with RetryAfter %v, want one for our own failures only", k.Code, k.Status, k.RetryAfter)
		}
	}
}

func TestProblemMembers(t *testing.T) {
	t.Parallel()
	p := InvalidID.Newf("at most %d bytes", 128).WithPointer("/id").WithOffset(7)
	got, err := json.Marshal(Batch([]*Problem{p.At(3), MalformedJSON.New("").At(5)}))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"type":"urn:caddy-webhooks:problem:invalid-batch","title":"The batch holds events that are refused.","status":400,` +
		`"detail":"events that are refused: 2; nothing was stored","errors":[` +
		`{"type":"urn:caddy-webhooks:problem:invalid-id","title":"The id is not valid.","status":422,"detail":"at most 128 bytes","pointer":"/id","offset":7,"index":3},` +
		`{"type":"urn:caddy-webhooks:problem:malformed-json","title":"The body is not JSON.","status":400,"index":5}]}`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if p.Index != nil {
		t.Error("At changed the problem that it copies")
	}
	if got, want := p.Error(), "The id is not valid: at most 128 bytes"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEmptyPointerIsSent(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(NotAnObject.New("").WithPointer(""))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(got, []byte(`"pointer":""`)) {
		t.Errorf("got %s, want the pointer of the whole document", got)
	}
}

func TestRetryAfterRoundsUp(t *testing.T) {
	t.Parallel()
	rec := httptest.NewRecorder()
	p := Overloaded.New("")
	p.RetryAfter = 1200 * time.Millisecond
	p.Write(rec)
	if got := rec.Header().Get("Retry-After"); got != "2" {
		t.Errorf("got Retry-After %q, want 2", got)
	}
}

// TestReadmeExplainsEveryCode holds that the table of problems in the README
// has all of them with their status, and no other.
func TestReadmeExplainsEveryCode(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(readme), "\n| problem | status | when |\n")
	if !found {
		t.Fatal("the README has no table of problems")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	explained := make(map[string]string)
	for row := range strings.Lines(table) {
		if cells := strings.Split(row, "|"); len(cells) > 3 && !strings.HasPrefix(cells[1], "-") {
			for code := range strings.FieldsSeq(cells[1]) {
				explained[strings.Trim(code, "`")] = strings.TrimSpace(cells[2])
			}
		}
	}
	for _, k := range Kinds() {
		want := strconv.Itoa(k.Status)
		if k.Code == InvalidBatch.Code {
			want += " or lower"
		}
		if got := explained[k.Code]; got != want {
			t.Errorf("got status %q for %s in the README, want %s", got, k.Code, want)
		}
		delete(explained, k.Code)
	}
	for code := range explained {
		t.Errorf("got a row for %s in the README, want none: it is no problem", code)
	}
}
