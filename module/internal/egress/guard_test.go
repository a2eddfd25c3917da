package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func mustAddr(t *testing.T, s string) netip.Addr {
	t.Helper()
	a, err := netip.ParseAddr(s)
	if err != nil {
		t.Fatalf("got host %q, want an address: %v", s, err)
	}
	return a
}

// network is a fake network: it records what was dialled.
type network struct {
	mu     sync.Mutex
	dialed []string

	// answer decides about a dial; nil connects at once.
	answer func(ctx context.Context, address string) error
}

func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dialed = append(n.dialed, address)
	n.mu.Unlock()
	if n.answer != nil {
		if err := n.answer(ctx, address); err != nil {
			return nil, err
		}
	}
	client, server := net.Pipe()
	_ = server.Close()
	return client, nil
}

func answers(addrs ...string) LookupFunc {
	return func(context.Context, string, string) ([]netip.Addr, error) {
		out := make([]netip.Addr, len(addrs))
		for i, a := range addrs {
			out[i] = netip.MustParseAddr(a)
		}
		return out, nil
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	own := &Policy{
		Allow:  prefixes("10.0.0.0/8", "127.0.0.0/8"),
		Refuse: func(a netip.AddrPort) bool { return a.Port() == 2019 && a.Addr() != netip.MustParseAddr("10.0.0.2") },
	}
	tests := []struct {
		name, address string
		resolved      []string
		policy        *Policy
		proxy         string
		want          string // the address dialled; empty when blocked
	}{
		{name: "public", address: "example.com:443", resolved: []string{"8.8.8.8"}, want: "8.8.8.8:443"},
		{name: "mapped", address: "example.com:443", resolved: []string{"::ffff:8.8.8.8"}, want: "8.8.8.8:443"},
		{name: "public v6", address: "example.com:443", resolved: []string{"2606:4700::1"}, want: "[2606:4700::1]:443"},
		{name: "private", address: "example.com:443", resolved: []string{"10.0.0.1"}},
		{name: "metadata", address: "example.com:80", resolved: []string{"169.254.169.254"}},
		{name: "private first of a mixed set", address: "example.com:443", resolved: []string{"10.0.0.1", "8.8.8.8", "::1"}, want: "8.8.8.8:443"},
		{name: "private literal", address: "10.0.0.1:80", want: "10.0.0.1:80"},
		{name: "metadata literal", address: "169.254.169.254:80"},
		{name: "v6 literal", address: "[::1]:80", want: "[::1]:80"},
		{name: "zone", address: "[fe80::1%lo]:80"},
		{name: "localhost", address: "localhost:80", resolved: []string{"127.0.0.1"}, want: "127.0.0.1:80"},
		{name: "localhost gone astray", address: "localhost:80", resolved: []string{"192.168.0.1"}},
		{name: "odd number that the resolver knows", address: "0x7f.1:80", resolved: []string{"127.0.0.1"}},
		{name: "decimal that the resolver knows", address: "2130706433:80", resolved: []string{"127.0.0.1"}},
		{name: "allowed", address: "in.example:80", resolved: []string{"10.0.0.1"}, policy: &Policy{Allow: prefixes("10.0.0.1/32")}, want: "10.0.0.1:80"},
		{name: "own listener", address: "127.0.0.1:2019", policy: own},
		{name: "own listener beside others", address: "self.example:2019", resolved: []string{"10.0.0.1", "10.0.0.2"}, policy: own, want: "10.0.0.2:2019"},
		{name: "other port of the own address", address: "127.0.0.1:2020", policy: own, want: "127.0.0.1:2020"},
		{name: "proxy at the own listener", address: "127.0.0.1:2019", proxy: "127.0.0.1:2019", policy: own},
		{name: "proxy by name on loopback", address: "proxy.internal:3128", resolved: []string{"127.0.0.1"}, proxy: "proxy.internal:3128", want: "127.0.0.1:3128"},
		{name: "not the proxy's port", address: "proxy.internal:22", resolved: []string{"127.0.0.1"}, proxy: "proxy.internal:3128"},
		{name: "proxy at metadata", address: "proxy.internal:80", resolved: []string{"169.254.169.254"}, proxy: "proxy.internal:80"},
		{name: "denied proxy", address: "proxy.internal:80", resolved: []string{"127.0.0.1"}, proxy: "proxy.internal:80", policy: &Policy{Deny: prefixes("127.0.0.0/8")}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var n network
			g := &Guard{
				Policy: test.policy, Dial: n.dial, Lookup: answers(test.resolved...),
				IsProxy: func(address string) bool { return address == test.proxy },
			}
			conn, err := g.DialContext(t.Context(), "tcp", test.address)
			if conn != nil {
				_ = conn.Close()
			}
			var want []string
			if test.want != "" {
				want = []string{test.want}
			} else if !errors.Is(err, ErrBlocked) {
				t.Errorf("got error %v, want ErrBlocked", err)
			}
			if !slices.Equal(n.dialed, want) {
				t.Errorf("got dials %q, error %v, want %q", n.dialed, err, want)
			}
			if err != nil && len(test.resolved) > 0 && strings.Contains(err.Error(), test.resolved[0]) {
				t.Errorf("got error %q, want one without the address", err)
			}
		})
	}
}

// TestRebinding holds that one answer of the resolver is both checked and
// dialled, and that the next dial asks and checks again.
func TestRebinding(t *testing.T) {
	t.Parallel()
	var n network
	lookups := 0
	g := &Guard{Dial: n.dial, Lookup: func(ctx context.Context, network, host string) ([]netip.Addr, error) {
		lookups++
		if lookups == 1 {
			return answers("8.8.8.8")(ctx, network, host)
		}
		return answers("127.0.0.1")(ctx, network, host)
	}}
	if _, err := g.DialContext(t.Context(), "tcp", "rebind.example:80"); err != nil {
		t.Fatalf("first dial: got %v, want a connection", err)
	}
	if _, err := g.DialContext(t.Context(), "tcp", "rebind.example:80"); !errors.Is(err, ErrBlocked) {
		t.Errorf("second dial: got %v, want ErrBlocked", err)
	}
	if want := []string{"8.8.8.8:80"}; !slices.Equal(n.dialed, want) || lookups != 2 {
		t.Errorf("got dials %q after %d lookups, want %q after 2", n.dialed, lookups, want)
	}
}

func TestDialErrors(t *testing.T) {
	t.Parallel()
	var n network
	notFound := &net.DNSError{Err: "no such host", Name: "x.example", IsNotFound: true}
	g := &Guard{Dial: n.dial, Lookup: func(context.Context, string, string) ([]netip.Addr, error) { return nil, notFound }}
	var dns *net.DNSError
	if _, err := g.DialContext(t.Context(), "tcp", "x.example:80"); !errors.As(err, &dns) || !dns.IsNotFound {
		t.Errorf("unknown name: got %v, want a DNS error", err)
	}
	g.Lookup = answers()
	if _, err := g.DialContext(t.Context(), "tcp", "x.example:80"); !errors.As(err, &dns) || !dns.IsNotFound {
		t.Errorf("empty answer: got %v, want a DNS error", err)
	}
	for _, address := range []string{"x.example", "x.example:http", "x.example:99999"} {
		if _, err := g.DialContext(t.Context(), "tcp", address); err == nil {
			t.Errorf("address %q: got a connection, want an error", address)
		}
	}
	if len(n.dialed) != 0 {
		t.Errorf("got dials %q, want none", n.dialed)
	}
}

func TestRace(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	tests := []struct {
		name   string
		answer func(ctx context.Context, address string) error
		addrs  []string
		dialed []string
		took   time.Duration
		err    error
	}{
		{
			name:  "first answers",
			addrs: []string{"2606:4700::1", "8.8.8.8"}, dialed: []string{"[2606:4700::1]:80"},
		},
		{
			name:   "first refuses",
			answer: func(_ context.Context, a string) error { return map[string]error{"1.1.1.1:80": refused}[a] },
			addrs:  []string{"1.1.1.1", "8.8.8.8"}, dialed: []string{"1.1.1.1:80", "8.8.8.8:80"},
		},
		{
			name: "first family hangs",
			answer: func(ctx context.Context, a string) error {
				if strings.HasPrefix(a, "[") {
					return hang(ctx)
				}
				return nil
			},
			addrs:  []string{"2606:4700::1", "2606:4700::2", "2606:4700::3", "8.8.8.8"},
			dialed: []string{"[2606:4700::1]:80", "8.8.8.8:80"}, took: raceDelay,
		},
		{
			name:   "all refuse",
			answer: func(context.Context, string) error { return refused },
			addrs:  []string{"1.1.1.1", "8.8.8.8", "1.1.1.1"}, dialed: []string{"1.1.1.1:80", "8.8.8.8:80"}, err: refused,
		},
		{
			name:   "all hang",
			answer: func(ctx context.Context, _ string) error { return hang(ctx) },
			addrs:  []string{"1.1.1.1", "8.8.8.8"}, dialed: []string{"1.1.1.1:80", "8.8.8.8:80"},
			took: defaultTimeout, err: context.DeadlineExceeded,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := network{answer: test.answer}
				g := &Guard{Dial: n.dial, Lookup: answers(test.addrs...)}
				start := time.Now()
				conn, err := g.DialContext(t.Context(), "tcp", "example.com:80")
				took := time.Since(start)
				if conn != nil {
					_ = conn.Close()
				}
				if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
					t.Errorf("got error %v, want %v", err, test.err)
				}
				if took != test.took {
					t.Errorf("got %s, want %s", took, test.took)
				}
				synctest.Wait()
				if !slices.Equal(n.dialed, test.dialed) {
					t.Errorf("got dials %q, want %q", n.dialed, test.dialed)
				}
			})
		})
	}
}

// TestRaceClosesLosers holds that a connection which comes too late is closed.
func TestRaceClosesLosers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var late net.Conn
		g := &Guard{
			Lookup: answers("1.1.1.1", "8.8.8.8"),
			Dial: func(_ context.Context, _, address string) (net.Conn, error) {
				client, server := net.Pipe()
				if address == "1.1.1.1:80" {
					time.Sleep(time.Second) // on the bubble's clock
					late = server
				}
				return client, nil
			},
		}
		conn, err := g.DialContext(t.Context(), "tcp", "example.com:80")
		if err != nil {
			t.Fatalf("got %v, want a connection", err)
		}
		defer conn.Close()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, err := late.Read(make([]byte, 1)); err == nil {
			t.Error("got the late connection open, want it closed")
		}
	})
}

func TestCheckTarget(t *testing.T) {
	t.Parallel()
	g := &Guard{
		Policy: &Policy{Refuse: func(a netip.AddrPort) bool { return a.Port() == 2019 }},
		Lookup: answers("10.0.0.1"),
	}
	for _, address := range []string{"in.example:443", "169.254.169.254:80", "127.0.0.1:2019"} {
		if err := g.CheckTarget(t.Context(), address); !errors.Is(err, ErrBlocked) {
			t.Errorf("address %s: got %v, want ErrBlocked", address, err)
		}
	}
	g.Lookup = func(context.Context, string, string) ([]netip.Addr, error) { return nil, errors.New("unknown here") }
	for _, address := range []string{"known.to.proxy:443", "127.0.0.1:2020"} {
		if err := g.CheckTarget(t.Context(), address); err != nil {
			t.Errorf("address %s: got %v, want it to pass", address, err)
		}
	}
}

func TestTrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		trace := &Trace{Start: time.Now()}
		ctx := context.WithValue(t.Context(), TraceKey{}, trace)
		n := network{answer: func(context.Context, string) error { time.Sleep(20 * time.Millisecond); return nil }}
		g := &Guard{Dial: n.dial, Lookup: func(ctx context.Context, network, host string) ([]netip.Addr, error) {
			time.Sleep(10 * time.Millisecond)
			return answers("8.8.8.8")(ctx, network, host)
		}}
		time.Sleep(time.Millisecond)
		conn, err := g.DialContext(ctx, "tcp", "example.com:80")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if took, began, ended := trace.Lookup(); took != 10*time.Millisecond || !began || !ended {
			t.Errorf("lookup: got %s, %t, %t, want 10ms, true, true", took, began, ended)
		}
		if took, began, ended := trace.Connect(); took != 20*time.Millisecond || !began || !ended {
			t.Errorf("connect: got %s, %t, %t, want 20ms, true, true", took, began, ended)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	p := &Policy{Allow: prefixes("10.0.0.0/8")}
	addr := netip.MustParseAddr("93.184.216.34")
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Check("example.com", addr); err != nil {
			b.Fatal(err)
		}
	}
}
