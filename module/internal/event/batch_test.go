package event

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

const (
	item1 = `{"id":"one","type":"a","data":{"n":1.0}}`
	item2 = `{"type":"b","data":{},"metadata":{"x":[]}}`
	sent1 = `{"id":"one","type":"a","timestamp":"2024-01-15T10:30:00.123Z","data":{"n":1},"metadata":{}}`
	sent2 = `{"id":"wh_evt_0","type":"b","timestamp":"2024-01-15T10:30:00.123Z","data":{},"metadata":{"x":[]}}`
)

// forms are the two forms of a batch.
var forms = []struct {
	name  string
	join  func(items ...string) string
	parse func(p *Parser, body string) ([]*Event, *problem.Problem)
}{
	{
		"array",
		func(items ...string) string { return "[" + strings.Join(items, ",") + "]" },
		func(p *Parser, body string) ([]*Event, *problem.Problem) { return p.Batch([]byte(body)) },
	},
	{
		"lines",
		func(items ...string) string { return strings.Join(items, "\n") },
		func(p *Parser, body string) ([]*Event, *problem.Problem) { return p.Lines([]byte(body)) },
	},
}

func TestBatchAccepted(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, in string
		parse    func(p *Parser, body string) ([]*Event, *problem.Problem)
		want     []string
	}{
		{"array", "[" + item1 + "," + item2 + "]", forms[0].parse, []string{sent1, sent2}},
		{"array with space", " [\n" + item1 + " , \r\n" + item2 + "\t]\n", forms[0].parse, []string{sent1, sent2}},
		{"array of one", "[" + item1 + "]", forms[0].parse, []string{sent1}},
		{"lines", item1 + "\n" + item2, forms[1].parse, []string{sent1, sent2}},
		{"lines that end", item1 + "\r\n" + item2 + "\r\n", forms[1].parse, []string{sent1, sent2}},
		{"blank lines", "\n \r\n" + item1 + "\n\n\t" + item2 + " \n\n", forms[1].parse, []string{sent1, sent2}},
		{"one line", item1, forms[1].parse, []string{sent1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			events, prob := tc.parse(numberedParser(), tc.in)
			if prob != nil {
				t.Fatal(prob)
			}
			if len(events) != len(tc.want) {
				t.Fatalf("got %d events, want %d", len(events), len(tc.want))
			}
			for i, ev := range events {
				if got := string(ev.Body); got != tc.want[i] {
					t.Errorf("event %d: got %s, want %s", i, got, tc.want[i])
				}
			}
		})
	}
}

// TestBatchRefused expects every bad event, in order, and no other.
func TestBatchRefused(t *testing.T) {
	t.Parallel()
	const good, noType, unknown, duplicate, shallow = item2, `{"data":{}}`, `{"x":1}`, `{"id":"a","id":"b","type":"a","data":{}}`, `null`
	for _, tc := range []struct {
		name   string
		items  []string
		status int
		want   string
	}{
		{"one of three", []string{good, noType, good}, 422, "1 missing-field"},
		{"all", []string{noType, unknown}, 422, "0 missing-field, 1 unknown-field"},
		{"lower status", []string{noType, good, duplicate}, 400, "0 missing-field, 2 duplicate-key"},
		{"not objects", []string{shallow, `[]`, `"x"`, `[` + item1 + `]`, good}, 400, "0 not-an-object, 1 not-an-object, 2 not-an-object, 3 not-an-object"},
		{"same id", []string{item1, good, item1, item1}, 422, "2 duplicate-id-in-batch, 3 duplicate-id-in-batch"},
		{"same id in another event", []string{item1, `{"id":"one","type":"z","data":{}}`}, 422, "1 duplicate-id-in-batch"},
		{"not stable", []string{good, wrap(`"n":1e400`)}, 422, "1 not-js-stable"},
	} {
		for _, form := range forms {
			t.Run(tc.name+"/"+form.name, func(t *testing.T) {
				t.Parallel()
				events, prob := form.parse(numberedParser(), form.join(tc.items...))
				if prob == nil || events != nil {
					t.Fatalf("got %d events and problem %v, want no event", len(events), prob)
				}
				if prob.Code != problem.InvalidBatch.Code || prob.Status != tc.status {
					t.Errorf("got %d %s, want %d invalid-batch", prob.Status, prob.Code, tc.status)
				}
				if got := listed(prob); got != tc.want {
					t.Errorf("got %s, want %s", got, tc.want)
				}
			})
		}
	}
}

func listed(prob *problem.Problem) string {
	var parts []string
	for _, e := range prob.Errors {
		index := -1
		if e.Index != nil {
			index = *e.Index
		}
		parts = append(parts, fmt.Sprint(index, " ", e.Code))
	}
	return strings.Join(parts, ", ")
}

func TestBatchAsAWhole(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, in string
		kind     problem.Kind
		offset   int64
		index    int
	}{
		{"empty body", "", problem.EmptyBody, -1, -1},
		{"no event", " [ ] ", problem.EmptyBatch, -1, -1},
		{"no event and more", "[] []", problem.MalformedJSON, 3, -1},
		{"object", item1, problem.NotAnObject, 0, -1},
		{"trailing comma", "[" + item1 + ",]", problem.MalformedJSON, int64(len(item1) + 2), 1},
		{"not closed", "[" + item1, problem.MalformedJSON, int64(len(item1) + 1), -1},
		{"no comma", "[" + item1 + " " + item1 + "]", problem.MalformedJSON, int64(len(item1) + 2), -1},
		{"bad syntax after a bad event", `[{"id":5},{"type"}]`, problem.MalformedJSON, 17, 1},
		{"trailing bytes", "[" + item1 + "]x", problem.MalformedJSON, int64(len(item1) + 2), -1},
		{"not UTF-8", "[" + item1 + ",\"\xff\"]", problem.InvalidUTF8, int64(len(item1) + 3), -1},
		{"too deep", "[" + item2 + "," + wrap(`"d":`+nested(63)) + "]", problem.TooDeep, int64(2 + len(item2) + 35 + 5*62), 1},
		{"byte order mark", "\xef\xbb\xbf[]", problem.MalformedJSON, 0, -1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, prob := testParser().Batch([]byte(tc.in))
			if prob == nil {
				t.Fatal("got events, want a refusal")
			}
			pointer := "-"
			if tc.kind == problem.NotAnObject {
				pointer = ""
			}
			checkProblem(t, tc.name, prob, tc.kind, pointer, tc.offset)
			got := -1
			if prob.Index != nil {
				got = *prob.Index
			}
			if got != tc.index {
				t.Errorf("got index %d, want %d", got, tc.index)
			}
		})
	}
}

// TestLinesOnTheirOwn are read on after one that is not JSON. Offsets are
// those of the whole body.
func TestLinesOnTheirOwn(t *testing.T) {
	t.Parallel()
	in := "{\n\n" + item1 + "\n{\"type\":\"\xff\"}\n" + item2 + "\n{} x\n" + strings.Repeat("[", 65)
	_, prob := testParser().Lines([]byte(in))
	if prob == nil {
		t.Fatal("got events, want a refusal")
	}
	if got, want := listed(prob), "0 malformed-json, 2 invalid-utf8, 4 malformed-json, 5 too-deep"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	for i, want := range []int{1, 3 + len(item1) + 1 + 9, strings.Index(in, "x\n["), strings.Index(in, "[[") + 64} {
		if got := int(*prob.Errors[i].Offset); got != want {
			t.Errorf("error %d: got offset %d, want %d", i, got, want)
		}
	}
	if _, prob := testParser().Lines([]byte("\n \n")); prob == nil || prob.Code != problem.EmptyBody.Code {
		t.Errorf("blank lines: got %v, want empty-body", prob)
	}
}

func TestBatchLength(t *testing.T) {
	t.Parallel()
	items := make([]string, MaxBatch+1)
	for i := range items {
		items[i] = `{"type":"a","data":{}}`
	}
	for _, form := range forms {
		t.Run(form.name, func(t *testing.T) {
			t.Parallel()
			events, prob := form.parse(numberedParser(), form.join(items[:MaxBatch]...))
			if prob != nil || len(events) != MaxBatch {
				t.Errorf("got %d events and problem %v, want %d", len(events), prob, MaxBatch)
			}
			_, prob = form.parse(numberedParser(), form.join(items...))
			if prob == nil || prob.Code != problem.BatchTooLong.Code {
				t.Errorf("got %v, want batch-too-long", prob)
			}
		})
	}
}

func TestLargeBatchEvents(t *testing.T) {
	t.Parallel()
	item := func(id string) string {
		return `{"id":"` + id + `","type":"a.b","data":{"a":"` + strings.Repeat(id, 2*keepScratch) + `"}}`
	}
	for _, form := range forms {
		events, prob := form.parse(testParser(), form.join(item("x"), item("y"), item("z")))
		if prob != nil {
			t.Fatal(prob)
		}
		for i, id := range []string{"x", "y", "z"} {
			want := strings.Replace(wrapped(`"a":"`+strings.Repeat(id, 2*keepScratch)+`"`), `"e"`, `"`+id+`"`, 1)
			if got := string(events[i].Body); got != want {
				t.Errorf("%s: event %d: got %d bytes, want %d others", form.name, i, len(got), len(want))
			}
		}
	}
}

func TestIsBatch(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{"": false, " ": false, "[": true, " \n[]": true, "{}": false, "\"[\"": false, "\xef\xbb\xbf[]": false} {
		if got := IsBatch([]byte(in)); got != want {
			t.Errorf("%q: got %v, want %v", in, got, want)
		}
	}
}

// numberedParser generates ids that differ.
func numberedParser() *Parser {
	p, n := testParser(), 0
	p.NewID = func(time.Time) string {
		n++
		return fmt.Sprint("wh_evt_", n-1)
	}
	return p
}
