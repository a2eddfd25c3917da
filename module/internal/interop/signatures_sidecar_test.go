package interop

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/promptreports/caddy-webhooks"
)

// request is what arrived at an endpoint.
type request struct {
	endpoint string
	header   http.Header
	body     []byte
}

// sidecar is Caddy with the module, in this process, and a receiver of all its
// endpoints. Caddy is global, so tests with a sidecar cannot be parallel.
type sidecar struct {
	ingest   *http.Client
	arrived  chan request
	expected int
}

// startSidecar starts a sidecar with endpoints, given by name with the lines of
// their options.
func startSidecar(t *testing.T, endpoints map[string]string) *sidecar {
	t.Helper()
	s := &sidecar{arrived: make(chan request, 4*len(endpoints)), expected: len(endpoints)}
	receiver := httptest.NewServer(http.HandlerFunc(s.receive))
	t.Cleanup(receiver.Close)

	dir, err := os.MkdirTemp("", "cw") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "ingest.sock")
	var lines strings.Builder
	for _, name := range slices.Sorted(maps.Keys(endpoints)) {
		fmt.Fprintf(&lines, "endpoint %[1]s %[2]s/%[1]s {\n%[3]s\n}\n", name, receiver.URL, endpoints[name])
	}
	load(t, fmt.Sprintf(`{
	admin off
	persist_config off
	log {
		output discard
	}
	webhooks {
		outbox badger %s/outbox
		header_prefix X-PromptReports
		%s
	}
}
:80 {
	bind unix/%s
	webhooks
}
`, dir, lines.String(), socket))

	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	s.ingest = &http.Client{Transport: transport}
	return s
}

// load runs a Caddyfile until the end of the test.
func load(t *testing.T, text string) {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
}

// receive keeps a request. The path is the endpoint's name.
func (s *sidecar) receive(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		s.arrived <- request{strings.TrimPrefix(r.URL.Path, "/"), r.Header, body}
	}
}

// deliver posts an event and returns the request to each endpoint.
func (s *sidecar) deliver(t *testing.T, event string) map[string]request {
	t.Helper()
	resp, err := s.ingest.Post("http://localhost/", "application/json", strings.NewReader(event))
	if err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("posting an event: got %s, want 202: %s", resp.Status, answer)
	}
	requests := make(map[string]request)
	timeout := time.After(30 * time.Second)
	for len(requests) < s.expected {
		select {
		case r := <-s.arrived:
			requests[r.endpoint] = r
		case <-timeout:
			t.Fatalf("got %d of %d requests, want all", len(requests), s.expected)
		}
	}
	return requests
}
