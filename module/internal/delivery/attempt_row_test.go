package delivery

import (
	"crypto/tls"
	"maps"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/module/internal/egress"
	"github.com/promptreports/caddy-webhooks/storage"
)

// guarded is a transport as the module makes it, with short times.
func guarded(t *testing.T, config *tls.Config) *http.Transport {
	t.Helper()
	guard := &egress.Guard{Dial: (&net.Dialer{}).DialContext}
	transport := &http.Transport{
		DialContext: BoundReads(guard.DialContext, 64<<10), TLSClientConfig: config, TLSHandshakeTimeout: 2 * time.Second,
		MaxResponseHeaderBytes: 64 << 10, DisableCompression: true, ForceAttemptHTTP2: true,
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: BodyWindow},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// row is what one attempt at a receiver must come to.
type row struct {
	name    string
	handle  func(*peer)
	bytes   int           // of body, where the default is too small
	timeout time.Duration // default: rowTimeout or patience
	within  time.Duration // default: timeout
	verdict string
	code    string
	status  int
	wire    int64 // requests that the receiver must have seen
	kept    string
	header  map[string]string // kept; {host} is the receiver's address
	hold    time.Duration     // asked for by Retry-After
	tls     string            // the version

	incomplete, truncated bool

	// again is how often the attempt is repeated while the connection is found
	// closed: where net/http's reader and writer race for the error.
	again int
}

// Rows that are about time have little of it. All others have enough for a busy
// machine.
const (
	rowTimeout = 500 * time.Millisecond
	patience   = 20 * time.Second

	// slack is how late a timeout may come, on a busy machine.
	slack = 5 * time.Second
)

// limits returns the timeout of the attempt, and how long it may take at most.
func (r *row) limits() (timeout, most time.Duration) {
	switch {
	case r.timeout > 0:
		timeout = r.timeout
	case r.incomplete, r.code == CodeTimeoutWrite, r.code == CodeTimeoutHeaders:
		timeout = rowTimeout
	default:
		timeout = patience
	}
	most = timeout
	if r.within > 0 {
		most = r.within
	}
	return timeout, most + slack
}

// check makes the attempt and compares.
func (r *row) check(t *testing.T, scheme string, transport http.RoundTripper) {
	t.Helper()
	h := serve(t, r.handle)
	m := testMessage(t, scheme+"://"+h.addr+"/hooks", transport)
	var most time.Duration
	m.Endpoint.Timeout, most = r.limits()
	if r.bytes > 0 {
		m.Body = make([]byte, r.bytes)
	}
	attempts := int64(1)
	out := Send(t.Context(), m)
	for ; attempts <= int64(r.again) && out.Attempt.Code != r.code; attempts++ {
		if out.Attempt.Code != CodeConnectionClosed {
			t.Errorf("got %s, want %s or %s", out.Attempt.Code, r.code, CodeConnectionClosed)
		}
		out = Send(t.Context(), m)
	}
	if out.Attempt.Number != m.Number || out.Attempt.Duration > most {
		t.Errorf("got attempt %d of %s, want number %d and at most %s", out.Attempt.Number, out.Attempt.Duration, m.Number, most)
	}
	if got, want := h.requests.Load(), r.wire*attempts; got != want {
		t.Errorf("got %d requests on the wire, want %d", got, want)
	}
	r.compare(t, &out, h.addr)
	checkPhases(t, &out.Attempt, scheme)
}

// compare compares what is recorded.
func (r *row) compare(t *testing.T, out *Outcome, addr string) {
	t.Helper()
	a := &out.Attempt
	if a.Verdict != r.verdict || a.Code != r.code || a.StatusCode != r.status {
		t.Errorf("got %s %s %d, want %s %s %d", a.Verdict, a.Code, a.StatusCode, r.verdict, r.code, r.status)
	}
	if a.BodyIncomplete != r.incomplete || a.BodyTruncated != r.truncated {
		t.Errorf("got body incomplete %t, truncated %t, want %t, %t", a.BodyIncomplete, a.BodyTruncated, r.incomplete, r.truncated)
	}
	if r.kept != "" && string(a.Body) != r.kept {
		t.Errorf("got body %.99q, want %.99q", a.Body, r.kept)
	}
	if a.StatusCode == 0 && (len(a.Body) > 0 || a.Header != nil) {
		t.Errorf("got %q and %q of an answer, want none", a.Header, a.Body)
	}
	want := maps.Clone(r.header)
	for name, value := range want {
		want[name] = strings.ReplaceAll(value, "{host}", addr)
	}
	if !maps.Equal(a.Header, want) {
		t.Errorf("got headers %q kept, want %q", a.Header, want)
	}
	if out.RetryAfter != r.hold {
		t.Errorf("got it asking for %s, want %s", out.RetryAfter, r.hold)
	}
	if a.TLSVersion != r.tls {
		t.Errorf("got TLS version %q, want %q", a.TLSVersion, r.tls)
	}
	if a.RemoteAddr != addr {
		t.Errorf("got remote address %q, want %q", a.RemoteAddr, addr)
	}
}

// lastPhases are what an attempt that ended with the code was at.
var lastPhases = map[string]string{
	CodeDNSNotFound: "dns", CodeDNSFailure: "dns",
	CodeConnectionRefused: "connect", CodeConnectTimeout: "connect", CodeUnreachable: "connect",
	CodeTLSExpired: "tls", CodeTLSWrongHost: "tls", CodeTLSUnknownCA: "tls", CodeTLSVersion: "tls",
	CodeTLSNotTLS: "tls", CodeTLSTimeout: "tls",
	CodeTimeoutWrite: "write", CodeTimeoutHeaders: "wait",
}

// checkPhases holds that the parts of an attempt make sense, and that the last
// one is where its code says that it ended.
func checkPhases(t *testing.T, a *storage.Attempt, scheme string) {
	t.Helper()
	p, last := &a.Phases, ""
	for _, part := range []struct {
		name string
		took time.Duration
	}{{"dns", p.DNS}, {"connect", p.Connect}, {"tls", p.TLS}, {"write", p.Write}, {"wait", p.Wait}, {"body", p.Body}} {
		if part.took < 0 {
			t.Errorf("got %s for %s, want no less than 0", part.took, part.name)
		}
		if part.took > 0 {
			last = part.name
		}
	}
	if sum := p.DNS + p.Connect + p.TLS + p.Write + p.Wait + p.Body; sum > a.Duration {
		t.Errorf("got phases %+v, want no more than %s in sum", *p, a.Duration)
	}
	if want, ok := lastPhases[a.Code]; ok && last != want {
		t.Errorf("got phases %+v, want the last to be %q", *p, want)
	}
	if a.StatusCode != 0 && (p.Connect == 0 || (p.TLS == 0) != (scheme == "http") || p.Write+p.Wait == 0) {
		t.Errorf("got phases %+v of an answer over %s, want all that lead to it", *p, scheme)
	}
}

// checkLeaks returns a function that holds that neither goroutines nor file
// descriptors were left since. The test that uses it must not be parallel
// itself.
func checkLeaks(t *testing.T) func() {
	t.Helper()
	serve(t, (*peer).hang) // so that the poller has its descriptors
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	before, beforeFiles := runtime.NumGoroutine(), openFiles()
	return func() {
		t.Helper()
		var after, files int
		for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			after, files = runtime.NumGoroutine(), openFiles()
			if after <= before && files <= beforeFiles {
				return
			}
		}
		stacks := make([]byte, 1<<16)
		t.Errorf("got %d goroutines and %d files, want the %d and %d of before\n%s",
			after, files, before, beforeFiles, stacks[:runtime.Stack(stacks, true)])
	}
}

// openFiles counts the file descriptors of the process, where the system tells.
func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
