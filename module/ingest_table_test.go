package module

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
	"github.com/promptreports/caddy-webhooks/storage/storagetest"
)

// eventOf makes an event of further members and of members of data.
func eventOf(members, data string) request {
	return request{body: `{"type":"test.happened"` + members + `,"data":{` + data + `}}`}
}

// ofType sends the content type.
func (r request) ofType(value string) request {
	r.header = contentType(value)
	return r
}

// inputs are what an app may get wrong in one request, beyond the few that
// TestIngestRefusals has for each code.
func inputs() []struct {
	name   string
	req    request
	status int
	code   string
} {
	good := eventJSON("good")
	thousand := make([]string, 1001)
	for i := range thousand {
		thousand[i] = eventJSON(fmt.Sprint("n", i))
	}
	return []struct {
		name   string
		req    request
		status int
		code   string
	}{
		{"trailing bytes", request{body: good + "x"}, 400, "malformed-json"},
		{"lines as one event", request{body: good + "\n" + good + "\n"}, 400, "malformed-json"},
		{"comment", request{body: "/* c */" + good}, 400, "malformed-json"},
		{"trailing comma", request{body: strings.Replace(good, "{}}", "{},}", 1)}, 400, "malformed-json"},
		{"single quotes", request{body: strings.ReplaceAll(good, `"`, "'")}, 400, "malformed-json"},
		{"NaN", eventOf("", `"n":NaN`), 400, "malformed-json"},
		{"plus sign", eventOf("", `"n":+1`), 400, "malformed-json"},
		{"hexadecimal", eventOf("", `"n":0x1`), 400, "malformed-json"},
		{"leading zero", eventOf("", `"n":01`), 400, "malformed-json"},
		{"number", request{body: "5"}, 400, "not-an-object"},
		{"deepest nesting there is", request{body: strings.Repeat("[", 1<<19)}, 400, "too-deep"},
		{"number beyond the doubles", eventOf("", `"n":1e400`), 422, "not-js-stable"},
		{"number of 30 digits", eventOf("", `"n":123456789012345678901234567890`), 422, "not-js-stable"},
		{"type in another case", request{body: `{"Type":"test.happened","data":{}}`}, 400, "duplicate-key"},
		{"name twice in metadata", eventOf(`,"metadata":{"a":1,"a":1}`, ""), 422, "not-js-stable"},
		{"overlong form", eventOf("", "\"a\":\"\xc0\xaf\""), 400, "invalid-utf8"},
		{"UTF-16", request{body: "{\x00\"\x00"}, 400, "invalid-utf8"},
		{"UTF-32", request{body: "\x00\x00\x00{"}, 400, "invalid-utf8"},
		{"raw NUL in a string", eventOf("", "\"a\":\"\x00\""), 400, "malformed-json"},
		{"raw newline in a string", eventOf("", "\"a\":\"\n\""), 400, "malformed-json"},
		{"NUL in an id", eventOf(`,"id":"a\u0000"`, ""), 422, "invalid-id"},
		{"escape in an id", eventOf(`,"id":"\u0061"`, ""), 422, "invalid-id"},
		{"non-ASCII in an id", eventOf(`,"id":"é"`, ""), 422, "invalid-id"},
		{"surrogate in an id", eventOf(`,"id":"\ud800"`, ""), 422, "invalid-id"},
		{"escape in a type", request{body: `{"type":"test.happene\u0064","data":{}}`}, 422, "invalid-type"},
		{"surrogate in a type", request{body: `{"type":"\ud800","data":{}}`}, 422, "invalid-type"},
		{"multipart", request{body: good}.ofType("multipart/form-data; boundary=x"), 415, "unsupported-media-type"},
		{"deflate", request{body: good, header: map[string]string{"Content-Encoding": "deflate"}}, 415, "unsupported-encoding"},
		{"br", request{body: good, header: map[string]string{"Content-Encoding": "br"}}, 415, "unsupported-encoding"},
		{"zstd", request{body: good, header: map[string]string{"Content-Encoding": "zstd"}}, 415, "unsupported-encoding"},
		{"empty type", request{body: `{"type":"","data":{}}`}, 422, "missing-field"},
		{"type as a number", request{body: `{"type":5,"data":{}}`}, 422, "missing-field"},
		{"data as a string", request{body: `{"type":"test.happened","data":"x"}`}, 422, "invalid-field"},
		{"data as an array", request{body: `{"type":"test.happened","data":[]}`}, 422, "invalid-field"},
		{"metadata null", eventOf(`,"metadata":null`, ""), 422, "invalid-field"},
		{"metadata as an array", eventOf(`,"metadata":[]`, ""), 422, "invalid-field"},
		{"long id", eventOf(`,"id":"`+strings.Repeat("a", 129)+`"`, ""), 422, "invalid-id"},
		{"empty id", eventOf(`,"id":""`, ""), 422, "invalid-id"},
		{"id with a newline", eventOf(`,"id":"a\nb"`, ""), 422, "invalid-id"},
		{"id with a space", eventOf(`,"id":"a b"`, ""), 422, "invalid-id"},
		{"id with a slash", eventOf(`,"id":"a/b"`, ""), 422, "invalid-id"},
		{"id with a percent sign", eventOf(`,"id":"a%b"`, ""), 422, "invalid-id"},
		{"type in upper case", request{body: `{"type":"test.Happened","data":{}}`}, 422, "invalid-type"},
		{"type with a dash", request{body: `{"type":"test-happened","data":{}}`}, 422, "invalid-type"},
		{"type with two dots", request{body: `{"type":"test..happened","data":{}}`}, 422, "invalid-type"},
		{"type that ends in a dot", request{body: `{"type":"test.","data":{}}`}, 422, "invalid-type"},
		{"long type", request{body: `{"type":"` + strings.Repeat("a", 129) + `","data":{}}`}, 422, "invalid-type"},
		{"timestamp without a zone", eventOf(`,"timestamp":"2024-01-15T10:30:00"`, ""), 422, "invalid-timestamp"},
		{"timestamp with a space", eventOf(`,"timestamp":"2024-01-15 10:30:00Z"`, ""), 422, "invalid-timestamp"},
		{"timestamp as a number", eventOf(`,"timestamp":1705314600`, ""), 422, "invalid-timestamp"},
		{"year 9999", eventOf(`,"timestamp":"9999-12-31T23:59:59Z"`, ""), 422, "timestamp-in-future"},
		{"a day and a minute ahead", eventOf(`,"timestamp":"`+time.Now().Add(24*time.Hour+time.Minute).UTC().Format(time.RFC3339)+`"`, ""), 422, "timestamp-in-future"},
		{"more than 1000 events", request{body: "[" + strings.Join(thousand, ",") + "]"}, 422, "batch-too-long"},
		{"more than 1000 lines", request{body: strings.Join(thousand, "\n")}.ofType("application/x-ndjson"), 422, "batch-too-long"},
		{"line that is not JSON", request{body: good + "\n{\n"}.ofType("application/x-ndjson"), 400, "invalid-batch"},
		{"array as a line", request{body: "[" + good + "]"}.ofType("application/x-ndjson"), 400, "invalid-batch"},
		{"empty lines", request{body: "\n\n"}.ofType("application/x-ndjson"), 400, "empty-body"},
		{"id twice in lines", request{body: good + "\n" + good}.ofType("application/x-ndjson"), 422, "invalid-batch"},
	}
}

func TestIngestRefusesInputs(t *testing.T) {
	h := newIngest(t)
	for _, tt := range inputs() {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := h.do(tt.req)
			if code := problemCode(t, resp, body); resp.StatusCode != tt.status || code != tt.code {
				t.Errorf("got %d %s, want %d %s", resp.StatusCode, body, tt.status, tt.code)
			}
			if got := h.stored(); got != 0 {
				t.Errorf("got %d events stored after a refusal, want none", got)
			}
		})
	}
}

// A refusal tells where the trouble is, and not what was sent.
func TestIngestRefusalsSayWhere(t *testing.T) {
	h := newIngest(t)
	for name, tt := range map[string]struct {
		req  request
		want []string
	}{
		"syntax":          {request{body: `{"type":"canary"`}, []string{`"offset":16`}},
		"value":           {eventOf("", `"n":[1,9007199254740993]`), []string{`"pointer":"/data/n/1"`, `"offset":`}},
		"member":          {eventOf(`,"id":"canary.1"`, ""), []string{`"pointer":"/id"`}},
		"missing member":  {request{body: `{"type":"test.happened"}`}, []string{`"pointer":"/data"`}},
		"byte order mark": {request{body: "\ufeff" + eventJSON("canary")}, []string{"BOM", `"offset":0`}},
		"item":            {request{body: "[" + eventJSON("canary") + `,{"type":"canary.two","data":1}]`}, []string{`"index":1`, `"pointer":"/data"`, `"errors":[`}},
	} {
		_, body := h.do(tt.req)
		for _, want := range tt.want {
			if !strings.Contains(body, want) {
				t.Errorf("%s: got %s, want %s in it", name, body, want)
			}
		}
		if strings.Contains(body, "canary") || strings.Contains(body, "9007199254740993") {
			t.Errorf("%s: got payload in %s", name, body)
		}
	}
}

// What looks odd but is an event is accepted, and sent in the form of
// JavaScript.
func TestIngestAcceptsInputs(t *testing.T) {
	h := newIngest(t)
	for i, tt := range []struct {
		name, members, data string
		want                string // in the body
	}{
		{"numbers that keep their value", ``, `"n":[1.0,1e2,-0]`, `"data":{"n":[1,100,0]}`},
		{"escaped NUL", ``, `"s":"\u0000"`, `"data":{"s":"\u0000"}`},
		{"lone surrogate", ``, `"s":"\uD800"`, `"data":{"s":"\ud800"}`},
		{"leap second", `,"timestamp":"2016-12-31T23:59:60Z"`, ``, `"timestamp":"2016-12-31T23:59:60Z"`},
		{"year 0000", `,"timestamp":"0000-01-01T00:00:00Z"`, ``, `"timestamp":"0000-01-01T00:00:00Z"`},
		{"almost a day ahead", `,"timestamp":"` + time.Now().Add(23*time.Hour).UTC().Format(time.RFC3339) + `"`, ``, `"data":{}`},
		{"no metadata", ``, ``, `"metadata":{}`},
		{"no timestamp", ``, ``, `,"timestamp":"` + time.Now().UTC().Format("2006-01-02T")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := fmt.Sprint("odd", i)
			resp, body := h.do(eventOf(`,"id":"`+id+`"`+tt.members, tt.data))
			if resp.StatusCode != 202 {
				t.Fatalf("got %d %s, want 202", resp.StatusCode, body)
			}
			e, _, err := h.fake.EventByID(t.Context(), id)
			if err != nil || !strings.Contains(string(e.Body), tt.want) {
				t.Errorf("got %s, %v, want %s in it", e.Body, err, tt.want)
			}
		})
	}
}

func TestIngestGeneratesIDs(t *testing.T) {
	h := newIngest(t)
	_, body := h.do(eventOf("", ""))
	id := strings.TrimPrefix(strings.Split(body, `","`)[0], `{"id":"`)
	if !strings.HasPrefix(id, "wh_evt_") {
		t.Fatalf("got %s, want an id that starts with wh_evt_", body)
	}
	if _, _, err := h.fake.EventByID(t.Context(), id); err != nil {
		t.Errorf("got %v for the id of the answer, want the event", err)
	}
}

// An event that nobody subscribes to is kept, for the history.
func TestIngestAcceptsEventsWithoutSubscribers(t *testing.T) {
	h := newIngest(t)
	resp, body := h.do(request{body: `{"id":"lonely","type":"test.lonely","data":{}}`})
	if resp.StatusCode != 202 || strings.TrimSpace(body) != `{"id":"lonely","deliveries":0}` {
		t.Errorf("got %d %s, want 202 without a delivery", resp.StatusCode, body)
	}
	if _, _, err := h.fake.EventByID(t.Context(), "lonely"); err != nil {
		t.Errorf("got %v, want the event", err)
	}
}

func TestIngestKeepsExactPayloads(t *testing.T) {
	h := newIngestWith(t, object{"payload": "exact"})
	const data = `{ "n": [9007199254740993, 1e400, 1.0],"b":1, "b":2 }`
	for name, r := range map[string]request{
		"event":      {body: `{"id":"event","type":"test.happened","data":` + data + `}`},
		"lines":      request{body: `{"id":"lines","type":"test.happened","data":` + data + `}`}.ofType("application/x-ndjson"),
		"structured": request{body: strings.Replace(cloudJSON("structured", ""), "{}", data, 1)}.ofType(cloudType),
		"binary":     {header: ce("binary"), body: data},
	} {
		if resp, body := h.do(r); resp.StatusCode != 202 {
			t.Errorf("%s: got %d %s, want 202", name, resp.StatusCode, body)
			continue
		}
		e, _, err := h.fake.EventByID(t.Context(), name)
		if err != nil || !strings.Contains(string(e.Body), `,"data":`+data+`,"metadata":{`) {
			t.Errorf("%s: got %s, %v, want the data as it was sent", name, e.Body, err)
		}
	}
}

// A batch is stored in one commit, whatever the form.
func TestIngestStoresBatchesInOneCommit(t *testing.T) {
	h := newIngest(t)
	commits := make(chan int, 8)
	h.fake.SetHooks(storagetest.FakeHooks{BeforeAccept: func(events []storage.NewEvent) error {
		commits <- len(events)
		return nil
	}})
	for _, r := range []request{
		{body: "[" + eventJSON("a1") + "," + eventJSON("a2") + "," + eventJSON("a3") + "]"},
		request{body: eventJSON("l1") + "\n" + eventJSON("l2") + "\n" + eventJSON("a3")}.ofType("application/x-ndjson"),
		request{body: "[" + cloudJSON("c1", "") + "," + cloudJSON("c2", "") + "," + cloudJSON("c3", "") + "]"}.ofType(cloudBatchType),
	} {
		if resp, body := h.do(r); resp.StatusCode != 202 {
			t.Errorf("got %d %s, want 202", resp.StatusCode, body)
		}
		if got := <-commits; got != 3 || len(commits) != 0 {
			t.Errorf("got a commit of %d events and %d more, want one of 3", got, len(commits))
		}
	}
}

// Requests that say two things about their length, or that have a head without
// end, store nothing, and nothing in them is taken for another request.
func TestIngestRefusesFramingOnTheWire(t *testing.T) {
	h := newIngest(t)
	inner := "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n" +
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(eventJSON("smuggled")), eventJSON("smuggled"))
	size := fmt.Sprintf("%x\r\n", len(inner))
	for name, head := range map[string]string{
		"length and chunks":  fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked", len(size)),
		"chunks twice":       "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
		"unknown coding":     "Transfer-Encoding: chunky",
		"length with a sign": fmt.Sprintf("Content-Length: +%d", len(size)),
		"long head":          "X-Long: " + strings.Repeat("x", 2<<20),
	} {
		t.Run(name, func(t *testing.T) {
			answer := h.raw(func(c net.Conn) {
				_, _ = io.WriteString(c, rawHead("/", head)+size+inner+"\r\n0\r\n\r\n")
				_ = c.(*net.TCPConn).CloseWrite()
			})
			if !strings.HasPrefix(answer, "HTTP/1.1 4") && !strings.HasPrefix(answer, "HTTP/1.1 501") {
				t.Errorf("got %.200q, want a refusal", answer)
			}
			if got := h.stored(); got != 0 {
				t.Errorf("got %d events stored, want none", got)
			}
		})
	}
}

func TestIngestClientLeavesWithinBody(t *testing.T) {
	h := newIngest(t)
	const series = `caddy_webhooks_events_total{result="malformed-json"}`
	before := max(h.series(series), 0)
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprint(conn, rawHead("/", "Content-Length: 1000")+eventJSON("left"))
	conn.Close()
	for deadline := time.Now().Add(10 * time.Second); h.series(series) != before+1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("got no refusal counted for 10 s, want one")
		}
	}
	if got := h.stored(); got != 0 {
		t.Errorf("got %d events stored, want none", got)
	}
}
