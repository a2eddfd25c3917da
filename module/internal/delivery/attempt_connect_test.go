package delivery

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/module/internal/egress"
)

// dials are a network of which a test decides what it does.
type dials struct {
	mu   sync.Mutex
	to   []string
	each func(ctx context.Context, address string) (net.Conn, error)
}

func (d *dials) dial(ctx context.Context, _, address string) (net.Conn, error) {
	d.mu.Lock()
	d.to = append(d.to, address)
	d.mu.Unlock()
	return d.each(ctx, address)
}

// TestNoConnection is about attempts that come to no connection.
func TestNoConnection(t *testing.T) { //nolint:tparallel // counts goroutines
	leaked := checkLeaks(t)
	fails := func(err error) func(context.Context, string) (net.Conn, error) {
		return func(context.Context, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
		}
	}
	hangs := func(ctx context.Context, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	dns := func(e net.DNSError) egress.LookupFunc {
		return func(context.Context, string, string) ([]netip.Addr, error) { return nil, &e }
	}
	public := func(context.Context, string, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("8.8.8.8")}, nil
	}
	t.Run("rows", func(t *testing.T) {
		for name, test := range map[string]struct {
			lookup egress.LookupFunc
			each   func(context.Context, string) (net.Conn, error)
			guard  time.Duration
			code   string
		}{
			"refused":                  {public, fails(os.NewSyscallError("connect", syscall.ECONNREFUSED)), 0, CodeConnectionRefused},
			"no route to the host":     {public, fails(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), 0, CodeUnreachable},
			"no route to the network":  {public, fails(os.NewSyscallError("connect", syscall.ENETUNREACH)), 0, CodeUnreachable},
			"forbidden by a firewall":  {public, fails(os.NewSyscallError("connect", syscall.EPERM)), 0, CodeUnreachable},
			"hangs":                    {public, hangs, rowTimeout / 2, CodeConnectTimeout},
			"hangs until the deadline": {public, hangs, 2 * rowTimeout, CodeConnectTimeout},
			"something else":           {public, fails(errors.New("canary")), 0, CodeConnectionFailed},
			"unknown name":             {dns(net.DNSError{Err: "canary", IsNotFound: true}), nil, 0, CodeDNSNotFound},
			"broken name server":       {dns(net.DNSError{Err: "canary", IsTemporary: true}), nil, 0, CodeDNSFailure},
			"name server that is late": {dns(net.DNSError{Err: "canary", IsTimeout: true}), nil, 0, CodeDNSFailure},
			"name server that is mute": {func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}, nil, 2 * rowTimeout, CodeDNSFailure},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				network := &dials{each: test.each}
				transport := guarded(t, nil)
				transport.DialContext = (&egress.Guard{Dial: network.dial, Lookup: test.lookup, Timeout: test.guard}).DialContext
				m := testMessage(t, "https://receiver.example/", transport)
				m.Endpoint.Timeout = rowTimeout
				out := Send(t.Context(), m)
				checkUnconnected(t, &out, test.code)
			})
		}
	})
	leaked()
}

// checkUnconnected compares what is recorded of an attempt without a
// connection.
func checkUnconnected(t *testing.T, out *Outcome, code string) {
	t.Helper()
	a := &out.Attempt
	if a.Verdict != VerdictRetry || a.Code != code || a.StatusCode != 0 || out.RetryAfter != 0 || out.Gone {
		t.Errorf("got %s %s %d, want %s %s and no answer", a.Verdict, a.Code, a.StatusCode, VerdictRetry, code)
	}
	if a.RemoteAddr != "" || a.TLSVersion != "" || a.Header != nil || a.Body != nil || a.BodyIncomplete || a.BodyTruncated {
		t.Errorf("got %+v, want no trace of a connection", a)
	}
	if a.Duration > rowTimeout+slack {
		t.Errorf("got %s, want at most %s", a.Duration, rowTimeout+slack)
	}
	checkPhases(t, a, "https")
}

func TestRefused(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	out := Send(t.Context(), testMessage(t, "http://"+l.Addr().String(), guarded(t, nil)))
	checkUnconnected(t, &out, CodeConnectionRefused)
}

// TestBlackhole is about a receiver whose packets the system drops: its queue
// of connections is full.
func TestBlackhole(t *testing.T) {
	t.Parallel()
	addr := blackhole(t)
	transport := guarded(t, nil)
	transport.DialContext = (&egress.Guard{Dial: (&net.Dialer{}).DialContext, Timeout: rowTimeout / 2}).DialContext
	out := Send(t.Context(), testMessage(t, "http://"+addr, transport))
	checkUnconnected(t, &out, CodeConnectTimeout)
	if got := out.Attempt.Phases.Connect; got < rowTimeout/2 {
		t.Errorf("got %s for connecting, want all of %s", got, rowTimeout/2)
	}
}

// TestBlocked holds that addresses which the policy refuses are not dialled,
// whatever leads to them, and that those beside them are.
func TestBlocked(t *testing.T) { //nolint:tparallel // counts goroutines
	leaked := checkLeaks(t)
	t.Run("rows", func(t *testing.T) {
		for name, test := range map[string]struct {
			url   string
			names []string
			want  string // the address dialled
		}{
			"metadata":                   {url: "http://169.254.169.254/"},
			"unspecified":                {url: "http://0.0.0.0:1/"},
			"NAT64":                      {url: "http://[64:ff9b::7f00:1]/"},
			"private name":               {url: "http://in.example:80/", names: []string{"10.0.0.1"}},
			"all kinds of private":       {url: "http://in.example:80/", names: []string{"10.0.0.1", "::1", "fd00::1", "169.254.169.254", "::ffff:127.0.0.1"}},
			"public among private":       {url: "http://mixed.example:80/", names: []string{"10.0.0.1", "8.8.8.8", "127.0.0.1"}, want: "8.8.8.8:80"},
			"private name on TLS":        {url: "https://in.example/", names: []string{"192.168.1.1"}},
			"public one of two families": {url: "http://mixed.example:80/", names: []string{"::1", "8.8.8.8"}, want: "8.8.8.8:80"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				h := serve(t, answer(ok200))
				network := &dials{each: func(ctx context.Context, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "tcp", h.addr)
				}}
				guard := &egress.Guard{Dial: network.dial, Lookup: func(context.Context, string, string) ([]netip.Addr, error) {
					var addrs []netip.Addr
					for _, a := range test.names {
						addrs = append(addrs, netip.MustParseAddr(a))
					}
					return addrs, nil
				}}
				transport := guarded(t, &tls.Config{})
				transport.DialContext = guard.DialContext
				m := testMessage(t, test.url, transport)
				m.Endpoint.Timeout = patience
				out := Send(t.Context(), m)
				if test.want == "" {
					checkUnconnected(t, &out, CodeBlocked)
				} else if a := &out.Attempt; a.Code != "http_200" || !slices.Equal(network.to, []string{test.want}) || h.requests.Load() != 1 {
					t.Errorf("got %s after dials to %q and %d requests, want http_200 from %s", a.Code, network.to, h.requests.Load(), test.want)
				}
				if test.want == "" && (len(network.to) > 0 || h.conns.Load() > 0) {
					t.Errorf("got dials to %q, want none", network.to)
				}
			})
		}
	})
	leaked()
}
