package module

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/promptreports/caddy-webhooks/module/internal/egress"
)

// dnsScript says what a name server answers when it is asked for a name for
// the nth time: addresses, or a name, which is a CNAME.
type dnsScript func(name string, n int) []string

// serveDNS makes a name server that answers every question with the addresses,
// and returns the configuration of a transport that asks it.
func serveDNS(t *testing.T, addrs ...string) string {
	t.Helper()
	server := serveScript(t, "127.0.0.1", func(string, int) []string { return addrs })
	return `{"resolver":{"addresses":["` + server + `"]}}`
}

// serveScript makes a name server on an address, and returns it with its port.
// Its answers must not be kept.
func serveScript(t *testing.T, on string, script dnsScript) string {
	t.Helper()
	c, err := net.ListenPacket("udp", on+":0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(map[dnsmessage.Question]int)
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			asked[q]++
			m.Header.Response, m.Additionals = true, nil
			m.Answers = resources(q.Name, q.Type, asked[q], script)
			if out, err := m.Pack(); err == nil {
				_, _ = c.WriteTo(out, from)
			}
		}
	})
	t.Cleanup(func() {
		_ = c.Close()
		wg.Wait()
	})
	return c.LocalAddr().String()
}

// resources are the answers of a script about a name, CNAMEs followed.
func resources(name dnsmessage.Name, kind dnsmessage.Type, n int, script dnsScript) []dnsmessage.Resource {
	var out []dnsmessage.Resource
	for _, text := range script(strings.TrimSuffix(name.String(), "."), n) {
		header := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET} // its TTL is 0
		addr, err := netip.ParseAddr(text)
		switch {
		case err != nil:
			target := dnsmessage.MustNewName(text + ".")
			out = append(out, dnsmessage.Resource{Header: header, Body: &dnsmessage.CNAMEResource{CNAME: target}})
			out = append(out, resources(target, kind, n, script)...)
		case addr.Is4() && kind == dnsmessage.TypeA:
			out = append(out, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: addr.As4()}})
		case addr.Is6() && kind == dnsmessage.TypeAAAA:
			out = append(out, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
		}
	}
	return out
}

// counter is a server that counts its connections.
type counter struct {
	conns, open atomic.Int64
}

// serveCounter answers requests on an address with 200.
func serveCounter(t *testing.T, address string) (*counter, error) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	c := new(counter)
	server := &http.Server{
		Handler:           http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		ReadHeaderTimeout: 10 * time.Second,
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				c.conns.Add(1)
				c.open.Add(1)
			case http.StateClosed, http.StateHijacked:
				c.open.Add(-1)
			default:
			}
		},
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		_ = server.Close()
		wg.Wait()
	})
	return c, nil
}

// rebinding is a network with a public server and with private ones on the
// same port, which names lead to.
type rebinding struct {
	public  netip.Addr
	private []netip.Addr
	policy  *egress.Policy
	port    uint16
	rounds  int
}

// serve starts the servers on one free port.
func (r *rebinding) serve(t *testing.T) (public *counter, private map[netip.Addr]*counter) {
	t.Helper()
	for range 50 {
		l, err := net.Listen("tcp", netip.AddrPortFrom(r.public, 0).String())
		if err != nil {
			t.Fatal(err)
		}
		r.port = l.Addr().(*net.TCPAddr).AddrPort().Port()
		_ = l.Close()
		if public, err = serveCounter(t, netip.AddrPortFrom(r.public, r.port).String()); err != nil {
			continue
		}
		private = make(map[netip.Addr]*counter)
		for _, a := range r.private {
			if private[a], err = serveCounter(t, netip.AddrPortFrom(a, r.port).String()); err != nil {
				break
			}
		}
		if err == nil {
			return public, private
		}
	}
	t.Fatal("got no port that is free on all addresses")
	return nil, nil
}

// rebound is what the owner of an endpoint may do with a name: the answer to
// the nth question, and whether that attempt must arrive at the public server.
type rebound struct {
	script  func(n int) []string
	arrives func(n int) bool
}

func (r *rebinding) names() map[string]rebound {
	public, private := r.public.String(), make([]string, len(r.private))
	for i, a := range r.private {
		private[i] = a.String()
	}
	always := func(answers ...string) func(int) []string { return func(int) []string { return answers } }
	never := func(int) bool { return false }
	return map[string]rebound{
		"first-public.example": {
			script: func(n int) []string {
				if n == 1 {
					return []string{public}
				}
				return private
			},
			arrives: func(n int) bool { return n == 1 },
		},
		"alternating.example": {
			script: func(n int) []string {
				if n%2 == 1 {
					return []string{public}
				}
				return private[:1]
			},
			arrives: func(n int) bool { return n%2 == 1 },
		},
		"mixed.example":       {script: always(append(slices.Clone(private), public)...), arrives: func(int) bool { return true }},
		"all-private.example": {script: always(private...), arrives: never},
		"cname.example":       {script: always("target.example"), arrives: never},
		"target.example":      {script: always(private[0]), arrives: never},
		"mapped.example":      {script: always("::ffff:127.0.0.1"), arrives: never},
		"compatible.example":  {script: always("::127.0.0.1", "::ffff:0:127.0.0.1"), arrives: never},
		"nat64.example":       {script: always("64:ff9b::127.0.0.1", "64:ff9b:1::127.0.0.1", "2002:7f00:1::1"), arrives: never},
		"unspecified.example": {script: always("0.0.0.0", "::"), arrives: never}, // which a socket connects to loopback
	}
}

// check makes attempts at all names, again and again, each with a connection
// of its own.
func (r *rebinding) check(t *testing.T) {
	t.Helper()
	public, private := r.serve(t)
	rows := r.names()
	server := serveScript(t, "127.0.0.1", func(name string, n int) []string {
		if row, ok := rows[name]; ok {
			return row.script(n)
		}
		return nil
	})
	transport := mustLoad(t, `{"resolver":{"addresses":["`+server+`"]},"keep_alive":{"enabled":false}}`, r.policy)
	arrived, attempts := int64(0), 0
	for n := 1; n <= r.rounds; n++ {
		for name, row := range rows {
			attempts++
			status, err := post(t, transport, fmt.Sprintf("http://%s:%d/hook", name, r.port), 10*time.Second)
			switch arrives := row.arrives(n); {
			case arrives && status != http.StatusOK:
				t.Fatalf("attempt %d at %s: got %d, %v, want it to arrive at the public server", n, name, status, err)
			case arrives:
				arrived++
			case !errors.Is(err, egress.ErrBlocked):
				t.Fatalf("attempt %d at %s: got %d, %v, want ErrBlocked", n, name, status, err)
			}
		}
	}
	if got := public.conns.Load(); got != arrived || arrived == 0 {
		t.Errorf("got %d connections at the public server, want %d", got, arrived)
	}
	for a, c := range private {
		if got := c.conns.Load(); got != 0 {
			t.Errorf("got %d connections at %s, want none", got, a)
		}
	}
	t.Logf("%d attempts, %d of them arrived", attempts, arrived)
}

// TestTransportRebinding holds that whatever a name server answers, and
// whenever it changes its mind, no connection is made to a private address.
// On loopback alone, one address of it has to stand for the public ones.
func TestTransportRebinding(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has all of 127.0.0.0/8")
	}
	public := netip.MustParseAddr("127.0.0.2")
	r := &rebinding{
		public:  public,
		private: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.3")},
		policy:  &egress.Policy{Allow: []netip.Prefix{netip.PrefixFrom(public, 32)}},
		rounds:  20,
	}
	r.check(t)
}
