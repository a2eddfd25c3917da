package module

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
	"github.com/promptreports/caddy-webhooks/storage"
	"github.com/promptreports/caddy-webhooks/storage/storagetest"
)

const testToken = "correct-horse-battery-staple"

// ingestHarness is a Caddy with handlers of several kinds over an outbox in
// memory, whose only endpoint is paused: what is accepted stays pending.
type ingestHarness struct {
	*harness
	fake *openFake
}

func newIngest(t *testing.T) *ingestHarness {
	t.Helper()
	return newIngestWith(t, object{})
}

// newIngestWith adds options of the app.
func newIngestWith(t *testing.T, options object) *ingestHarness {
	t.Helper()
	h := newHarness(t)
	fake := newFake(t, "ingest")
	webhooks := object{
		"outbox":      object{"engine": "fake", "name": "ingest"},
		"event_types": []string{"test.happened", "test.other", "test.lonely"},
		"endpoints":   object{"held": object{"url": "https://example.com/", "paused": true, "events": []string{"*", "!test.lonely"}}},
	}
	maps.Copy(webhooks, options)
	config := h.config(webhooks)
	route := func(path string, handler object) object {
		handler["handler"] = "webhooks"
		return object{"match": []object{{"path": []string{path}}}, "handle": []object{handler}}
	}
	server := h.server()
	server["routes"] = []object{
		{"match": []object{{"host": []string{"hooks.example.com", "*.wild.example"}}}, "handle": []object{{"handler": "webhooks"}}},
		route("/token", object{"tokens": []string{"another-good-token", testToken}}),
		route("/small", object{"max_event_size": 100, "max_batch_size": 200, "read_timeout": int64(10 * time.Second)}),
		route("/quick", object{"read_timeout": int64(50 * time.Millisecond)}),
		route("/listed", object{"origins": []string{"https://App.example.com"}}),
		route("/*", object{}),
	}
	config["apps"].(object)["http"] = object{"servers": object{"ingest": server}}
	h.mustLoad(config)
	return &ingestHarness{harness: h, fake: fake}
}

// stored returns how many events were stored.
func (h *ingestHarness) stored() int { return h.fake.Usage().Pending }

type request struct {
	method, path, body string
	header             map[string]string
	host               string
}

func (h *ingestHarness) do(r request) (*http.Response, string) {
	h.t.Helper()
	if r.method == "" {
		r.method = http.MethodPost
	}
	req, err := http.NewRequest(r.method, "http://"+h.addr+r.path, strings.NewReader(r.body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	if r.host != "" {
		req.Host = r.host
	}
	resp, err := h.client.Do(req)
	if err != nil {
		h.t.Fatalf("sending a request: %v", err)
	}
	_, body := readAnswer(h.t, resp)
	return resp, body
}

// problemCode returns the code of a problem detail, which must say more than
// its title does.
func problemCode(t *testing.T, resp *http.Response, body string) string {
	t.Helper()
	if got, want := resp.Header.Get("Content-Type"), "application/problem+json"; got != want {
		t.Errorf("got content type %q of a refusal, want %q", got, want)
	}
	var p struct {
		Type, Title, Detail string
		Status              int
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("reading the problem %q: %v", body, err)
	}
	if p.Status != resp.StatusCode {
		t.Errorf("got status %d in the problem, want that of the answer, %d", p.Status, resp.StatusCode)
	}
	if p.Title == "" || p.Detail == "" {
		t.Errorf("got title %q and detail %q in the problem, want both", p.Title, p.Detail)
	}
	return strings.TrimPrefix(p.Type, "urn:caddy-webhooks:problem:")
}

func TestIngestRefusals(t *testing.T) {
	h := newIngest(t)
	h.post(`{"id":"taken","type":"test.happened","data":{}}`)
	good := eventJSON("good")
	tests := []struct {
		name   string
		req    request
		status int
		code   string
		header [2]string
	}{
		{"empty", request{body: ""}, 400, "empty-body", [2]string{}},
		{"only white space", request{body: " \n"}, 400, "empty-body", [2]string{}},
		{"not JSON", request{body: "hello"}, 400, "malformed-json", [2]string{}},
		{"truncated", request{body: good[:20]}, 400, "malformed-json", [2]string{}},
		{"two documents", request{body: good + good}, 400, "malformed-json", [2]string{}},
		{"string", request{body: `"x"`}, 400, "not-an-object", [2]string{}},
		{"null", request{body: `null`}, 400, "not-an-object", [2]string{}},
		{"too deep", request{body: `{"type":"test.happened","data":{"a":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}}`}, 400, "too-deep", [2]string{}},
		{"unsafe number", request{body: `{"type":"test.happened","data":{"n":9007199254740993}}`}, 422, "not-js-stable", [2]string{}},
		{"duplicate member", request{body: `{"id":"a","id":"b","type":"test.happened","data":{}}`}, 400, "duplicate-key", [2]string{}},
		{"member in another case", request{body: `{"id":"a","ID":"b","type":"test.happened","data":{}}`}, 400, "duplicate-key", [2]string{}},
		{"duplicate key in data", request{body: `{"type":"test.happened","data":{"a":1,"a":2}}`}, 422, "not-js-stable", [2]string{}},
		{"invalid UTF-8", request{body: "{\"type\":\"test.happened\",\"data\":{\"a\":\"\xff\"}}"}, 400, "invalid-utf8", [2]string{}},
		{"byte order mark", request{body: "\ufeff" + good}, 400, "malformed-json", [2]string{}},
		{"no type", request{body: `{"data":{}}`}, 422, "missing-field", [2]string{}},
		{"no data", request{body: `{"type":"test.happened"}`}, 422, "missing-field", [2]string{}},
		{"data null", request{body: `{"type":"test.happened","data":null}`}, 422, "invalid-field", [2]string{}},
		{"unknown member", request{body: `{"type":"test.happened","data":{},"extra":1}`}, 422, "unknown-field", [2]string{}},
		{"unknown type", request{body: `{"type":"test.unknown","data":{}}`}, 422, "unknown-event-type", [2]string{}},
		{"bad type", request{body: `{"type":"Test Happened","data":{}}`}, 422, "invalid-type", [2]string{}},
		{"bad id", request{body: `{"id":"a.b","type":"test.happened","data":{}}`}, 422, "invalid-id", [2]string{}},
		{"bad timestamp", request{body: `{"timestamp":"yesterday","type":"test.happened","data":{}}`}, 422, "invalid-timestamp", [2]string{}},
		{"far future", request{body: `{"timestamp":"2999-01-01T00:00:00Z","type":"test.happened","data":{}}`}, 422, "timestamp-in-future", [2]string{}},
		{"id conflict", request{body: `{"id":"taken","type":"test.happened","data":{"other":1}}`}, 409, "id-conflict", [2]string{}},
		{"conflict in a batch", request{body: `[` + good + `,{"id":"taken","type":"test.happened","data":{"other":1}}]`}, 409, "invalid-batch", [2]string{}},
		{"empty batch", request{body: `[]`}, 422, "empty-batch", [2]string{}},
		{"batch with a bad item", request{body: `[` + good + `,{"type":"test.happened"}]`}, 422, "invalid-batch", [2]string{}},
		{"batch with an id twice", request{body: `[` + good + `,` + good + `]`}, 422, "", [2]string{}},
		{"lines with a bad one", request{body: good + "\n{}\n", header: map[string]string{"Content-Type": "application/x-ndjson"}}, 422, "invalid-batch", [2]string{}},

		{"too large event", request{path: "/small", body: `{"type":"test.happened","data":{"a":"` + strings.Repeat("x", 100) + `"}}`}, 413, "body-too-large", [2]string{"Connection", "close"}},
		{"too large batch", request{path: "/small", body: `[` + strings.Repeat(" ", 300) + good + `]`}, 413, "body-too-large", [2]string{}},
		{"too large event in a batch", request{path: "/small", body: `[` + eventJSON("i") + `,{"type":"test.happened","data":{"a":"` + strings.Repeat("x", 90) + `"}}]`}, 413, "invalid-batch", [2]string{}},
		{"too much white space", request{path: "/small", body: strings.Repeat(" ", 150) + good[:30]}, 413, "body-too-large", [2]string{}},

		{"GET", request{method: "GET"}, 405, "method-not-allowed", [2]string{"Allow", "POST"}},
		{"PUT", request{method: "PUT", body: good}, 405, "method-not-allowed", [2]string{"Allow", "POST"}},
		{"OPTIONS", request{method: "OPTIONS"}, 405, "method-not-allowed", [2]string{"Allow", "POST"}},

		{"text/plain", request{body: good, header: map[string]string{"Content-Type": "text/plain"}}, 415, "unsupported-media-type", [2]string{"Accept-Post", "application/json, application/x-ndjson, application/cloudevents+json, application/cloudevents-batch+json"}},
		{"form", request{body: good, header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}}, 415, "unsupported-media-type", [2]string{}},
		{"no content type", request{body: good, header: map[string]string{"Content-Type": ""}}, 415, "unsupported-media-type", [2]string{}},
		{"another charset", request{body: good, header: map[string]string{"Content-Type": "application/json; charset=utf-16"}}, 415, "unsupported-media-type", [2]string{}},
		{"JSON as a suffix", request{body: good, header: map[string]string{"Content-Type": "application/jsonp"}}, 415, "unsupported-media-type", [2]string{}},
		{"gzip", request{body: good, header: map[string]string{"Content-Encoding": "gzip"}}, 415, "unsupported-encoding", [2]string{"Accept-Encoding", "identity"}},
		{"stacked encodings", request{body: good, header: map[string]string{"Content-Encoding": "identity, br"}}, 415, "unsupported-encoding", [2]string{}},

		{"no token", request{path: "/token", body: good}, 401, "unauthorized", [2]string{"Www-Authenticate", "Bearer"}},
		{"wrong token", request{path: "/token", body: good, header: map[string]string{"Authorization": "Bearer " + testToken + "x"}}, 401, "unauthorized", [2]string{}},
		{"shortened token", request{path: "/token", body: good, header: map[string]string{"Authorization": "Bearer " + testToken[:20]}}, 401, "unauthorized", [2]string{}},
		{"empty token", request{path: "/token", body: good, header: map[string]string{"Authorization": "Bearer "}}, 401, "unauthorized", [2]string{}},
		{"basic authentication", request{path: "/token", body: good, header: map[string]string{"Authorization": "Basic " + testToken}}, 401, "unauthorized", [2]string{}},

		{"delivery of another instance", request{body: good, header: map[string]string{"User-Agent": "caddy-webhooks/v1.2.3"}}, 508, "loop", [2]string{}},
		{"delivery through a proxy", request{body: good, header: map[string]string{"X-Caddy-Webhooks-Hop": "1"}}, 508, "loop", [2]string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := h.stored()
			resp, body := h.do(tt.req)
			if resp.StatusCode != tt.status {
				t.Fatalf("got %d %s, want %d", resp.StatusCode, body, tt.status)
			}
			if code := problemCode(t, resp, body); tt.code != "" && code != tt.code {
				t.Errorf("got code %q, want %q", code, tt.code)
			}
			if got := resp.Header.Get(tt.header[0]); tt.header[0] != "" && tt.header[0] != "Connection" && got != tt.header[1] {
				t.Errorf("got header %s %q, want %q", tt.header[0], got, tt.header[1])
			}
			if tt.header[0] == "Connection" && !resp.Close {
				t.Error("got a connection that stays open, want one that closes")
			}
			if got := h.stored(); got != before {
				t.Errorf("got %d events stored after a refusal, want %d", got, before)
			}
		})
	}
}

func TestIngestAccepts(t *testing.T) {
	h := newIngest(t)
	tests := []struct {
		name   string
		req    request
		status int
		want   string
		stored int
	}{
		{"event", request{body: eventJSON("a")}, 202, `{"id":"a","deliveries":1}`, 1},
		{"duplicate", request{body: eventJSON("a")}, 200, `{"id":"a","deliveries":1,"duplicate":true}`, 0},
		{"charset", request{body: eventJSON("b"), header: map[string]string{"Content-Type": "application/json; charset=UTF-8"}}, 202, `{"id":"b","deliveries":1}`, 1},
		{"identity encoding", request{body: eventJSON("c"), header: map[string]string{"Content-Encoding": "identity"}}, 202, `{"id":"c","deliveries":1}`, 1},
		{"batch", request{body: " [" + eventJSON("d") + "," + eventJSON("a") + "]"}, 202, `{"events":[{"id":"d","deliveries":1,"duplicate":false},{"id":"a","deliveries":1,"duplicate":true}]}`, 1},
		{"batch of duplicates", request{body: "[" + eventJSON("d") + "]"}, 200, `{"events":[{"id":"d","deliveries":1,"duplicate":true}]}`, 0},
		{"lines", request{body: eventJSON("e") + "\n\n" + eventJSON("f"), header: map[string]string{"Content-Type": "application/x-ndjson"}}, 202, `{"events":[{"id":"e","deliveries":1,"duplicate":false},{"id":"f","deliveries":1,"duplicate":false}]}`, 2},
		{"first token", request{path: "/token", body: eventJSON("g"), header: map[string]string{"Authorization": "Bearer another-good-token"}}, 202, `{"id":"g","deliveries":1}`, 1},
		{"second token", request{path: "/token", body: eventJSON("h"), header: map[string]string{"Authorization": "bearer  " + testToken}}, 202, `{"id":"h","deliveries":1}`, 1},
		{"batch beyond the size of an event", request{path: "/small", body: "[" + eventJSON("i") + "," + eventJSON("j") + strings.Repeat(" ", 60) + "]"}, 202, `{"events":[{"id":"i","deliveries":1,"duplicate":false},{"id":"j","deliveries":1,"duplicate":false}]}`, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := h.stored()
			resp, body := h.do(tt.req)
			if resp.StatusCode != tt.status || strings.TrimSpace(body) != tt.want {
				t.Errorf("got %d %s, want %d %s", resp.StatusCode, body, tt.status, tt.want)
			}
			if got, want := resp.Header.Get("Content-Type"), "application/json"; got != want {
				t.Errorf("got content type %q, want %q", got, want)
			}
			if got := h.stored() - before; got != tt.stored {
				t.Errorf("got %d events stored, want %d", got, tt.stored)
			}
		})
	}
}

// raw sends bytes over a connection of its own, and returns what comes back
// until the connection closes.
func (h *ingestHarness) raw(write func(net.Conn)) string {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		h.t.Fatal(err)
	}
	write(conn)
	answer, err := io.ReadAll(conn)
	if err != nil && len(answer) == 0 {
		h.t.Fatalf("reading the answer: %v", err)
	}
	return string(answer)
}

func rawHead(path, extra string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n" + extra + "\r\n\r\n"
}

func TestIngestRefusesBodiesOnTheWire(t *testing.T) {
	h := newIngest(t)
	tests := []struct {
		name   string
		write  func(net.Conn)
		status string
		not    string
	}{
		{"too long, asked first", func(c net.Conn) {
			fmt.Fprint(c, rawHead("/small", "Expect: 100-continue\r\nContent-Length: 1000"))
		}, "413 ", "100 Continue"},
		{"too long, announced", func(c net.Conn) {
			fmt.Fprint(c, rawHead("/small", "Content-Length: 1000000000"))
		}, "413 ", ""},
		{"event too long, announced", func(c net.Conn) {
			fmt.Fprint(c, rawHead("/small", "Content-Length: 150")+`  {"type"`)
		}, "413 ", ""},
		{"endless", func(c net.Conn) {
			fmt.Fprint(c, rawHead("/small", "Transfer-Encoding: chunked"))
			for range 200 {
				if _, err := fmt.Fprint(c, "a\r\n{{{{{{{{{{\r\n"); err != nil {
					return
				}
			}
		}, "413 ", ""},
		{"slow", func(c net.Conn) {
			fmt.Fprint(c, rawHead("/quick", "Content-Length: 100")+"{")
		}, "408 ", ""},
		{"shorter than announced", func(c net.Conn) {
			fmt.Fprint(c, rawHead("/", "Content-Length: 1000")+eventJSON("short"))
			_ = c.(*net.TCPConn).CloseWrite()
		}, "400 ", ""},
		{"broken chunks", func(c net.Conn) {
			fmt.Fprint(c, rawHead("/", "Transfer-Encoding: chunked")+"zz\r\n")
			_ = c.(*net.TCPConn).CloseWrite()
		}, "400 ", ""},
		{"two lengths", func(c net.Conn) {
			fmt.Fprint(c, rawHead("/", "Content-Length: 5\r\nContent-Length: 6")+"hello!")
		}, "400 ", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answer := h.raw(tt.write)
			if !strings.HasPrefix(answer, "HTTP/1.1 "+tt.status) {
				t.Errorf("got %q, want status %s", answer, tt.status)
			}
			if tt.not != "" && strings.Contains(answer, tt.not) {
				t.Errorf("got %q, want no %q", answer, tt.not)
			}
			if got := h.stored(); got != 0 {
				t.Errorf("got %d events stored, want none", got)
			}
		})
	}
}

func TestIngestContinuesAfterExpect(t *testing.T) {
	h := newIngest(t)
	body := eventJSON("expected")
	answer := h.raw(func(c net.Conn) {
		fmt.Fprint(c, rawHead("/", fmt.Sprintf("Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d", len(body))))
		line, err := bufio.NewReader(io.LimitReader(c, 25)).ReadString('\n')
		if err != nil || !strings.Contains(line, "100") {
			t.Errorf("got %q, %v, want a 100", line, err)
		}
		fmt.Fprint(c, body)
	})
	if !strings.Contains(answer, "202 Accepted") {
		t.Errorf("got %q, want a 202", answer)
	}
}

func TestIngestReadsBodyInPieces(t *testing.T) {
	h := newIngest(t)
	body := `{"id":"pieces","type":"test.happened","data":{"long":"` + strings.Repeat("abcdefgh", 20_000) + `"}}`
	answer := h.raw(func(c net.Conn) {
		fmt.Fprint(c, rawHead("/", "Transfer-Encoding: chunked\r\nConnection: close"))
		for rest := body; rest != ""; {
			n := min(len(rest), 777)
			fmt.Fprintf(c, "%x\r\n%s\r\n", n, rest[:n])
			rest = rest[n:]
		}
		fmt.Fprint(c, "0\r\n\r\n")
	})
	if !strings.Contains(answer, "202 Accepted") {
		t.Fatalf("got %q, want a 202", answer)
	}
	e, _, err := h.fake.EventByID(t.Context(), "pieces")
	if err != nil || !strings.Contains(string(e.Body), strings.Repeat("abcdefgh", 20_000)) {
		t.Errorf("got event %v, %v, want the whole body", e, err)
	}
	if got := ingest.bytes.Load(); got != 0 {
		t.Errorf("got %d bytes still counted, want 0", got)
	}
}

func TestIngestStoreErrors(t *testing.T) {
	h := newIngest(t)
	tests := []struct {
		name    string
		err     error
		status  int
		code    string
		waiting bool
	}{
		{"full", storage.ErrFull, 507, "insufficient-storage", true},
		{"backlog", storage.ErrBacklogFull, 503, "backlog-full", true},
		{"poisoned", fmt.Errorf("%w: sync", storage.ErrFailed), 503, "store-failed", true},
		{"closed", storage.ErrClosed, 503, "shutting-down", true},
		{"too large", storage.ErrTooLarge, 413, "body-too-large", false},
		{"anything else", errors.New("odd"), 500, "not-stored", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h.fake.SetHooks(storagetest.FakeHooks{BeforeAccept: func([]storage.NewEvent) error { return tt.err }})
			defer h.fake.SetHooks(storagetest.FakeHooks{})
			resp, body := h.do(request{body: eventJSON("e")})
			if code := problemCode(t, resp, body); resp.StatusCode != tt.status || code != tt.code {
				t.Errorf("got %d %s, want %d %s", resp.StatusCode, code, tt.status, tt.code)
			}
			if got := resp.Header.Get("Retry-After"); (got != "") != tt.waiting {
				t.Errorf("got Retry-After %q, want one: %t", got, tt.waiting)
			}
			if strings.Contains(body, "odd") {
				t.Errorf("got the internal error in %s", body)
			}
		})
	}
}

// What was received in full is stored, although the client left.
func TestIngestClientLeavesBeforeAnswer(t *testing.T) {
	h := newIngest(t)
	app := openEngines()[0].apps[0]
	handler := &Handler{app: app, parser: newParser(app), admission: &ingest, logger: zap.NewNop()}
	if err := handler.provisionLimits(); err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	h.fake.SetHooks(storagetest.FakeHooks{BeforeAccept: func([]storage.NewEvent) error {
		leave()
		return nil
	}})
	body := eventJSON("left")
	r := httptest.NewRequestWithContext(ctx, "POST", "http://127.0.0.1/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	if err := handler.ServeHTTP(rec, r, nil); err != nil || rec.Code != 202 {
		t.Errorf("got %d %s, %v, want 202", rec.Code, rec.Body, err)
	}
	h.fake.SetHooks(storagetest.FakeHooks{})
	if status, answer := h.post(body); status != 200 {
		t.Errorf("got %d %s for the same event again, want 200", status, answer)
	}
}

// An endpoint that leads back to the ingest, though not directly, gets its
// events refused there.
func TestIngestRefusesOwnDeliveries(t *testing.T) {
	h := newHarness(t)
	newFake(t, "loop")
	back, err := url.Parse("http://" + h.addr)
	if err != nil {
		t.Fatal(err)
	}
	relay := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(back) }})
	defer relay.Close()
	h.mustLoad(h.config(object{
		"outbox":    object{"engine": "fake", "name": "loop"},
		"endpoints": object{"self": object{"url": relay.URL + "/events", "retry": object{"max_attempts": 1}}},
	}))
	h.counted(`caddy_webhooks_events_total{result="loop"}`, 1, func() {
		if status, body := h.post(eventJSON("looping")); status != 202 {
			t.Fatalf("got %d %s, want 202", status, body)
		}
		h.awaitIdle()
	})
	_, body := h.get("/webhooks/deliveries")
	if got := strings.Count(body, `"event_id"`); got != 1 || !strings.Contains(body, "508") {
		t.Errorf("got %d deliveries in %s, want one that failed with 508", got, body)
	}
}

func TestIngestRacedID(t *testing.T) {
	h := newIngest(t)
	var mu sync.Mutex
	statuses := make(map[int]int)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			resp, _ := h.do(request{body: eventJSON("raced")})
			mu.Lock()
			defer mu.Unlock()
			statuses[resp.StatusCode]++
		})
	}
	wg.Wait()
	if statuses[202] != 1 || statuses[200] != 49 || h.stored() != 1 {
		t.Errorf("got statuses %v and %d stored, want one 202, 49 200 and one stored", statuses, h.stored())
	}
}

func TestIngestOverload(t *testing.T) {
	h := newIngest(t)
	requests, bytes := ingest.maxRequests, ingest.maxBytes
	t.Cleanup(func() { ingest.maxRequests, ingest.maxBytes = requests, bytes })

	release, entered := make(chan struct{}), make(chan struct{})
	h.fake.SetHooks(storagetest.FakeHooks{BeforeAccept: func([]storage.NewEvent) error {
		entered <- struct{}{}
		<-release
		return nil
	}})
	ingest.maxRequests = 1
	first := make(chan int)
	go func() {
		resp, _ := h.do(request{body: eventJSON("first")})
		first <- resp.StatusCode
	}()
	<-entered
	refused := func(name string) {
		t.Helper()
		resp, body := h.do(request{body: eventJSON("second")})
		if code := problemCode(t, resp, body); resp.StatusCode != 503 || code != "overloaded" || resp.Header.Get("Retry-After") != "1" {
			t.Errorf("%s: got %d %s after %q s, want 503 overloaded after 1 s", name, resp.StatusCode, code, resp.Header.Get("Retry-After"))
		}
	}
	refused("requests")
	ingest.maxRequests, ingest.maxBytes = 2, firstRead+1
	refused("bytes")
	close(release)
	if status := <-first; status != 202 {
		t.Errorf("got %d for the first request, want 202", status)
	}
	h.fake.SetHooks(storagetest.FakeHooks{})
	if status, body := h.post(eventJSON("third")); status != 202 {
		t.Errorf("got %d %s after the overload, want 202", status, body)
	}
}

func TestIngestOnUnixSocketTakesAnyHost(t *testing.T) {
	h := newIngest(t)
	config := h.config(object{
		"outbox":    object{"engine": "fake", "name": "ingest"},
		"endpoints": object{},
	})
	socket := h.dir + "/ingest.sock"
	server := h.server(object{"handler": "webhooks"})
	server["listen"] = []string{"unix/" + socket}
	config["apps"].(object)["http"] = object{"servers": object{"ingest": server}}
	h.mustLoad(config)
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	resp, err := client.Post("http://any.example/", "application/json", strings.NewReader(eventJSON("socket")))
	if err != nil {
		t.Fatal(err)
	}
	if status, body := readAnswer(t, resp); status != 202 {
		t.Errorf("got %d %s, want 202", status, body)
	}
}

func TestIngestTraceContext(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	h := newIngest(t)
	tests := []struct {
		name, parent, state   string
		wantParent, wantState string
	}{
		{"none", "", "", "", ""},
		{"both", parent, "a=1,b=2", parent, "a=1,b=2"},
		{"state alone", "", "a=1", "", ""},
		{"upper case", strings.ToUpper(parent), "a=1", "", ""},
		{"zero trace", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "", "", ""},
		{"zero parent", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", "", "", ""},
		{"version ff", "ff" + parent[2:], "", "", ""},
		{"later version", "01" + parent[2:] + "-more", "", "01" + parent[2:] + "-more", ""},
		{"longer version 00", parent + "-more", "", "", ""},
		{"short", parent[:50], "", "", ""},
		{"long state", parent, "a=" + strings.Repeat("x", 600), parent, ""},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := fmt.Sprint("trace", i)
			header := map[string]string{}
			if tt.parent != "" {
				header["Traceparent"] = tt.parent
			}
			if tt.state != "" {
				header["Tracestate"] = tt.state
			}
			if resp, body := h.do(request{body: eventJSON(id), header: header}); resp.StatusCode != 202 {
				t.Fatalf("got %d %s, want 202", resp.StatusCode, body)
			}
			e, _, err := h.fake.EventByID(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if e.TraceParent != tt.wantParent || e.TraceState != tt.wantState {
				t.Errorf("got %q, %q, want %q, %q", e.TraceParent, e.TraceState, tt.wantParent, tt.wantState)
			}
		})
	}
}

func TestHandlerConfigurationErrors(t *testing.T) {
	h := newHarness(t)
	newFake(t, "config")
	t.Setenv("EMPTY_TOKEN", "")
	tests := []struct {
		name    string
		handler object
		want    string
	}{
		{"empty token", object{"tokens": []string{""}}, "token 1"},
		{"short token", object{"tokens": []string{testToken, "short-token"}}, "token 2"},
		{"missing token", object{"tokens": []string{"{env.EMPTY_TOKEN}"}}, "{env.EMPTY_TOKEN}"},
		{"missing file", object{"tokens": []string{"{file./does/not/exist}"}}, "{file./does/not/exist}"},
		{"origin with a path", object{"origins": []string{"https://a.example/x"}}, "origin"},
		{"origin without a scheme", object{"origins": []string{"a.example"}}, "origin"},
		{"negative size", object{"max_event_size": -1}, "max_event_size"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config := h.config(object{"outbox": object{"engine": "fake", "name": "config"}, "endpoints": object{}})
			tt.handler["handler"] = "webhooks"
			config["apps"].(object)["http"] = object{"servers": object{"ingest": h.server(tt.handler)}}
			err := h.load(config)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got error %v, want one with %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "short-token") {
				t.Errorf("got a token in the error %v", err)
			}
		})
	}
	t.Run("no app", func(t *testing.T) {
		config := h.config(object{})
		delete(config["apps"].(object), "webhooks")
		if err := h.load(config); err == nil || !strings.Contains(err.Error(), "needs the webhooks app") {
			t.Errorf("got error %v, want one that names the app", err)
		}
	})
}

// Until the whole configuration has started, the one that it is to replace
// takes the events: their outbox may be another, and what fails is left.
func TestAwaitDuringAReload(t *testing.T) {
	h := newHarness(t)
	newFake(t, "running")
	next := &App{outbox: &fakeOutbox{Name: "next"}}
	next.started, next.gone = make(chan struct{}), make(chan struct{})
	next.observer = &observer{started: make(chan struct{})}
	h.mustLoad(h.config(object{"outbox": object{"engine": "fake", "name": "running"}, "endpoints": object{}}))
	running := openEngines()[0].engine
	expect := func(when string, want *delivery.Engine) {
		t.Helper()
		if got, refusal := next.await(t.Context()); got != want || refusal != nil {
			t.Errorf("%s: got engine %p and %v, want %p", when, got, refusal, want)
		}
	}
	expect("before the start of the app", running)
	next.pooled = &pooledEngine{engine: new(delivery.Engine)}
	close(next.started)
	expect("after the start of the app", running)
	close(next.observer.started)
	expect("after the start of all", next.pooled.engine)
	if err := next.Cleanup(); err != nil {
		t.Fatal(err)
	}
	expect("after the end", running)
}

// Before the app has started, requests wait for it, but not for ever.
func TestAwaitStart(t *testing.T) {
	t.Parallel()
	newApp := func() *App {
		a := &App{outbox: &fakeOutbox{Name: "await-" + t.Name()}}
		a.started, a.gone = make(chan struct{}), make(chan struct{})
		a.observer = &observer{started: make(chan struct{})}
		return a
	}
	t.Run("started", func(t *testing.T) {
		a := newApp()
		go func() {
			a.pooled = &pooledEngine{}
			close(a.started)
		}()
		if _, refusal := a.await(t.Context()); refusal != nil {
			t.Errorf("got %v, want no refusal", refusal)
		}
	})
	t.Run("replaced", func(t *testing.T) {
		a := newApp()
		go a.Cleanup()
		if _, refusal := a.await(t.Context()); refusal == nil || refusal.Code != "shutting-down" {
			t.Errorf("got %v, want shutting-down", refusal)
		}
	})
	t.Run("client left", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, refusal := newApp().await(ctx); refusal == nil || refusal.Code != "not-ready" {
			t.Errorf("got %v, want not-ready", refusal)
		}
	})
}
