package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

// cloud makes a CloudEvent of the required attributes, further members and
// data.
func cloud(members string) string {
	return `{"specversion":"1.0","id":"c1","source":"/s","type":"com.Example.some-event_2"` + members + `,"data":{"n":1.0}}`
}

// clouded is what is sent for it with the metadata.
func clouded(metadata string) string {
	return `{"id":"c1","type":"com.Example.some-event_2","timestamp":"2024-01-15T10:30:00.123Z","data":{"n":1},"metadata":{` + metadata + `}}`
}

func TestCloudEventAccepted(t *testing.T) {
	t.Parallel()
	many := manyKeys(100)
	many = strings.ReplaceAll(many, "key_", "key")
	for _, tc := range []struct{ name, in, want string }{
		{"required attributes", cloud(""), clouded(`"source":"/s"`)},
		{"time", cloud(`,"time":"2018-04-05T17:31:00Z"`), strings.Replace(clouded(`"source":"/s"`), "2024-01-15T10:30:00.123Z", "2018-04-05T17:31:00Z", 1)},
		{"all attributes", cloud(`,"dataschema":"https://e.example/s","subject":"sub","datacontenttype":"application/json"`), clouded(`"source":"/s","subject":"sub","dataschema":"https://e.example/s"`)},
		{"extensions in their order", cloud(`,"zebra":"z","apple":"a","mid2dle":"m"`), clouded(`"source":"/s","zebra":"z","apple":"a","mid2dle":"m"`)},
		{"extensions before all else", `{"ext":"x","data":{"n":1},"subject":"sub","type":"com.Example.some-event_2","source":"/s","id":"c1","after":true,"specversion":"1.0"}`, clouded(`"source":"/s","subject":"sub","ext":"x","after":true`)},
		{"types of extensions", cloud(`,"a":"s","b":true,"c":false,"d":0,"e":-0,"f":2147483647,"g":-2147483648`), clouded(`"source":"/s","a":"s","b":true,"c":false,"d":0,"e":0,"f":2147483647,"g":-2147483648`)},
		{"nulls are absent", cloud(`,"time":null,"subject":null,"dataschema":null,"datacontenttype":null,"data_base64":null,"traceparent":null,"ext":null`), clouded(`"source":"/s"`)},
		{"names of an event are extensions", cloud(`,"timestamp":"x","metadata":"y"`), clouded(`"source":"/s","timestamp":"x","metadata":"y"`)},
		{"extensions that JavaScript puts first", cloud(`,"10":"b","9":"a"`), clouded(`"9":"a","10":"b","source":"/s"`)},
		{"text in the form of JavaScript", cloud(`,"subject":"a\/\u00e9\u003c\"\\"`), clouded(`"source":"/s","subject":"a/é<\"\\"`)},
		{"names with escapes", cloud(`,"subj\u0065ct":"sub","\u0065xt":"x"`), clouded(`"source":"/s","subject":"sub","ext":"x"`)},
		{"empty extension", cloud(`,"ext":""`), clouded(`"source":"/s","ext":""`)},
		{"many extensions", cloud(`,` + many), clouded(`"source":"/s",` + many)},
		{"white space", strings.NewReplacer(`,`, " ,\n\t", `:`, " : ").Replace(cloud(`,"ext":true,"int":7`)), clouded(`"source":"/s","ext":true,"int":7`)},
		{"JSON of a kind of its own", cloud(`,"datacontenttype":"application/vnd.example+json; charset=UTF-8"`), clouded(`"source":"/s"`)},
		{"trace context", cloud(`,"traceparent":"00-p","tracestate":"a=\"1\""`), clouded(`"source":"/s"`)},
		{"empty trace context", cloud(`,"traceparent":"","tracestate":""`), clouded(`"source":"/s"`)},
	} {
		for _, exact := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/exact=%t", tc.name, exact), func(t *testing.T) {
				t.Parallel()
				p := testParser()
				p.Exact = exact
				ev, prob := p.CloudEvent([]byte(tc.in))
				if prob != nil {
					t.Fatalf("got %v, want an event", prob)
				}
				want := tc.want
				if _, data, ok := strings.Cut(tc.in, `"data"`); exact && ok {
					data = strings.TrimLeft(data, " :")
					want = strings.Replace(want, `{"n":1}`, data[:strings.IndexByte(data, '}')+1], 1)
				}
				if got := string(ev.Body); got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			})
		}
	}
}

func TestCloudEventTraceContext(t *testing.T) {
	t.Parallel()
	ev, prob := testParser().CloudEvent([]byte(cloud(`,"traceparent":"00-p\u002d1","tracestate":"a=\"1\""`)))
	if prob != nil {
		t.Fatal(prob)
	}
	if ev.TraceParent != "00-p-1" || ev.TraceState != `a="1"` {
		t.Errorf("got %q and %q, want the trace context as it was meant", ev.TraceParent, ev.TraceState)
	}
}

// cloudRefusals are refused in all modes. A pointer "-" is none.
var cloudRefusals = []struct {
	name, in string
	kind     problem.Kind
	pointer  string
	offset   int64
}{
	{"no specversion", `{"id":"i","source":"s","type":"t","data":{}}`, problem.MissingField, "/specversion", -1},
	{"no id", `{"specversion":"1.0","source":"s","type":"t","data":{}}`, problem.MissingField, "/id", -1},
	{"no source", `{"specversion":"1.0","id":"i","type":"t","data":{}}`, problem.MissingField, "/source", -1},
	{"no type", `{"specversion":"1.0","id":"i","source":"s","data":{}}`, problem.MissingField, "/type", -1},
	{"no data", `{"specversion":"1.0","id":"i","source":"s","type":"t"}`, problem.MissingField, "/data", -1},
	{"nothing", `{}`, problem.MissingField, "/specversion", -1},
	{"an event", item1, problem.MissingField, "/specversion", -1},
	{"empty specversion", `{"specversion":"","id":"i","source":"s","type":"t","data":{}}`, problem.MissingField, "/specversion", 1},
	{"empty id", `{"id":"","specversion":"1.0","source":"s","type":"t","data":{}}`, problem.MissingField, "/id", 6},
	{"empty source", `{"source":"","specversion":"1.0","id":"i","type":"t","data":{}}`, problem.MissingField, "/source", 1},
	{"empty type", `{"type":"","specversion":"1.0","id":"i","source":"s","data":{}}`, problem.MissingField, "/type", 8},
	{"specversion null", `{"specversion":null,"id":"i","source":"s","type":"t","data":{}}`, problem.MissingField, "/specversion", -1},
	{"id null", `{"specversion":"1.0","id":null,"source":"s","type":"t","data":{}}`, problem.MissingField, "/id", -1},
	{"source null", `{"specversion":"1.0","id":"i","source":null,"type":"t","data":{}}`, problem.MissingField, "/source", -1},
	{"type null", `{"specversion":"1.0","id":"i","source":"s","type":null,"data":{}}`, problem.MissingField, "/type", -1},
	{"older version", `{"specversion":"0.3","id":"i","source":"s","type":"t","data":{}}`, problem.InvalidField, "/specversion", 1},
	{"version as a number", `{"specversion":1.0,"id":"i","source":"s","type":"t","data":{}}`, problem.InvalidField, "/specversion", 15},
	{"source as a number", `{"source":5,"specversion":"1.0","id":"i","type":"t","data":{}}`, problem.InvalidField, "/source", 10},
	{"id outside of the alphabet", `{"id":"a/b","specversion":"1.0","source":"s","type":"t","data":{}}`, problem.InvalidID, "/id", 6},
	{"id as a number", `{"id":5,"specversion":"1.0","source":"s","type":"t","data":{}}`, problem.InvalidID, "/id", 6},
	{"type outside of the alphabet", `{"type":"a/b","specversion":"1.0","id":"i","source":"s","data":{}}`, problem.InvalidType, "/type", 8},
	{"type with an empty part", `{"type":"a..b","specversion":"1.0","id":"i","source":"s","data":{}}`, problem.InvalidType, "/type", 8},
	{"long type", `{"type":"` + strings.Repeat("A", 129) + `","specversion":"1.0","id":"i","source":"s","data":{}}`, problem.InvalidType, "/type", 8},
	{"time that is none", `{"time":"yesterday","specversion":"1.0","id":"i","source":"s","type":"t","data":{}}`, problem.InvalidTimestamp, "/time", 8},
	{"time as a number", `{"time":1,"specversion":"1.0","id":"i","source":"s","type":"t","data":{}}`, problem.InvalidTimestamp, "/time", 8},
	{"time in the future", `{"time":"2999-01-01T00:00:00Z","specversion":"1.0","id":"i","source":"s","type":"t","data":{}}`, problem.TimestampInFuture, "/time", 8},
	{"empty subject", `{"subject":"","specversion":"1.0","id":"i","source":"s","type":"t","data":{}}`, problem.InvalidField, "/subject", 1},
	{"empty dataschema", `{"dataschema":"","specversion":"1.0","id":"i","source":"s","type":"t","data":{}}`, problem.InvalidField, "/dataschema", 1},
	{"subject as an object", `{"subject":{"a":1,"a":1},"specversion":"1.0","id":"i","source":"s","type":"t","data":{}}`, problem.InvalidField, "/subject", 11},
	{"subject with a newline", `{"subject":"a\nb","specversion":"1.0","id":"i","source":"s","type":"t","data":{}}`, problem.InvalidField, "/subject", 11},
	{"subject with a C1 control", `{"subject":"a\u0085b","specversion":"1.0","id":"i","source":"s","type":"t","data":{}}`, problem.InvalidField, "/subject", 11},
	{"subject with a surrogate", `{"subject":"a\ud800b","specversion":"1.0","id":"i","source":"s","type":"t","data":{}}`, problem.InvalidField, "/subject", 11},
	{"subject with a noncharacter", `{"subject":"a\uffffb","specversion":"1.0","id":"i","source":"s","type":"t","data":{}}`, problem.InvalidField, "/subject", 11},
	{"extension with a noncharacter", `{"ext":"\ufdd0","specversion":"1.0","id":"i","source":"s","type":"t","data":{}}`, problem.InvalidField, "/ext", 7},
	{"fraction", `{"ext":1.5,"specversion":"1.0","id":"i","source":"s","type":"t","data":{}}`, problem.InvalidField, "/ext", 7},
	{"integer with an exponent", `{"ext":1e2,"specversion":"1.0","id":"i","source":"s","type":"t","data":{}}`, problem.InvalidField, "/ext", 7},
	{"integer beyond 32 bits", `{"ext": 2147483648,"specversion":"1.0","id":"i","source":"s","type":"t","data":{}}`, problem.InvalidField, "/ext", 8},
	{"integer far beyond", `{"ext":1e999,"specversion":"1.0","id":"i","source":"s","type":"t","data":{}}`, problem.InvalidField, "/ext", 7},
	{"extension as an array", `{"ext":[1],"specversion":"1.0","id":"i","source":"s","type":"t","data":{}}`, problem.InvalidField, "/ext", 7},
	{"extension as an object", `{"ext":{"a":1,"a":2},"specversion":"1.0","id":"i","source":"s","type":"t","data":{}}`, problem.InvalidField, "/ext", 7},
	{"data_base64", `{"specversion":"1.0","id":"i","source":"s","type":"t","data_base64":"AAEC"}`, problem.DataNotJSON, "/data_base64", 54},
	{"data in both forms", `{"specversion":"1.0","id":"i","source":"s","type":"t","data":{},"data_base64":"AAEC"}`, problem.DataNotJSON, "/data_base64", 64},
	{"data of another type", `{"datacontenttype":"text/xml","specversion":"1.0","id":"i","source":"s","type":"t","data":"<a/>"}`, problem.DataNotJSON, "/datacontenttype", 1},
	{"data of another charset", `{"datacontenttype":"application/json; charset=latin1","specversion":"1.0","id":"i","source":"s","type":"t","data":{}}`, problem.DataNotJSON, "/datacontenttype", 1},
	{"data of no type", `{"datacontenttype":"json","specversion":"1.0","id":"i","source":"s","type":"t","data":{}}`, problem.DataNotJSON, "/datacontenttype", 1},
	{"data null", `{"specversion":"1.0","id":"i","source":"s","type":"t","data":null}`, problem.InvalidField, "/data", 61},
	{"data as a string", `{"specversion":"1.0","id":"i","source":"s","type":"t","data":"{}"}`, problem.InvalidField, "/data", 61},
	{"data as an array", `{"specversion":"1.0","id":"i","source":"s","type":"t","data":[]}`, problem.InvalidField, "/data", 61},
	{"attribute twice", `{"specversion":"1.0","id":"i","source":"s","id":"j","type":"t","data":{}}`, problem.DuplicateKey, "/id", 43},
	{"attribute twice, once null", `{"specversion":"1.0","id":"i","source":"s","subject":null,"subject":"s","type":"t","data":{}}`, problem.DuplicateKey, "/subject", 58},
	{"extension twice", `{"ext":"a","specversion":"1.0","id":"i","source":"s","ext":"a","type":"t","data":{}}`, problem.DuplicateKey, "/ext", 53},
	{"attribute in another case", `{"specversion":"1.0","ID":"i","source":"s","type":"t","data":{}}`, problem.DuplicateKey, "/ID", 21},
	{"name of an extension in upper case", `{"specversion":"1.0","myExt":"i","source":"s","id":"i","type":"t","data":{}}`, problem.UnknownField, "/myExt", 21},
	{"name of an extension with a mark", `{"specversion":"1.0","my_ext":"i","source":"s","id":"i","type":"t","data":{}}`, problem.UnknownField, "/my_ext", 21},
	{"name of an extension that is empty", `{"specversion":"1.0","":"i","source":"s","id":"i","type":"t","data":{}}`, problem.UnknownField, "/", 21},
	{"truncated", `{"specversion":"1.0","ext":"i`, problem.MalformedJSON, "-", 29},
	{"number that is none", `{"specversion":"1.0","ext":01}`, problem.MalformedJSON, "-", 27},
	{"literal that is none", `{"specversion":"1.0","ext":nope}`, problem.MalformedJSON, "-", 28},
	{"no object", `"x"`, problem.NotAnObject, "", 0},
	{"array", `[` + cloud("") + `]`, problem.NotAnObject, "", 0},
	{"empty body", " ", problem.EmptyBody, "-", -1},
}

func TestCloudEventRefused(t *testing.T) {
	t.Parallel()
	for _, exact := range []bool{false, true} {
		for _, tc := range cloudRefusals {
			p := testParser()
			p.Exact = exact
			_, prob := p.CloudEvent([]byte(tc.in))
			if prob == nil {
				t.Errorf("%s: got an event, want %s", tc.name, tc.kind.Code)
				continue
			}
			checkProblem(t, tc.name, prob, tc.kind, tc.pointer, tc.offset)
		}
	}
}

func TestCloudEventOutsideOfTheCatalogue(t *testing.T) {
	t.Parallel()
	p := testParser()
	p.Types = func(eventType string) bool { return eventType == "com.Example.known" }
	_, prob := p.CloudEvent([]byte(cloud("")))
	if prob == nil {
		t.Fatal("got an event, want a refusal")
	}
	checkProblem(t, "type", prob, problem.UnknownEventType, "/type", -1)
}

// TestTypesOfCloudEvents are none of other events, unless the parser says so.
func TestTypesOfCloudEvents(t *testing.T) {
	t.Parallel()
	p := testParser()
	in := []byte(`{"type":"com.Example.some-event","data":{}}`)
	if _, prob := p.Event(in); prob == nil || prob.Code != problem.InvalidType.Code {
		t.Errorf("got %v, want invalid-type", prob)
	}
	p.CloudTypes = true
	if _, prob := p.Event(in); prob != nil {
		t.Errorf("got %v where all types are admitted, want an event", prob)
	}
}

func TestCloudBatch(t *testing.T) {
	t.Parallel()
	second := strings.Replace(cloud(`,"ext":1`), "c1", "c2", 1)
	events, prob := testParser().CloudBatch([]byte(" [" + cloud(`,"other":true`) + ",\n" + second + "]"))
	if prob != nil {
		t.Fatal(prob)
	}
	want := []string{clouded(`"source":"/s","other":true`), strings.Replace(clouded(`"source":"/s","ext":1`), "c1", "c2", 1)}
	for i, ev := range events {
		if got := string(ev.Body); got != want[i] {
			t.Errorf("event %d: got %s, want %s", i, got, want[i])
		}
	}
	if len(events) != 2 {
		t.Errorf("got %d events, want 2", len(events))
	}
}

func TestCloudBatchRefused(t *testing.T) {
	t.Parallel()
	good := cloud("")
	other := strings.Replace(good, "c1", "c2", 1)
	tooMany := make([]string, MaxBatch+1)
	for i := range tooMany {
		tooMany[i] = strings.Replace(good, "c1", fmt.Sprint("c", i), 1)
	}
	for _, tc := range []struct {
		name, in string
		kind     problem.Kind
		errors   string
	}{
		{"bad items", "[" + good + `,{"specversion":"1.0"},` + other + `,5,` + item1 + `]`, problem.InvalidBatch, "1 missing-field, 3 not-an-object, 4 missing-field"},
		{"same id", "[" + good + "," + other + "," + good + "]", problem.InvalidBatch, "2 duplicate-id-in-batch"},
		{"no event", "[]", problem.EmptyBatch, ""},
		{"one event", good, problem.NotAnObject, ""},
		{"too many", "[" + strings.Join(tooMany, ",") + "]", problem.BatchTooLong, ""},
		{"truncated", "[" + good, problem.MalformedJSON, ""},
	} {
		events, prob := testParser().CloudBatch([]byte(tc.in))
		if prob == nil || events != nil {
			t.Errorf("%s: got %d events and problem %v, want a problem only", tc.name, len(events), prob)
			continue
		}
		if got := listed(prob); prob.Code != tc.kind.Code || got != tc.errors {
			t.Errorf("%s: got %s of %s, want %s of %s", tc.name, prob.Code, got, tc.kind.Code, tc.errors)
		}
	}
}

func FuzzCloudEvent(f *testing.F) {
	for _, tc := range cloudRefusals {
		f.Add([]byte(tc.in), true)
	}
	for _, members := range []string{``, `,"subject":"s","dataschema":"d","z":"\u00e9","1":true,"0":-0`, `,"ext":null,"traceparent":"t","time":null`} {
		f.Add([]byte(cloud(members)), false)
		f.Add([]byte("["+cloud(members)+","+cloud("")+"]"), true)
	}
	f.Fuzz(func(t *testing.T, in []byte, exact bool) {
		p := testParser()
		p.Exact = exact
		kept := bytes.Clone(in)
		ev, prob := p.CloudEvent(in)
		checkCloud(t, exact, ev, prob)
		if prob == nil {
			checkAttributes(t, in, ev)
		}
		events, prob := p.CloudBatch(in)
		if (len(events) > 0) == (prob != nil) {
			t.Errorf("got %d events and problem %v, want one of them", len(events), prob)
		}
		checkCloud(t, exact, nil, prob)
		for _, ev := range events {
			checkCloud(t, exact, ev, nil)
		}
		if !bytes.Equal(in, kept) {
			t.Error("the body was written to")
		}
	})
}

// checkCloud expects a problem, or exactly the members of an event.
func checkCloud(t *testing.T, exact bool, ev *Event, prob *problem.Problem) {
	t.Helper()
	p := testParser()
	p.Exact, p.CloudTypes = exact, true
	checkAnswer(t, p, ev, prob)
	if ev == nil {
		return
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(ev.Body, &members); err != nil || len(members) != 5 {
		t.Errorf("got %s and error %v, want five members", ev.Body, err)
	}
}

// checkAttributes compares the metadata with what the standard library reads.
func checkAttributes(t *testing.T, in []byte, ev *Event) {
	t.Helper()
	var sent map[string]any
	var got struct{ Metadata map[string]any }
	if err := json.Unmarshal(in, &sent); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(ev.Body, &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"id", "type", "time", "data", "specversion", "datacontenttype", "data_base64", "traceparent", "tracestate"} {
		delete(sent, name)
	}
	for name, value := range sent {
		switch value := value.(type) {
		case nil:
			delete(sent, name)
		case float64:
			sent[name] = value + 0 // JavaScript writes 0 for -0
		}
	}
	if want, have := fmt.Sprint(sent), fmt.Sprint(got.Metadata); want != have {
		t.Errorf("got metadata %s, want %s", have, want)
	}
}

func BenchmarkCloudEvent(b *testing.B) {
	in := []byte(cloud(`,"subject":"sub","time":"2024-01-15T10:30:00Z","datacontenttype":"application/json","ext":"x"`))
	p := Parser{}
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if _, prob := p.CloudEvent(in); prob != nil {
			b.Fatal(prob)
		}
	}
}
