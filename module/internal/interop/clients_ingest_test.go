package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// eventPath starts the path of what is meant for the ingest.
const eventPath = "/events/"

// ingest is a sidecar in this process that listens on a port. Its only endpoint
// is paused, so that what is stored stays pending.
type ingest struct {
	addr  string
	admin *http.Client
}

// startIngest starts a sidecar with the directives given, before which each
// request is recorded.
func startIngest(t *testing.T, addr, directives string) *ingest {
	t.Helper()
	records.reset()
	dir, err := os.MkdirTemp("", "cw") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "admin.sock")
	_, port, _ := net.SplitHostPort(addr)
	load(t, fmt.Sprintf(`{
	admin unix/%[1]s
	persist_config off
	log {
		output discard
	}
	webhooks {
		outbox badger %[2]s/outbox
		endpoint held https://example.com/ {
			paused
		}
	}
}
:%[3]s {
	bind 127.0.0.1
	route {
		interop_record
		%[4]s
	}
}
`, socket, dir, port, directives))
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &ingest{addr, &http.Client{Transport: transport}}
}

// stored returns how many events were stored.
func (in *ingest) stored(t *testing.T) int {
	t.Helper()
	resp, err := in.admin.Get("http://localhost/webhooks/status")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var status struct {
		State   string
		Pending int
	}
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil {
		t.Fatal(err)
	}
	if status.State != "running" {
		t.Fatalf("got the state %q, want running", status.State)
	}
	return status.Pending
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// recorder records the requests that arrive, each with its answer's status, by
// their paths. It is a module of Caddy, because only so requests reach the
// handler as they were sent, over the connection on which they were sent.
type recorder struct {
	mu      sync.Mutex
	arrived map[string][]string
	changed chan struct{}
}

// records are those of the running sidecar. Caddy is global, and so are they.
var records = &recorder{changed: make(chan struct{})}

// reset forgets what was recorded before.
func (rec *recorder) reset() {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.arrived = make(map[string][]string)
}

// add records something under a path.
func (rec *recorder) add(path, what string) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.arrived[path] = append(rec.arrived[path], what)
	close(rec.changed)
	rec.changed = make(chan struct{})
}

// get returns what was recorded under the path, and a channel that closes when
// there is more of anything.
func (rec *recorder) get(path string) ([]string, <-chan struct{}) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.arrived[path], rec.changed
}

// recordModule is the directive interop_record.
type recordModule struct{}

func init() {
	caddy.RegisterModule(recordModule{})
	httpcaddyfile.RegisterHandlerDirective("interop_record", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return recordModule{}, nil
	})
}

func (recordModule) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.interop_record", New: func() caddy.Module { return new(recordModule) }}
}

func (recordModule) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	answer := caddyhttp.NewResponseRecorder(w, nil, nil)
	err := next.ServeHTTP(answer, r)
	status := answer.Status()
	if failed, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		status = failed.StatusCode
	}
	records.add(r.URL.Path, fmt.Sprint(r.Method, " ", status))
	return err
}
