package module

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/metrics"
)

// caddyEnv makes the test binary be Caddy, with the arguments it was given.
const caddyEnv = "CADDY_WEBHOOKS_TEST_CADDY"

func TestMain(m *testing.M) {
	if os.Getenv(caddyEnv) != "" {
		caddycmd.Main()
		return
	}
	home, err := os.MkdirTemp("", "caddy-webhooks-test-")
	if err != nil {
		panic(err)
	}
	os.Setenv("XDG_DATA_HOME", home)
	os.Setenv("XDG_CONFIG_HOME", home)
	code := m.Run()
	os.RemoveAll(home)
	os.Exit(code)
}

// object is a JSON object.
type object = map[string]any

// harness runs Caddy in the test's process. Caddy is global, so tests that use
// it cannot be parallel.
type harness struct {
	t      *testing.T
	dir    string
	addr   string // of the ingest
	client *http.Client
	admin  *http.Client
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	dir, err := os.MkdirTemp("", "cw") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{t: t, dir: dir, addr: freeAddr(t), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	h.admin = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", h.socket())
		},
	}}
	t.Cleanup(func() {
		h.client.CloseIdleConnections()
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
		if open := openEngines(); len(open) > 0 {
			t.Errorf("got %d engines still open after the stop, want none", len(open))
		}
		os.RemoveAll(dir)
	})
	return h
}

func (h *harness) socket() string { return filepath.Join(h.dir, "admin.sock") }

// config returns a configuration whose handler takes any path.
func (h *harness) config(webhooks object) object {
	if webhooks["outbox"] == nil {
		webhooks["outbox"] = object{"engine": "badger", "dir": filepath.Join(h.dir, "outbox")}
	}
	return object{
		"admin":   object{"listen": "unix/" + h.socket(), "config": object{"persist": false}},
		"logging": object{"logs": object{"default": object{"writer": object{"output": "discard"}}}},
		"apps": object{
			"webhooks": webhooks,
			"http":     object{"servers": object{"ingest": h.server(object{"handler": "webhooks"})}},
		},
	}
}

func (h *harness) server(handlers ...object) object {
	return object{
		"listen":          []string{h.addr},
		"automatic_https": object{"disable": true},
		"routes":          []object{{"handle": handlers}},
	}
}

func (h *harness) load(config object) error {
	h.t.Helper()
	return caddy.Load(encode(h.t, config), true)
}

func (h *harness) mustLoad(config object) {
	h.t.Helper()
	if err := h.load(config); err != nil {
		h.t.Fatalf("loading the configuration: %v", err)
	}
}

// post sends an event to the ingest.
func (h *harness) post(body string) (int, string) {
	h.t.Helper()
	resp, answer := insist(h.t, func() (*http.Response, error) {
		return h.client.Post("http://"+h.addr+"/events", "application/json", strings.NewReader(body))
	})
	return resp.StatusCode, answer
}

// get asks the admin API.
func (h *harness) get(path string) (int, string) {
	h.t.Helper()
	return h.adminDo(http.MethodGet, path)
}

// insist sends a request until it is answered, as clients must: a server that
// was replaced may cut off whoever comes late, before it does anything.
func insist(t *testing.T, send func() (*http.Response, error)) (*http.Response, string) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var resp *http.Response
		if resp, err = send(); err != nil {
			continue
		}
		var body []byte
		body, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil {
			return resp, string(body)
		}
	}
	t.Errorf("got no answer for %s, the last error was %v", patience, err)
	return new(http.Response), ""
}

func readAnswer(t *testing.T, resp *http.Response) (int, string) {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("reading an answer: %v", err)
	}
	return resp.StatusCode, string(body)
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// receiver counts what is delivered, by event id.
type receiver struct {
	*httptest.Server

	mu      sync.Mutex
	counts  map[string]int
	changed chan struct{}

	held   func()
	status int
}

func newReceiver(t *testing.T) *receiver {
	rc := &receiver{counts: make(map[string]int), changed: make(chan struct{})}
	rc.Server = httptest.NewServer(http.HandlerFunc(rc.serve))
	t.Cleanup(rc.Close)
	return rc
}

func (rc *receiver) serve(w http.ResponseWriter, r *http.Request) {
	var e struct{ ID string }
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	rc.mu.Lock()
	held := rc.held
	rc.mu.Unlock()
	if held != nil {
		held()
	}
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.counts[e.ID]++
	close(rc.changed)
	rc.changed = make(chan struct{})
	if rc.status != 0 {
		w.WriteHeader(rc.status)
	}
}

// reply makes the receiver answer with the status.
func (rc *receiver) reply(status int) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.status = status
}

// hold calls f at each request before it is counted.
func (rc *receiver) hold(f func()) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.held = f
}

// await waits until the receiver has got all of the events.
func (rc *receiver) await(t *testing.T, ids ...string) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		rc.mu.Lock()
		missing := 0
		for _, id := range ids {
			if rc.counts[id] == 0 {
				missing++
			}
		}
		changed := rc.changed
		rc.mu.Unlock()
		if missing == 0 {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("got %d of %d events, want all", len(ids)-missing, len(ids))
		}
	}
}

// doubled returns how often events came again.
func (rc *receiver) doubled() int {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	n := 0
	for _, count := range rc.counts {
		n += count - 1
	}
	return n
}

// endpoint is the configuration of an endpoint that leads to the receiver.
func (rc *receiver) endpoint() object { return object{"url": rc.URL + "/hook"} }

func eventJSON(id string) string {
	return fmt.Sprintf(`{"id":%q,"type":"test.happened","data":{}}`, id)
}
