package event

import (
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

var receipt = time.Date(2024, 1, 15, 11, 30, 0, 123_456_789, time.FixedZone("", 3600))

// testParser has a clock that stands still and ids that are known.
func testParser() *Parser {
	return &Parser{
		Now:   func() time.Time { return receipt },
		NewID: func(time.Time) string { return "wh_evt_new" },
	}
}

// wrap makes an event of members of data.
func wrap(members string) string { return `{"id":"e","type":"a.b","data":{` + members + `}}` }

// wrapped is what is sent for it.
func wrapped(members string) string {
	return `{"id":"e","type":"a.b","timestamp":"2024-01-15T10:30:00.123Z","data":{` + members + `},"metadata":{}}`
}

func nested(levels int) string {
	return strings.Repeat(`{"a":`, levels) + "1" + strings.Repeat("}", levels)
}

func TestEventAccepted(t *testing.T) {
	t.Parallel()
	const stamp = `"timestamp":"2024-01-15T10:30:00.123Z"`
	long := strings.Repeat("a", 128)
	for _, tc := range []struct{ name, in, want string }{
		{"documentation", example, exampleBody},
		{"compact", exampleBody, exampleBody},
		{"nothing but the required", `{"type":"a","data":{}}`, `{"id":"wh_evt_new","type":"a",` + stamp + `,"data":{},"metadata":{}}`},
		{"any order", `{"metadata":{"b":[1,2]},"data":{"a":"x"},"timestamp":"2024-01-15T10:30:00Z","type":"a","id":"i"}`, `{"id":"i","type":"a","timestamp":"2024-01-15T10:30:00Z","data":{"a":"x"},"metadata":{"b":[1,2]}}`},
		{"metadata before data", `{"metadata":{"b":1},"type":"a","data":{"a":[true,false,null]},"id":"i"}`, `{"id":"i","type":"a",` + stamp + `,"data":{"a":[true,false,null]},"metadata":{"b":1}}`},
		{"names with escapes", `{"\u0069d":"i","t\u0079pe":"a","data":{}}`, `{"id":"i","type":"a",` + stamp + `,"data":{},"metadata":{}}`},
		{"all white space", " \t\r\n{ \"type\" : \"a\" ,\n\"data\" : { \"x\" : [ 1 , 2 ] , \"y\" : { } , \"z\" : [ ] } } \n", `{"id":"wh_evt_new","type":"a",` + stamp + `,"data":{"x":[1,2],"y":{},"z":[]},"metadata":{}}`},
		{"longest id and type", `{"id":"` + long + `","type":"` + long + `","data":{}}`, `{"id":"` + long + `","type":"` + long + `",` + stamp + `,"data":{},"metadata":{}}`},
		{"whole alphabet of ids", `{"id":"AZaz09_~:-","type":"a_0.b9._","data":{}}`, `{"id":"AZaz09_~:-","type":"a_0.b9._",` + stamp + `,"data":{},"metadata":{}}`},
		{"leap second", `{"id":"e","type":"a","timestamp":"2016-12-31T23:59:60Z","data":{}}`, `{"id":"e","type":"a","timestamp":"2016-12-31T23:59:60Z","data":{},"metadata":{}}`},
		{"24 hours ahead", `{"id":"e","type":"a","timestamp":"2024-01-16T10:30:00Z","data":{}}`, `{"id":"e","type":"a","timestamp":"2024-01-16T10:30:00Z","data":{},"metadata":{}}`},
		{"far past", `{"id":"e","type":"a","timestamp":"0000-01-01T00:00:00z","data":{}}`, `{"id":"e","type":"a","timestamp":"0000-01-01T00:00:00z","data":{},"metadata":{}}`},
		{"timestamp with an escape", `{"id":"e","type":"a","timestamp":"2024-01-15T10:30:00\u002B02:00","data":{}}`, `{"id":"e","type":"a","timestamp":"2024-01-15T10:30:00+02:00","data":{},"metadata":{}}`},
		{"deepest", wrap(`"d":` + nested(62)), wrapped(`"d":` + nested(62))},
		{"integer keys", wrap(`"b":1,"10":{"2":0,"1":0},"9":[3],"a":4`), wrapped(`"9":[3],"10":{"1":0,"2":0},"b":1,"a":4`)},
		{"integer keys in order", wrap(`"0":1,"1":2,"x":3`), wrapped(`"0":1,"1":2,"x":3`)},
		{"integer keys and no more", wrap(`"2":0,"1":0,"0":0`), wrapped(`"0":0,"1":0,"2":0`)},
		{"greatest array index", wrap(`"4294967295":1,"4294967294":2,"99999999999":3,"00":4,"-1":5,"":6`), wrapped(`"4294967294":2,"4294967295":1,"99999999999":3,"00":4,"-1":5,"":6`)},
		{"integer key with an escape", wrap(`"b":1,"\u0031":2`), wrapped(`"1":2,"b":1`)},
		{"prototype", wrap(`"__proto__":{"a":1},"constructor":2,"toString":3`), wrapped(`"__proto__":{"a":1},"constructor":2,"toString":3`)},
		{"same name in different objects", wrap(`"a":{"a":{"a":1}},"b":{"a":1}`), wrapped(`"a":{"a":{"a":1}},"b":{"a":1}`)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ev, prob := testParser().Event([]byte(tc.in))
			if prob != nil {
				t.Fatalf("got %v, want an event", prob)
			}
			if got := string(ev.Body); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			head := `{"id":"` + ev.ID + `","type":"` + ev.Type + `","timestamp":"` + ev.Timestamp + `","data":`
			if !strings.HasPrefix(string(ev.Body), head) {
				t.Errorf("got body %s, want it to start with %s", ev.Body, head)
			}
			if cap(ev.Body) != len(ev.Body) {
				t.Errorf("got capacity %d, want %d", cap(ev.Body), len(ev.Body))
			}
		})
	}
}

// refusals holds what is refused whatever the payload mode. A pointer "-" is
// none, an offset -1 is none.
var refusals = []struct {
	name, in string
	kind     problem.Kind
	pointer  string
	offset   int64
}{
	{"empty", "", problem.EmptyBody, "-", -1},
	{"white space", " \r\n\t", problem.EmptyBody, "-", -1},
	{"not JSON", "hello", problem.MalformedJSON, "-", 0},
	{"truncated", `{"type":"a"`, problem.MalformedJSON, "-", 11},
	{"truncated in a string", `{"type":"a`, problem.MalformedJSON, "-", 10},
	{"truncated after a backslash", `{"type":"a\`, problem.MalformedJSON, "-", 11},
	{"truncated in an escape", `{"type":"\u00`, problem.MalformedJSON, "-", 9},
	{"truncated in a literal", `{"type":"a","data":tru`, problem.MalformedJSON, "-", 22},
	{"truncated in a number", `{"type":"a","data":{"n":-`, problem.MalformedJSON, "-", 25},
	{"trailing bytes", `{"type":"a","data":{}}x`, problem.MalformedJSON, "-", 22},
	{"trailing NUL", "{\"type\":\"a\",\"data\":{}}\x00", problem.MalformedJSON, "-", 22},
	{"two documents", `{"type":"a","data":{}}{"type":"a","data":{}}`, problem.MalformedJSON, "-", 22},
	{"two lines", "{\"type\":\"a\",\"data\":{}}\n{\"type\":\"a\",\"data\":{}}\n", problem.MalformedJSON, "-", 23},
	{"comment", `{"type":"a",/* c */"data":{}}`, problem.MalformedJSON, "-", 12},
	{"trailing comma", `{"type":"a","data":{},}`, problem.MalformedJSON, "-", 22},
	{"trailing comma in data", `{"type":"a","data":{"a":1,}}`, problem.MalformedJSON, "-", 26},
	{"trailing comma in an array", `{"type":"a","data":{"a":[1,]}}`, problem.MalformedJSON, "-", 27},
	{"leading comma", `{,"type":"a","data":{}}`, problem.MalformedJSON, "-", 1},
	{"no comma", `{"type":"a" "data":{}}`, problem.MalformedJSON, "-", 12},
	{"no comma in an array", `{"type":"a","data":{"a":[1 2]}}`, problem.MalformedJSON, "-", 27},
	{"no colon", `{"type" "a","data":{}}`, problem.MalformedJSON, "-", 8},
	{"single quotes", `{'type':'a','data':{}}`, problem.MalformedJSON, "-", 1},
	{"name without quotes", `{type:"a","data":{}}`, problem.MalformedJSON, "-", 1},
	{"NaN", wrap(`"n":NaN`), problem.MalformedJSON, "-", 35},
	{"Infinity", wrap(`"n":-Infinity`), problem.MalformedJSON, "-", 36},
	{"plus sign", wrap(`"n":+1`), problem.MalformedJSON, "-", 35},
	{"hexadecimal", wrap(`"n":0x1`), problem.MalformedJSON, "-", 36},
	{"leading zero", wrap(`"n":01`), problem.MalformedJSON, "-", 35},
	{"negative leading zero", wrap(`"n":-01`), problem.MalformedJSON, "-", 36},
	{"bare point", wrap(`"n":.5`), problem.MalformedJSON, "-", 35},
	{"no digit after the point", wrap(`"n":1.`), problem.MalformedJSON, "-", 37},
	{"no digit in the exponent", wrap(`"n":1e`), problem.MalformedJSON, "-", 37},
	{"no digit after the exponent's sign", wrap(`"n":1e+`), problem.MalformedJSON, "-", 38},
	{"mismatched brackets", wrap(`"n":[1}`), problem.MalformedJSON, "-", 37},
	{"literal in another case", wrap(`"n":True`), problem.MalformedJSON, "-", 35},
	{"literal that goes on", wrap(`"n":nullx`), problem.MalformedJSON, "-", 39},
	{"unknown escape", wrap(`"n":"\x41"`), problem.MalformedJSON, "-", 36},
	{"bad unicode escape", wrap(`"n":"\u12G4"`), problem.MalformedJSON, "-", 36},
	{"raw NUL in a string", wrap("\"n\":\"a\x00\""), problem.MalformedJSON, "-", 37},
	{"raw newline in a string", wrap("\"n\":\"a\n\""), problem.MalformedJSON, "-", 37},
	{"raw NUL between tokens", wrap("\x00"), problem.MalformedJSON, "-", 31},
	{"form feed between tokens", wrap("\f"), problem.MalformedJSON, "-", 31},
	{"byte order mark", "\xef\xbb\xbf" + exampleBody, problem.MalformedJSON, "-", 0},
	{"null", "null", problem.NotAnObject, "", 0},
	{"string", ` "x" `, problem.NotAnObject, "", 1},
	{"number", "5", problem.NotAnObject, "", 0},
	{"array", `[{"type":"a","data":{}}]`, problem.NotAnObject, "", 0},
	{"truncated scalar", "nul", problem.MalformedJSON, "-", 3},
	{"65 levels", wrap(`"d":` + nested(63)), problem.TooDeep, "-", 35 + 5*62},
	{"65 levels of arrays", wrap(`"d":` + strings.Repeat("[", 100_000)), problem.TooDeep, "-", 35 + 62},
	{"deep garbage", strings.Repeat("[", 100_000), problem.TooDeep, "-", 64},
	{"overlong form", wrap("\"n\":\"\xc0\xaf\""), problem.InvalidUTF8, "-", 36},
	{"raw surrogate", wrap("\"n\":\"\xed\xa0\x80\""), problem.InvalidUTF8, "-", 36},
	{"beyond Unicode", wrap("\"n\":\"\xf5\x80\x80\x80\""), problem.InvalidUTF8, "-", 36},
	{"truncated character", "{\"type\":\"\xe2\x82", problem.InvalidUTF8, "-", 9},
	{"Latin-1", wrap("\"n\":\"caf\xe9\""), problem.InvalidUTF8, "-", 39},
	{"UTF-16 LE", "{\x00\"\x00i\x00", problem.InvalidUTF8, "-", 0},
	{"UTF-16 BE", "\x00{\x00\"\x00i", problem.InvalidUTF8, "-", 0},
	{"UTF-16 with a mark", "\xff\xfe{\x00\"\x00", problem.InvalidUTF8, "-", 0},
	{"UTF-32 BE", "\x00\x00\x00{", problem.InvalidUTF8, "-", 0},
	{"id twice", `{"id":"a","id":"b","type":"a","data":{}}`, problem.DuplicateKey, "/id", 10},
	{"id in two cases", `{"id":"a","ID":"b","type":"a","data":{}}`, problem.DuplicateKey, "/ID", 10},
	{"type in upper case", `{"Type":"a","data":{}}`, problem.DuplicateKey, "/Type", 1},
	{"timestamp with a long s", `{"type":"a","timeſtamp":"x","data":{}}`, problem.DuplicateKey, "/timeſtamp", 12},
	{"data twice", `{"type":"a","data":{"a":1},"data":{}}`, problem.DuplicateKey, "/data", 27},
	{"metadata twice by escape", `{"type":"a","metadata":{},"met\u0061data":{},"data":{}}`, problem.DuplicateKey, "/metadata", 26},
	{"duplicate after a bad id", `{"id":5,"id":"b","type":"a","data":{}}`, problem.DuplicateKey, "/id", 8},
	{"bad syntax after a bad id", `{"id":5,"type":"a","data":{}`, problem.MalformedJSON, "-", 28},
	{"no type", `{"data":{}}`, problem.MissingField, "/type", -1},
	{"nothing", `{}`, problem.MissingField, "/type", -1},
	{"empty type", `{"type":"","data":{}}`, problem.MissingField, "/type", 8},
	{"empty type after a space", `{"type": "","data":{}}`, problem.MissingField, "/type", 9},
	{"bad id after spaces", "{\"id\"\t:\r\n \"a.b\",\"type\":\"a\",\"data\":{}}", problem.InvalidID, "/id", 10},
	{"bad type after a space", `{"type": "A","data":{}}`, problem.InvalidType, "/type", 9},
	{"bad timestamp after a space", `{"type":"a","timestamp": "x","data":{}}`, problem.InvalidTimestamp, "/timestamp", 25},
	{"type null", `{"type":null,"data":{}}`, problem.MissingField, "/type", 8},
	{"type number", `{"type": 5,"data":{}}`, problem.MissingField, "/type", 9},
	{"no data", `{"type":"a"}`, problem.MissingField, "/data", -1},
	{"data null", `{"type":"a","data":null}`, problem.InvalidField, "/data", 19},
	{"data array", `{"type":"a","data":[1e400]}`, problem.InvalidField, "/data", 19},
	{"data string", `{"type":"a","data":"{}"}`, problem.InvalidField, "/data", 19},
	{"metadata null", `{"type":"a","data":{},"metadata":null}`, problem.InvalidField, "/metadata", 33},
	{"unknown member", `{"type":"a","data":{},"source":"s"}`, problem.UnknownField, "/source", 22},
	{"unknown member with marks", `{"type":"a","data":{},"a/b~c":{"x":[]}}`, problem.UnknownField, "/a~1b~0c", 22},
	{"unknown long member", `{"type":"a","data":{},"` + strings.Repeat("x", 600) + `":1}`, problem.UnknownField, "", 22},
	{"empty id", `{"id":"","type":"a","data":{}}`, problem.InvalidID, "/id", 6},
	{"long id", `{"id":"` + strings.Repeat("a", 129) + `","type":"a","data":{}}`, problem.InvalidID, "/id", 6},
	{"id null", `{"id":null,"type":"a","data":{}}`, problem.InvalidID, "/id", 6},
	{"id number", `{"id": 5,"type":"a","data":{}}`, problem.InvalidID, "/id", 7},
	{"id with a dot", `{"id":"a.b","type":"a","data":{}}`, problem.InvalidID, "/id", 6},
	{"id with a slash", `{"id":"a/b","type":"a","data":{}}`, problem.InvalidID, "/id", 6},
	{"id with a newline", `{"id":"a\nb","type":"a","data":{}}`, problem.InvalidID, "/id", 6},
	{"id with an escaped letter", `{"id":"\u0061","type":"a","data":{}}`, problem.InvalidID, "/id", 6},
	{"id with a NUL", `{"id":"\u0000","type":"a","data":{}}`, problem.InvalidID, "/id", 6},
	{"id with a surrogate", `{"id":"\ud800","type":"a","data":{}}`, problem.InvalidID, "/id", 6},
	{"id beyond ASCII", `{"id":"é","type":"a","data":{}}`, problem.InvalidID, "/id", 6},
	{"type in capitals", `{"type":"A.B","data":{}}`, problem.InvalidType, "/type", 8},
	{"type with a dash", `{"type":"a-b","data":{}}`, problem.InvalidType, "/type", 8},
	{"type with an empty part", `{"type":"a..b","data":{}}`, problem.InvalidType, "/type", 8},
	{"type that starts with a dot", `{"type":".a","data":{}}`, problem.InvalidType, "/type", 8},
	{"type that ends with a dot", `{"type":"a.","data":{}}`, problem.InvalidType, "/type", 8},
	{"type with an escaped letter", `{"type":"\u0061","data":{}}`, problem.InvalidType, "/type", 8},
	{"type with a wildcard", `{"type":"a.*","data":{}}`, problem.InvalidType, "/type", 8},
	{"long type", `{"type":"` + strings.Repeat("a", 129) + `","data":{}}`, problem.InvalidType, "/type", 8},
	{"timestamp null", `{"type":"a","timestamp":null,"data":{}}`, problem.InvalidTimestamp, "/timestamp", 24},
	{"timestamp number", `{"type":"a","timestamp":1705314600,"data":{}}`, problem.InvalidTimestamp, "/timestamp", 24},
	{"timestamp truncated", `{"type":"a","timestamp":"2024`, problem.MalformedJSON, "-", 29},
	{"timestamp without zone", `{"type":"a","timestamp":"2024-01-15T10:30:00","data":{}}`, problem.InvalidTimestamp, "/timestamp", 24},
	{"timestamp ahead", `{"type":"a","timestamp":"2024-01-16T10:30:01Z","data":{}}`, problem.TimestampInFuture, "/timestamp", 24},
	{"timestamp ahead by its zone", `{"type":"a","timestamp":"2024-01-16T09:30:01-01:00","data":{}}`, problem.TimestampInFuture, "/timestamp", 24},
	{"year 9999", `{"type":"a","timestamp":"9999-12-31T23:59:59Z","data":{}}`, problem.TimestampInFuture, "/timestamp", 24},
}

func TestEventRefused(t *testing.T) {
	t.Parallel()
	for _, exact := range []bool{false, true} {
		for _, tc := range refusals {
			p := testParser()
			p.Exact = exact
			_, prob := p.Event([]byte(tc.in))
			if prob == nil {
				t.Errorf("%s: got an event, want %s", tc.name, tc.kind.Code)
				continue
			}
			checkProblem(t, tc.name, prob, tc.kind, tc.pointer, tc.offset)
		}
	}
}

func checkProblem(t *testing.T, name string, got *problem.Problem, kind problem.Kind, pointer string, offset int64) {
	t.Helper()
	if got.Code != kind.Code || got.Status != kind.Status {
		t.Errorf("%s: got %d %s (%s), want %d %s", name, got.Status, got.Code, got.Detail, kind.Status, kind.Code)
	}
	gotPointer, gotOffset := "-", int64(-1)
	if got.Pointer != nil {
		gotPointer = *got.Pointer
	}
	if got.Offset != nil {
		gotOffset = *got.Offset
	}
	if gotPointer != pointer {
		t.Errorf("%s: got pointer %q, want %q", name, gotPointer, pointer)
	}
	if gotOffset != offset {
		t.Errorf("%s: got offset %d, want %d", name, gotOffset, offset)
	}
}

func TestNotJSStable(t *testing.T) {
	t.Parallel()
	many := manyKeys(100)
	for _, tc := range []struct {
		name, data, pointer string
		offset              int64
	}{
		{"integer above 2^53", `"n":9007199254740993`, "/data/n", 35},
		{"beyond the doubles", `"n":1e400`, "/data/n", 35},
		{"too close to zero", `"n":1e-400`, "/data/n", 35},
		{"30 digits", `"n":123456789012345678901234567890`, "/data/n", 35},
		{"more digits than it has", `"n":0.1000000000000000055`, "/data/n", 35},
		{"deep in arrays", `"x":[0,{"y/z~":[[1,1e400]]}]`, "/data/x/1/y~1z~0/0/1", 50},
		{"beside objects that ended", `"a":{"b":{"c":1}},"d":[{"e":1},{"f":[],"g":1e999}]`, "/data/d/1/g", 74},
		{"name twice", `"a":1,"b":2,"a":3`, "/data/a", 43},
		{"name twice by an escape", `"a":1,"\u0061":3`, "/data/a", 37},
		{"name twice within an array", `"l":[0,{"x":{"é":1,"\u00e9":2}}]`, "/data/l/1/x/é", 51},
		{"integer key twice", `"z":0,"1":1,"0":0,"1":2`, "/data/1", 49},
		{"empty name twice", `"":1,"":2`, "/data/", 36},
		{"prototype twice", `"__proto__":1,"__proto__":2`, "/data/__proto__", 45},
		{"name twice among many", many + `,"key_50":0`, "/data/key_50", int64(32 + len(many))},
		{"two names twice among many", many + `,"key_70":0,"key_20":0`, "/data/key_70", int64(32 + len(many))},
		{"number in an object after a reordered one", `"o":{"b":1,"1":1},"p":{"q":1e400}`, "/data/p/q", 58},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := testParser()
			in := wrap(tc.data)
			_, prob := p.Event([]byte(in))
			if prob == nil {
				t.Fatal("got an event, want not-js-stable")
			}
			checkProblem(t, tc.name, prob, problem.NotJSStable, tc.pointer, tc.offset)

			p.Exact = true
			ev, prob := p.Event([]byte(in))
			if prob != nil {
				t.Fatalf("exact: got %v, want an event", prob)
			}
			if got, want := string(ev.Body), wrapped(tc.data); got != want {
				t.Errorf("exact: got %s, want %s", got, want)
			}
		})
	}
}

// TestPointerIsBounded cuts pointers to the object or array around the value.
func TestPointerIsBounded(t *testing.T) {
	t.Parallel()
	fits := strings.Repeat("x", maxPointer-len("/data/")-len(`""`))
	for _, tc := range []struct{ name, data, want string }{
		{"long name", `"a":{"` + strings.Repeat("x", 1<<16) + `":[1e400]}`, "/data/a"},
		{"name that fits", `"` + fits + `":1e400`, "/data/" + fits},
		{"index after it", `"` + fits + `":[1e400]`, "/data/" + fits},
		{"name after it", `"` + fits + `":{"a":{"b":1e400}}`, "/data/" + fits},
		{"name that grows", `"a":{"` + strings.Repeat("~", 300) + `":1e400}`, "/data/a"},
	} {
		_, prob := testParser().Event([]byte(wrap(tc.data)))
		if prob == nil || prob.Pointer == nil {
			t.Errorf("%s: got %v, want a pointer", tc.name, prob)
		} else if *prob.Pointer != tc.want {
			t.Errorf("%s: got a pointer of %d bytes, want %d", tc.name, len(*prob.Pointer), len(tc.want))
		}
	}
}

func TestExactKeepsBytes(t *testing.T) {
	t.Parallel()
	p := testParser()
	p.Exact = true
	const data = "{ \"b\": 1.0,\r\n\t\"1\": \"\\u0041\\/\", \"b\" : -0 , \"e\":\"\\uD800\" }"
	const metadata = `{ "x":[ ] }`
	ev, prob := p.Event([]byte(`{"metadata": ` + metadata + ` , "type":"a", "id":"e","data": ` + data + ` }`))
	if prob != nil {
		t.Fatal(prob)
	}
	want := `{"id":"e","type":"a","timestamp":"2024-01-15T10:30:00.123Z","data":` + data + `,"metadata":` + metadata + `}`
	if got := string(ev.Body); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestCatalogue(t *testing.T) {
	t.Parallel()
	p := testParser()
	p.Types = func(eventType string) bool { return eventType == "prompt.created" }
	if _, prob := p.Event([]byte(`{"type":"prompt.created","data":{}}`)); prob != nil {
		t.Errorf("got %v, want an event", prob)
	}
	_, prob := p.Event([]byte(`{"type":"prompt.deleted","data":{}}`))
	if prob == nil {
		t.Fatal("got an event, want a refusal")
	}
	checkProblem(t, "type", prob, problem.UnknownEventType, "/type", -1)
}

// TestLargeEvents are not copied, but are as exact as small ones.
func TestLargeEvents(t *testing.T) {
	t.Parallel()
	for _, size := range []int{keepScratch - 600, keepScratch, 1 << 20} {
		text := strings.Repeat("x", size)
		for _, in := range []string{
			`{"id":"e","type":"a.b","data":{"a":"` + text + `"}}`,
			`{"metadata":{},"id":"e","type":"a.b","data":{"a":"` + text + `"}}`,
			`{"id":"e","type":"a.b","data":{"a":"` + text + `"` + strings.Repeat(" ", size) + `}}`,
		} {
			ev, prob := testParser().Event([]byte(in))
			if prob != nil {
				t.Fatal(prob)
			}
			if got, want := string(ev.Body), wrapped(`"a":"`+text+`"`); got != want {
				t.Errorf("size %d: got %d bytes, want %d", size, len(got), len(want))
			}
			if cap(ev.Body) != len(ev.Body) {
				t.Errorf("size %d: got capacity %d, want %d", size, cap(ev.Body), len(ev.Body))
			}
		}
	}
}

// TestDetailsHoldNoPayload sends a canary in every place that is refused.
func TestDetailsHoldNoPayload(t *testing.T) {
	t.Parallel()
	const canary = "canary"
	for _, in := range []string{
		canary, `{"type":"a","data":{}}` + canary, `{"type":"` + canary + `!","data":{}}`, `{"id":"` + canary + `.","type":"a","data":{}}`,
		`{"type":"a","timestamp":"` + canary + `","data":{}}`, `{"type":"a","` + canary + `":1,"data":{}}`, `{"type":"a","data":"` + canary + `"}`,
		wrap(`"` + canary + `":1e400`), wrap(`"` + canary + `":1,"` + canary + `":2`), wrap(`"` + canary + `\x"`), wrap("\"" + canary + "\xff\""),
	} {
		_, prob := testParser().Event([]byte(in))
		if prob == nil {
			t.Errorf("%q: got an event, want a refusal", in)
		} else if strings.Contains(prob.Detail+prob.Title, canary) {
			t.Errorf("got detail %q, want no payload in it", prob.Detail)
		}
	}
}

// TestBodyIsNotKept overwrites the request's buffer, as a pool would.
func TestBodyIsNotKept(t *testing.T) {
	t.Parallel()
	for _, exact := range []bool{false, true} {
		p := testParser()
		p.Exact = exact
		in := []byte(exampleBody)
		ev, prob := p.Event(in)
		if prob != nil {
			t.Fatal(prob)
		}
		clear(in)
		if _, prob := p.Event([]byte(strings.Repeat("[", 64) + "1" + strings.Repeat("]", 64))); prob == nil {
			t.Fatal("got an event, want a refusal")
		}
		if got := string(ev.Body); got != exampleBody {
			t.Errorf("got %s, want it unchanged", got)
		}
		if got := ev.ID + ev.Type + ev.Timestamp; got != "wh_evt_abc123version.promoted2024-01-15T10:30:00Z" {
			t.Errorf("got %q, want it unchanged", got)
		}
	}
}

func TestZeroParser(t *testing.T) {
	t.Parallel()
	var p Parser
	ev, prob := p.Event([]byte(`{"type":"a","data":{}}`))
	if prob != nil {
		t.Fatal(prob)
	}
	at, err := time.Parse(time.RFC3339, ev.Timestamp)
	if err != nil || time.Since(at).Abs() > time.Minute || len(ev.Timestamp) != len(receiptFormat) {
		t.Errorf("got timestamp %q, want the time of receipt (%v)", ev.Timestamp, err)
	}
	if !validID([]byte(ev.ID)) || !strings.HasPrefix(ev.ID, idPrefix) {
		t.Errorf("got id %q, want a generated one", ev.ID)
	}
}

// TestAllocations takes the least of many runs: the race detector makes pools
// forget now and then.
func TestAllocations(t *testing.T) {
	p := Parser{Types: func(eventType string) bool { return eventType == "version.promoted" }}
	in := []byte(example)
	got := math.Inf(1)
	for range 50 {
		got = min(got, testing.AllocsPerRun(1, func() { _, _ = p.Event(in) }))
	}
	if got > 2 {
		t.Errorf("got %v allocations for the documentation's event, want 2 at most", got)
	}
}

// TestMemory holds the promise of one output buffer and little else.
func TestMemory(t *testing.T) {
	p := Parser{}
	in := []byte(exampleWithData(t, 4<<20))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ev, prob := p.Event(in)
	runtime.ReadMemStats(&after)
	if prob != nil {
		t.Fatal(prob)
	}
	if got, want := after.TotalAlloc-before.TotalAlloc, uint64(len(in)+len(in)/8); got > want {
		t.Errorf("got %d bytes allocated for an event of %d, want %d at most", got, len(ev.Body), want)
	}
}
