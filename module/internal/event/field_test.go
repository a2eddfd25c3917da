package event

import (
	"slices"
	"testing"
)

func TestField(t *testing.T) {
	t.Parallel()
	const in = `{"id":"e1","type":"a.b","timestamp":"2024-01-15T10:30:00Z","data":{"n":10,"f":1.5,"t":true,"f2":false,"z":null,` +
		`"s":"a \"b\" \u00e9","e":"","o":{"x":{"y":"deep"},"l":["p",2,true,null,{"q":1},["r"],"s"]},"empty":[],"k\"ey":"quoted","id":"inner","1":"one"},` +
		`"metadata":{"folderId":"fld_1","data":{"o":"other"},"br}ac":"]","last":{"a":[{"x":"}"}],"b":"end"}}}`
	spaced := `{ "id" : "e1" , "type" : "a.b" , "timestamp" : "2024-01-15T10:30:00Z" , "data" : { "n" : 10 , "f" : 1.5 , "t" : true , "f2" : false , "z" : null , ` +
		`"s" : "a \"b\" \u00e9" , "e" : "" , "o" : { "x" : { "y" : "deep" } , "l" : [ "p" , 2 , true , null , { "q" : 1 } , [ "r" ] , "s" ] } , "empty" : [ ] , "k\"ey" : "quoted" , "id" : "inner" , "1" : "one" } , ` +
		`"metadata" : { "folderId" : "fld_1" , "data" : { "o" : "other" } , "br}ac" : "]" , "last" : { "a" : [ { "x" : "}" } ] , "b" : "end" } } }`
	for _, tc := range []struct {
		path string
		want []string
	}{
		{"id", []string{"e1"}},
		{"type", []string{"a.b"}},
		{"timestamp", []string{"2024-01-15T10:30:00Z"}},
		{"data", nil},
		{"data.n", []string{"10"}},
		{"data.f", []string{"1.5"}},
		{"data.t", []string{"true"}},
		{"data.f2", []string{"false"}},
		{"data.z", nil},
		{"data.s", []string{`a "b" é`}},
		{"data.e", []string{""}},
		{"data.o", nil},
		{"data.o.x", nil},
		{"data.o.x.y", []string{"deep"}},
		{"data.o.x.y.z", nil},
		{"data.o.l", []string{"p", "2", "true", "s"}},
		{"data.o.l.0", nil},
		{"data.empty", nil},
		{`data.k"ey`, []string{"quoted"}},
		{"data.id", []string{"inner"}},
		{"data.1", []string{"one"}},
		{"data.missing", nil},
		{"data.missing.more", nil},
		{"metadata.folderId", []string{"fld_1"}},
		{"metadata.data.o", []string{"other"}},
		{"metadata.br}ac", []string{"]"}},
		{"metadata.last.b", []string{"end"}},
		{"metadata.folderid", nil},
		{"id.x", nil},
		{"source", nil},
		{"", nil},
		{".", nil},
		{"data.", nil},
		{"data..n", nil},
	} {
		for name, p := range map[string]struct {
			parser Parser
			in     string
		}{"stable": {Parser{}, in}, "exact": {Parser{Exact: true}, spaced}} {
			ev, prob := p.parser.Event([]byte(p.in))
			if prob != nil {
				t.Fatal(prob)
			}
			if got := ev.Field(tc.path); !slices.Equal(got, tc.want) {
				t.Errorf("%s %q: got %q, want %q", name, tc.path, got, tc.want)
			}
		}
	}
}

// TestFieldGivenTwice is what an exact payload may hold. JavaScript has the
// last.
func TestFieldGivenTwice(t *testing.T) {
	t.Parallel()
	p := Parser{Exact: true}
	ev, prob := p.Event([]byte(`{"type":"a","data":{"a":"first","b":0,"\u0061":"last"}}`))
	if prob != nil {
		t.Fatal(prob)
	}
	if got := ev.Field("data.a"); !slices.Equal(got, []string{"last"}) {
		t.Errorf("got %q, want the last", got)
	}
}

func TestFieldOfNothing(t *testing.T) {
	t.Parallel()
	if got := (&Event{}).Field("data.a"); got != nil {
		t.Errorf("got %q, want nothing", got)
	}
}
