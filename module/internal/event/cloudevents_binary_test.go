package event

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

// ceHeader makes the headers of a CloudEvent from names and values, which
// follow on the required attributes; an empty value leaves out the header.
func ceHeader(pairs ...string) http.Header {
	h := http.Header{}
	pairs = append([]string{"specversion", "1.0", "id", "c1", "source", "/s", "type", "com.Example.some-event_2"}, pairs...)
	for i := 0; i < len(pairs); i += 2 {
		h.Set("ce-"+pairs[i], pairs[i+1])
		if pairs[i+1] == "" {
			h.Del("ce-" + pairs[i])
		}
	}
	return h
}

func TestBinaryCloudEventAccepted(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		header http.Header
		want   string
	}{
		{"required attributes", ceHeader(), `"source":"/s"`},
		{"extensions sorted by name", ceHeader("zebra", "z", "apple", "a", "subject", "sub", "dataschema", "d", "mid2dle", "m"), `"source":"/s","subject":"sub","dataschema":"d","apple":"a","mid2dle":"m","zebra":"z"`},
		{"values are strings", ceHeader("a", "true", "b", "7", "c", "null"), `"source":"/s","a":"true","b":"7","c":"null"`},
		{"percent-encoding", ceHeader("subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"), `"source":"/s","subject":"Euro € 😀"`},
		{"percent-encoding in lower case and without need", ceHeader("subject", "%e2%82%ac%41"), `"source":"/s","subject":"€A"`},
		{"one round of percent-decoding", ceHeader("subject", "%2541"), `"source":"/s","subject":"%41"`},
		{"double-quoted", ceHeader("subject", `"a \"b\" \\ \c, d"`), `"source":"/s","subject":"a \"b\" \\ c, d"`},
		{"double-quoted and percent-encoded", ceHeader("subject", `"a%20b%22"`), `"source":"/s","subject":"a b\""`},
		{"quote by percent-encoding", ceHeader("subject", "%22a%22"), `"source":"/s","subject":"\"a\""`},
		{"space without encoding", ceHeader("subject", "a b"), `"source":"/s","subject":"a b"`},
		{"UTF-8 without encoding", ceHeader("subject", "é"), `"source":"/s","subject":"é"`},
		{"name by encoding", ceHeader("id", "%63%31"), `"source":"/s"`},
		{"content type among the attributes", ceHeader("datacontenttype", "application/json"), `"source":"/s"`},
		{"integer-like names", ceHeader("10", "b", "9", "a"), `"9":"a","10":"b","source":"/s"`},
		{"trace context", ceHeader("traceparent", "00-p", "tracestate", "a=1"), `"source":"/s"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ev, prob := testParser().BinaryCloudEvent(tc.header, []byte(` {"n":1.0} `))
			if prob != nil {
				t.Fatalf("got %v, want an event", prob)
			}
			if got, want := string(ev.Body), clouded(tc.want); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestBinaryCloudEventKeepsExactData(t *testing.T) {
	t.Parallel()
	p := testParser()
	p.Exact = true
	const data = `{ "n" : 1.0, "n":[9007199254740993] }`
	ev, prob := p.BinaryCloudEvent(ceHeader("ext", "x", "time", "2018-04-05T03:56:24Z"), []byte("\n"+data+"\n"))
	if prob != nil {
		t.Fatal(prob)
	}
	want := `{"id":"c1","type":"com.Example.some-event_2","timestamp":"2018-04-05T03:56:24Z","data":` + data + `,"metadata":{"source":"/s","ext":"x"}}`
	if got := string(ev.Body); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestBinaryCloudEventRefused(t *testing.T) {
	t.Parallel()
	twice := ceHeader()
	twice.Add("ce-id", "c2")
	empty := ceHeader()
	empty.Set("ce-source", "")
	for _, tc := range []struct {
		name    string
		header  http.Header
		body    string
		kind    problem.Kind
		pointer string
		offset  int64
	}{
		{"no specversion", ceHeader("specversion", ""), `{}`, problem.MissingField, "/specversion", -1},
		{"no id", ceHeader("id", ""), `{}`, problem.MissingField, "/id", -1},
		{"no source", ceHeader("source", ""), `{}`, problem.MissingField, "/source", -1},
		{"no type", ceHeader("type", ""), `{}`, problem.MissingField, "/type", -1},
		{"empty source", empty, `{}`, problem.MissingField, "/source", -1},
		{"no data", ceHeader(), "", problem.MissingField, "/data", -1},
		{"blank data", ceHeader(), " \n", problem.MissingField, "/data", -1},
		{"data null", ceHeader(), "null", problem.InvalidField, "/data", 0},
		{"data as an array", ceHeader(), "[{}]", problem.InvalidField, "/data", 0},
		{"data that is not stable", ceHeader(), `{"a":[1e400]}`, problem.NotJSStable, "/data/a/0", 6},
		{"data that is no JSON", ceHeader(), `{"a":1`, problem.MalformedJSON, "-", 6},
		{"something after the data", ceHeader(), `{"a":1},"subject":"evil"`, problem.MalformedJSON, "-", 7},
		{"data that is no UTF-8", ceHeader(), "{\"a\":\"\xff\"}", problem.InvalidUTF8, "-", 6},
		{"deep data", ceHeader(), `{"d":` + nested(63) + `}`, problem.TooDeep, "-", 5 * 63},
		{"no JSON before a bad attribute", ceHeader("id", "a.b"), `{`, problem.MalformedJSON, "-", 1},
		{"id outside of the alphabet", ceHeader("id", "a.b"), `{}`, problem.InvalidID, "/id", -1},
		{"type outside of the alphabet", ceHeader("type", "a b"), `{}`, problem.InvalidType, "/type", -1},
		{"time that is none", ceHeader("time", "now"), `{}`, problem.InvalidTimestamp, "/time", -1},
		{"older version", ceHeader("specversion", "0.3"), `{}`, problem.InvalidField, "/specversion", -1},
		{"header twice", twice, `{}`, problem.DuplicateKey, "/id", -1},
		{"data as a header", ceHeader("data", "{}"), `{}`, problem.UnknownField, "/data", -1},
		{"data_base64 as a header", ceHeader("data_base64", "AAEC"), `{}`, problem.UnknownField, "/data_base64", -1},
		{"name with a dash", ceHeader("my-ext", "x"), `{}`, problem.UnknownField, "/my-ext", -1},
		{"no name", http.Header{"Ce-": {"x"}}, `{}`, problem.UnknownField, "/", -1},
		{"other content type in an attribute", ceHeader("datacontenttype", "text/plain"), `{}`, problem.DataNotJSON, "/datacontenttype", -1},
		{"percent sign alone", ceHeader("subject", "50%"), `{}`, problem.InvalidField, "/subject", -1},
		{"percent sign and one digit", ceHeader("subject", "50%2"), `{}`, problem.InvalidField, "/subject", -1},
		{"percent sign and no digits", ceHeader("subject", "50%zz"), `{}`, problem.InvalidField, "/subject", -1},
		{"overlong form", ceHeader("subject", "%C0%A0"), `{}`, problem.InvalidField, "/subject", -1},
		{"Latin-1", ceHeader("subject", "caf\xe9"), `{}`, problem.InvalidField, "/subject", -1},
		{"encoded surrogate", ceHeader("subject", "%ED%A0%80"), `{}`, problem.InvalidField, "/subject", -1},
		{"encoded newline", ceHeader("subject", "a%0Ab"), `{}`, problem.InvalidField, "/subject", -1},
		{"quote that does not end", ceHeader("subject", `"a`), `{}`, problem.InvalidField, "/subject", -1},
		{"quote that ends in a backslash", ceHeader("subject", `"a\`), `{}`, problem.InvalidField, "/subject", -1},
		{"quote that ends early", ceHeader("subject", `"a" b`), `{}`, problem.InvalidField, "/subject", -1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, prob := testParser().BinaryCloudEvent(tc.header, []byte(tc.body))
			if prob == nil {
				t.Fatalf("got an event, want %s", tc.kind.Code)
			}
			checkProblem(t, tc.name, prob, tc.kind, tc.pointer, tc.offset)
		})
	}
}

func TestHasCloudHeaders(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"specversion", "id", "source", "type"} {
		h := http.Header{}
		h.Set("CE-"+name, "x")
		if !HasCloudHeaders(h) {
			t.Errorf("got no CloudEvent for ce-%s, want one", name)
		}
	}
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("Ce-Something", "x")
	if HasCloudHeaders(h) {
		t.Error("got a CloudEvent without any of its required attributes, want none")
	}
}

func TestIsJSON(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{
		"application/json": true, "Application/JSON": true, "application/json; charset=utf-8": true, "text/json": true,
		"application/vnd.a+json;charset=\"UTF-8\"": true, "application/cloudevents+json": true,
		"": false, "json": false, "text/plain": false, "application/xml": false, "application/jsonp": false,
		"application/x-ndjson": false, "application/json; charset=latin1": false, "application/json; charset": false,
	} {
		if got := IsJSON(in); got != want {
			t.Errorf("%q: got %v, want %v", in, got, want)
		}
	}
}

func FuzzBinaryCloudEvent(f *testing.F) {
	f.Add("subject", "a%20b", "/s", []byte(`{"n":1}`), false)
	f.Add("ext", `"a\"b"`, "%E2%82%AC", []byte(`{"n":[1.0]}`), true)
	f.Add("data", "{}", "x", []byte(`{"a":1},"b":2`), false)
	f.Add(`a"b\`, "\x00\xff", "%ff", []byte{}, false)
	f.Fuzz(func(t *testing.T, name, value, source string, body []byte, exact bool) {
		header := ceHeader()
		header["Ce-Source"] = []string{source}
		header["Ce-"+name] = []string{value}
		p := testParser()
		p.Exact = exact
		ev, prob := p.BinaryCloudEvent(header, body)
		checkCloud(t, exact, ev, prob)
		if prob == nil && !json.Valid(body) {
			t.Errorf("got %s accepted, want only JSON", body)
		}
		if prob == nil && !strings.ContainsAny(source, `%"`) {
			if got := ev.Field("metadata.source"); name != "source" && fmt.Sprint(got) != fmt.Sprint([]string{source}) {
				t.Errorf("got source %q, want %q", got, source)
			}
		}
		if prob == nil && !utf8.Valid(ev.Body) {
			t.Errorf("got %q, want UTF-8", ev.Body)
		}
	})
}
