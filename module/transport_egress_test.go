package module

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	zapobserver "go.uber.org/zap/zaptest/observer"

	"github.com/promptreports/caddy-webhooks/module/internal/egress"
)

var loopbackAllowed = &egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}

// oddLiterals are what some resolvers read as 127.0.0.1 or 0.0.0.0.
var oddLiterals = []string{
	"2130706433", "0x7f000001", "0X7F000001", "017700000001", "0177.0.0.1", "0x7f.0.0.1", "0x7f.1",
	"127.1", "127.0.1", "127.0.0.01", "127.0.0.0x1", "0", "0x0", "00.0.0.0",
}

// TestTransportOddLiterals holds that odd notations of addresses lead nowhere
// private where a name server answers for them. Go's resolver asks it only for
// those that are not made of digits alone.
func TestTransportOddLiterals(t *testing.T) {
	c, port := countLoopback(t)
	transport := mustLoad(t, serveDNS(t, "127.0.0.1"), nil)
	for _, host := range oddLiterals {
		if _, err := (*egress.Policy)(nil).CheckURL("http://" + host + ":" + port + "/"); err == nil {
			t.Errorf("host %s: got the URL accepted in a configuration, want it refused", host)
		}
		status, err := post(t, transport, "http://"+host+":"+port+"/", patience)
		if asked := strings.ContainsAny(host, "xX"); asked != errors.Is(err, egress.ErrBlocked) || err == nil {
			t.Errorf("host %s: got %d, %v, want ErrBlocked %t", host, status, err, asked)
		}
	}
	if got := c.conns.Load(); got != 0 {
		t.Errorf("got %d connections at loopback, want none", got)
	}
}

// countLoopback serves on loopback.
func countLoopback(t *testing.T) (c *counter, port string) {
	t.Helper()
	for range 50 {
		addr := freeAddr(t)
		c, err := serveCounter(t, addr)
		if err == nil {
			_, port, _ = net.SplitHostPort(addr)
			return c, port
		}
	}
	t.Fatal("got no free port")
	return nil, ""
}

// TestTransportOddLiteralsOfTheSystem is TestTransportOddLiterals with the
// resolvers of Go and of the C library, which reads 0x7f.1 as an address. They
// are chosen when a process begins.
func TestTransportOddLiteralsOfTheSystem(t *testing.T) {
	const variable = "CADDY_WEBHOOKS_TEST_PORT"
	if port := os.Getenv(variable); port != "" {
		transport := mustLoad(t, "", nil)
		var wg sync.WaitGroup
		for _, host := range oddLiterals {
			wg.Go(func() {
				status, err := post(t, transport, "http://"+host+":"+port+"/", patience)
				if err == nil {
					t.Errorf("host %s: got %d, want an error", host, status)
				}
				t.Logf("host %s: blocked %t", host, errors.Is(err, egress.ErrBlocked))
			})
		}
		wg.Wait()
		if status, err := post(t, transport, "http://127.0.0.1:"+port+"/", patience); status != 200 {
			t.Errorf("the plain address: got %d, %v, want 200", status, err)
		}
		return
	}
	for _, resolver := range []string{"go", "cgo"} {
		t.Run(resolver, func(t *testing.T) {
			t.Parallel()
			c, port := countLoopback(t)
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTransportOddLiteralsOfTheSystem$", "-test.v")
			child.Env = append(os.Environ(), variable+"="+port, "GODEBUG=netdns="+resolver)
			out, err := child.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--- PASS: TestTransportOddLiteralsOfTheSystem") {
				t.Errorf("got %v, want a pass:\n%s", err, out)
			}
			if got := c.conns.Load(); got != 1 {
				t.Errorf("got %d connections at loopback, want 1, of the plain address", got)
			}
			t.Logf("%d of %d were read as addresses", strings.Count(string(out), "blocked true"), len(oddLiterals))
		})
	}
}

// TestTransportPools holds that connections which one policy admitted are not
// used under another.
func TestTransportPools(t *testing.T) {
	c, port := countLoopback(t)
	raw, target := serveDNS(t, "127.0.0.1"), "http://pooled.example:"+port+"/"
	lax, strict := mustLoad(t, raw, loopbackAllowed), mustLoad(t, raw, nil)
	for round := range 3 {
		if status, err := post(t, lax, target, patience); status != 200 {
			t.Errorf("round %d, loopback allowed: got %d, %v, want 200", round, status, err)
		}
		if status, err := post(t, strict, target, patience); !errors.Is(err, egress.ErrBlocked) {
			t.Errorf("round %d, loopback not allowed: got %d, %v, want ErrBlocked", round, status, err)
		}
	}
	if got := c.conns.Load(); got != 1 { // so there was one in a pool to be used
		t.Errorf("got %d connections, want 1 that is kept", got)
	}
}

// TestTransportProxyNeverReachesOwnListener holds that an own listener is
// refused as a proxy, and behind one.
func TestTransportProxyNeverReachesOwnListener(t *testing.T) {
	c, port := countLoopback(t)
	proxy := byProxy(t, "127.0.0.1:"+port)
	own := func(refused string) *egress.Policy {
		return &egress.Policy{Refuse: func(a netip.AddrPort) bool { return a.String() == refused }}
	}
	for _, test := range []struct {
		name, target string
		policy       *egress.Policy
	}{
		{"proxy", "http://known-to-proxy.invalid/", own("127.0.0.1:" + port)},
		{"target", "http://127.0.0.1:9/", own("127.0.0.1:9")},
		{"target with the port of its scheme", "http://127.0.0.1/", own("127.0.0.1:80")},
		{"target by TLS", "https://127.0.0.1/", own("127.0.0.1:443")},
	} {
		if status, err := post(t, mustLoad(t, proxy, test.policy), test.target, patience); !errors.Is(err, egress.ErrBlocked) {
			t.Errorf("%s: got %d, %v, want ErrBlocked", test.name, status, err)
		}
	}
	if got := c.conns.Load(); got != 0 {
		t.Errorf("got %d connections at the proxy, want none", got)
	}
	if status, err := post(t, mustLoad(t, proxy, own("127.0.0.1:9")), "http://known-to-proxy.invalid/", patience); status != 200 {
		t.Errorf("another target: got %d, %v, want 200", status, err)
	}
}

// TestEnvironmentProxyIsTold holds that whoever expects the proxy of the
// environment to be used is told that it is not.
func TestEnvironmentProxyIsTold(t *testing.T) {
	const message = "proxies of the environment are not used"
	clean, _ := http.NewRequest(http.MethodPost, "http://public.example", nil)
	_, _ = http.ProxyFromEnvironment(clean) // it looks at the environment once, and not at what follows
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
		t.Setenv(name, "")
	}
	config := `{"endpoints":{"a":{"url":"https://example.com"}}}`
	if _, logs := mustBuild(t, config); logs.FilterMessageSnippet(message).Len() != 0 {
		t.Errorf("got lines %v, want none about proxies", logs.All())
	}
	t.Setenv("HTTPS_PROXY", "http://user:hunter2@proxy.example:3128")
	_, logs := mustBuild(t, config)
	lines := logs.FilterMessageSnippet(message).All()
	if len(lines) != 1 || lines[0].ContextMap()["variable"] != "HTTPS_PROXY" {
		t.Errorf("got lines %v, want one about HTTPS_PROXY", lines)
	}
	for _, line := range logs.All() {
		for _, value := range line.ContextMap() {
			if text, ok := value.(string); ok && strings.Contains(text, "hunter2") {
				t.Errorf("got line %v with the password of the proxy, want it left out", line)
			}
		}
	}
	_, logs = mustBuild(t, `{"transport":{"protocol":"http","network_proxy":{"from":"url","url":"http://127.0.0.1:3128"}},"endpoints":{"a":{"url":"https://example.com"}}}`)
	if got := logs.FilterMessageSnippet(message).Len(); got != 0 {
		t.Errorf("got %d lines about proxies although one is configured, want none", got)
	}
}

// TestBlockedAddressIsLogged holds that operators can find out which address
// was refused, though only where they ask for it.
func TestBlockedAddressIsLogged(t *testing.T) {
	t.Parallel()
	core, logs := zapobserver.New(zapcore.DebugLevel)
	guard := &egress.Guard{Lookup: func(context.Context, string, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("10.1.2.3")}, nil
	}}
	if _, err := logBlocked(guard.DialContext, zap.New(core))(t.Context(), "tcp", "in.example:443"); !errors.Is(err, egress.ErrBlocked) {
		t.Fatalf("got %v, want ErrBlocked", err)
	}
	lines := logs.All()
	if len(lines) != 1 || lines[0].Level != zapcore.DebugLevel ||
		lines[0].ContextMap()["address"] != "10.1.2.3" || lines[0].ContextMap()["target"] != "in.example:443" {
		t.Errorf("got lines %+v, want one with the target and its address", lines)
	}
}

// A reload that tightens the policy closes connections that are no longer
// admitted, and the next attempt is blocked.
func TestReloadTightensEgress(t *testing.T) {
	h := newHarness(t)
	newFake(t, "tight")
	c, port := countLoopback(t)
	resolver := serveDNS(t, "127.0.0.1")
	load := func(allow ...string) {
		t.Helper()
		h.mustLoad(h.config(object{
			"outbox":    object{"engine": "fake", "name": "tight"},
			"egress":    object{"allow": allow, "allow_http": true},
			"transport": rawObject(t, resolver),
			"endpoints": object{"first": object{"url": "http://pooled.example:" + port}},
		}))
	}
	load("127.0.0.0/8")
	for range 3 {
		if got := sendTest(t, h.admin, "http://localhost", "first"); got != "http_200" {
			t.Fatalf("allowed: got %s, want http_200", got)
		}
	}
	if conns, open := c.conns.Load(), c.open.Load(); conns != 1 || open != 1 {
		t.Fatalf("got %d connections, %d of them open, want one that is kept", conns, open)
	}
	load("10.0.0.0/8")
	if got := sendTest(t, h.admin, "http://localhost", "first"); got != "blocked" {
		t.Errorf("not allowed any more: got %s, want blocked", got)
	}
	for deadline := time.Now().Add(10 * time.Second); c.open.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("got the connection open, want it closed by the reload")
		}
	}
	if got := c.conns.Load(); got != 1 {
		t.Errorf("got %d connections, want only that of before", got)
	}
}

// rawObject returns the configuration of a transport as an object.
func rawObject(t *testing.T, raw string) object {
	t.Helper()
	o := object{"protocol": "http"}
	if err := json.Unmarshal([]byte(raw), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// Attempts at a name that turns to a private address are recorded as blocked,
// without the address.
func TestReboundAttemptsAreBlocked(t *testing.T) {
	h := newHarness(t)
	newFake(t, "rebound")
	c, port := countLoopback(t)
	var mu sync.Mutex
	private := false
	server := serveScript(t, "127.0.0.1", func(string, int) []string {
		mu.Lock()
		defer mu.Unlock()
		if private {
			return []string{"127.0.0.1", "169.254.169.254"}
		}
		return []string{"127.0.0.2"}
	})
	rc, err := serveCounter(t, "127.0.0.2:"+port) // stands for a public one
	if err != nil {
		t.Skip("only Linux has all of 127.0.0.0/8, or the port is taken: ", err)
	}
	h.mustLoad(h.config(object{
		"outbox": object{"engine": "fake", "name": "rebound"},
		"egress": object{"allow": []string{"127.0.0.2"}, "allow_http": true},
		"transport": object{
			"protocol": "http", "resolver": object{"addresses": []string{server}}, "keep_alive": object{"enabled": false},
		},
		"endpoints": object{"first": object{"url": "http://rebind.example:" + port + "/hook"}},
	}))
	if got := sendTest(t, h.admin, "http://localhost", "first"); got != "http_200" {
		t.Errorf("public: got %s, want http_200", got)
	}
	mu.Lock()
	private = true
	mu.Unlock()
	for range 100 {
		if got := sendTest(t, h.admin, "http://localhost", "first"); got != "blocked" {
			t.Fatalf("private: got %s, want blocked", got)
		}
	}
	if status, body := h.get("/webhooks/deliveries?limit=1000"); status != 200 || strings.Contains(body, "127.0.0.1") || strings.Contains(body, "169.254") {
		t.Errorf("got %d and the history %s, want none with a private address", status, body)
	}
	if got := c.conns.Load(); got != 0 || rc.conns.Load() != 1 {
		t.Errorf("got %d private and %d public connections, want none and one", got, rc.conns.Load())
	}
}
