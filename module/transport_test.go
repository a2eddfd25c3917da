package module

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/module/internal/egress"
)

// loadTransport loads a transport as the snapshot does.
func loadTransport(t *testing.T, raw string, policy *egress.Policy) (*http.Transport, error) {
	t.Helper()
	config, err := transportDefaults(json.RawMessage(raw))
	if err != nil {
		return nil, err
	}
	return loadBare(t, string(config), policy)
}

// loadBare loads a transport without our defaults.
func loadBare(t *testing.T, raw string, policy *egress.Policy) (*http.Transport, error) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	holder := struct {
		Raw json.RawMessage `caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`
	}{json.RawMessage(raw)}
	loaded, err := ctx.LoadModule(&holder, "Raw")
	if err != nil {
		return nil, err
	}
	guarded, err := guardTransport(loaded.(*reverseproxy.HTTPTransport), policy, zap.NewNop())
	if err != nil {
		return nil, err
	}
	transport := guarded.(*http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	return transport, nil
}

func mustLoad(t *testing.T, raw string, policy *egress.Policy) *http.Transport {
	t.Helper()
	transport, err := loadTransport(t, raw, policy)
	if err != nil {
		t.Fatal(err)
	}
	return transport
}

// patience is the timeout of requests that are not to run into one.
const patience = 20 * time.Second

// post sends one request, and returns its status or error.
func post(t *testing.T, transport http.RoundTripper, target string, timeout time.Duration) (int, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := transport.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return res.StatusCode, nil
}

func TestTransportRefusals(t *testing.T) {
	for raw, want := range map[string]string{
		`{"protocol":"fastcgi"}`:                                           "only http",
		`{"protocol":"http","versions":["3"]}`:                             "HTTP/3",
		`{"protocol":"http","tls":{"server_name":"{env.NAME}"}}`:           "placeholder",
		`{"protocol":"http","proxy_protocol":"v1"}`:                        "proxy_protocol",
		`{"protocol":"http","network_proxy":{"from":"url","url":"{x.y}"}}`: "placeholder",
		`{"protocol":"http","forward_proxy_url":"{x.y}"}`:                  "placeholder",
		`{"protocol":"http","resolver":{"addresses":[]}}`:                  "resolver",
		`{"protocol":"http","keep_alive":7}`:                               "keep_alive",
		`[]`:                                                               "decoding",
	} {
		if _, err := loadTransport(t, raw, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("transport %s: got %v, want an error with %q", raw, err, want)
		}
	}
}

func TestTransportDefaults(t *testing.T) {
	for _, raw := range []string{``, `{}`, `{"protocol":"http"}`, `{"protocol":"http","tls":{}}`, `{"compression":true}`} {
		tr := mustLoad(t, raw, nil)
		if tr.TLSHandshakeTimeout != 5*time.Second || tr.MaxResponseHeaderBytes != 64<<10 || !tr.DisableCompression ||
			tr.MaxIdleConns != 256 || tr.MaxIdleConnsPerHost != 256 || tr.IdleConnTimeout != time.Minute || tr.DialTLSContext != nil {
			t.Errorf("transport %q: got %+v, want our defaults", raw, tr)
		}
	}
	tr := mustLoad(t, `{"tls":{"handshake_timeout":"1s"},"max_response_header_size":1024,"keep_alive":{"max_idle_conns":7,"max_idle_conns_per_host":3,"idle_timeout":"9s"}}`, nil)
	if tr.TLSHandshakeTimeout != time.Second || tr.MaxResponseHeaderBytes != 1024 || tr.MaxIdleConns != 7 || tr.MaxIdleConnsPerHost != 3 || tr.IdleConnTimeout != 9*time.Second {
		t.Errorf("got %+v, want what is configured", tr)
	}
	raw, err := transportDefaults(json.RawMessage(`{"dial_timeout":"1s"}`))
	if err != nil || !strings.Contains(string(raw), `"dial_timeout":"1s"`) {
		t.Errorf("got %s, %v, want the configured dial timeout", raw, err)
	}
	again, err := transportDefaults(raw)
	if err != nil || string(again) != string(raw) {
		t.Errorf("got %s, %v, want %s again", again, err, raw)
	}
}

// TestTransportGuard holds that the guard sees what names resolve to.
func TestTransportGuard(t *testing.T) {
	var requests atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())

	private := serveDNS(t, "127.0.0.1")
	if _, err := post(t, mustLoad(t, private, nil), "http://rebind.example:"+port, patience); !errors.Is(err, egress.ErrBlocked) {
		t.Errorf("name of a loopback address: got %v, want ErrBlocked", err)
	}
	if _, err := post(t, mustLoad(t, "", nil), "http://169.254.169.254:"+port, patience); !errors.Is(err, egress.ErrBlocked) {
		t.Errorf("metadata: got %v, want ErrBlocked", err)
	}
	if got := requests.Load(); got != 0 {
		t.Fatalf("got %d requests, want none yet", got)
	}
	allow := &egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	for _, test := range []struct {
		raw, target string
		policy      *egress.Policy
	}{
		{"", s.URL, nil},
		{"", "http://localhost:" + port, nil},
		{private, "http://allowed.example:" + port, allow},
		{serveDNS(t, "10.255.255.1", "127.0.0.1"), "http://mixed.example:" + port, allow},
	} {
		if status, err := post(t, mustLoad(t, test.raw, test.policy), test.target, patience); status != 200 {
			t.Errorf("URL %s: got %d, %v, want 200", test.target, status, err)
		}
	}
}

func TestTransportDialErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if _, err := post(t, mustLoad(t, "", nil), "http://"+l.Addr().String(), patience); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v, want the cause of Caddy's dial error", err)
	}
}

// TestTransportServerName holds that TLS names and checks the URL's host,
// although an address is dialled.
func TestTransportServerName(t *testing.T) {
	names := make(chan string, 1)
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		names <- hello.ServerName
		return nil, nil
	}}
	s.StartTLS()
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())

	allow := &egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	transport := mustLoad(t, serveDNS(t, "127.0.0.1"), allow)
	transport.TLSClientConfig.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	// The test server's certificate is for example.com.
	if status, err := post(t, transport, "https://example.com:"+port, patience); status != 404 {
		t.Errorf("got %d, %v, want 404", status, err)
	}
	if got := <-names; got != "example.com" {
		t.Errorf("got server name %q, want example.com", got)
	}
	if _, err := post(t, transport, "https://other.example:"+port, patience); !errors.As(err, new(x509.HostnameError)) {
		t.Errorf("got %v for a host that is not in the certificate, want an error that says so", err)
	}
}

// TestTransportTarpit holds that attempts at a receiver which never shakes
// hands leave nothing behind.
func TestTransportTarpit(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var accepted atomic.Int64
	go func() {
		var held []net.Conn
		defer func() {
			for _, c := range held {
				_ = c.Close()
			}
		}()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			held = append(held, c)
			accepted.Add(1)
		}
	}()
	transport := mustLoad(t, `{"tls":{"handshake_timeout":"300ms"}}`, nil)
	before := runtime.NumGoroutine()
	for range 20 {
		if _, err := post(t, transport, "https://"+l.Addr().String(), 20*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want the deadline", err)
		}
	}
	after := 0
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if after = runtime.NumGoroutine(); after <= before && accepted.Load() >= 10 {
			return
		}
	}
	t.Errorf("got %d goroutines after %d connections, want the %d of before, after 10 or more", after, accepted.Load(), before)
}

// TestTransportEnvironmentProxy runs in a process of its own, because net/http
// reads the environment once.
func TestTransportEnvironmentProxy(t *testing.T) {
	const variable = "CADDY_WEBHOOKS_TEST_TARGET"
	if target := os.Getenv(variable); target != "" {
		for _, load := range []func(*testing.T, string, *egress.Policy) (*http.Transport, error){loadTransport, loadBare} {
			transport, err := load(t, `{"protocol":"http"}`, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := post(t, transport, target, patience); !errors.Is(err, egress.ErrBlocked) {
				t.Errorf("got %v, want ErrBlocked", err)
			}
			if transport.Proxy != nil {
				if u, err := transport.Proxy(httptest.NewRequest(http.MethodPost, "http://public.example", nil)); u != nil || err != nil {
					t.Errorf("got proxy %v, %v, want none", u, err)
				}
			}
		}
		// The control: the environment does name the proxy.
		if u, err := http.ProxyFromEnvironment(httptest.NewRequest(http.MethodPost, "http://public.example", nil)); u == nil {
			t.Errorf("got no proxy from the environment, %v, want one", err)
		}
		return
	}
	var requests atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	defer proxy.Close()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTransportEnvironmentProxy$", "-test.v")
	child.Env = append(os.Environ(), variable+"=http://169.254.169.254/", "HTTP_PROXY="+proxy.URL, "HTTPS_PROXY="+proxy.URL, "NO_PROXY=")
	out, err := child.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestTransportEnvironmentProxy") {
		t.Errorf("got %v, want a pass:\n%s", err, out)
	}
	if got := requests.Load(); got != 0 {
		t.Errorf("got %d requests at the proxy, want none", got)
	}
}

// byProxy returns the configuration of a transport with the proxy, and with a
// name server that knows no name.
func byProxy(t *testing.T, addr string) string {
	t.Helper()
	return strings.TrimSuffix(serveDNS(t), "}") + `,"network_proxy":{"from":"url","url":"http://` + addr + `"}}`
}

// TestTransportProxy is about a proxy that the operator configured.
func TestTransportProxy(t *testing.T) {
	var connects atomic.Int64
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connects.Add(1)
			go func() {
				defer c.Close()
				r, err := http.ReadRequest(bufio.NewReader(c))
				switch {
				case err != nil:
				case r.Method == http.MethodConnect:
					_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
				default:
					_, _ = io.WriteString(c, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				}
			}()
		}
	}()
	raw := byProxy(t, l.Addr().String())
	transport := mustLoad(t, raw, nil)
	if status, err := post(t, transport, "http://known-to-proxy.invalid/", patience); status != 202 {
		t.Errorf("through the proxy: got %d, %v, want 202", status, err)
	}
	if _, err := post(t, transport, "https://known-to-proxy.invalid/", patience); !errors.Is(err, egress.ErrProxyRefused) {
		t.Errorf("refused by the proxy: got %v, want ErrProxyRefused", err)
	}
	before := connects.Load()
	if before != 2 {
		t.Errorf("got %d connections at the proxy, want 2", before)
	}
	for _, target := range []string{"http://169.254.169.254/", "https://[64:ff9b::7f00:1]/"} {
		if _, err := post(t, transport, target, patience); !errors.Is(err, egress.ErrBlocked) {
			t.Errorf("URL %s: got %v, want ErrBlocked", target, err)
		}
	}
	deny := &egress.Policy{Deny: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	if _, err := post(t, mustLoad(t, raw, deny), "http://known-to-proxy.invalid/", patience); !errors.Is(err, egress.ErrBlocked) {
		t.Errorf("denied proxy: got %v, want ErrBlocked", err)
	}
	if got := connects.Load(); got != before {
		t.Errorf("got %d more connections at the proxy, want none", got-before)
	}
}
