package module

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/logging"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	zapobserver "go.uber.org/zap/zaptest/observer"
)

func TestListenerAccepts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		listen, target string
		want           bool
	}{
		{"127.0.0.1:9000", "127.0.0.1:9000", true},
		{"127.0.0.1:9000", "127.0.0.1:9001", false},
		{"127.0.0.1:9000", "127.0.0.2:9000", false},
		{"127.0.0.1:9000", "[::1]:9000", false},
		{"[::ffff:127.0.0.1]:9000", "127.0.0.1:9000", true},
		{"[::1]:9000", "[::1]:9000", true},
		{"localhost:9000", "127.0.0.1:9000", true},
		{"localhost:9000", "[::1]:9000", true},
		{"localhost:9000", "192.0.2.1:9000", false},
		{":9000", "127.0.0.1:9000", true},
		{":9000", "127.9.9.9:9000", true},
		{":9000", "[::1]:9000", true},
		{":9000", "192.0.2.1:9000", false}, // no address of this machine
		{"0.0.0.0:9000", "127.0.0.1:9000", true},
		{"[::]:9000", "127.0.0.1:9000", true},
		{"tcp4/:9000", "127.0.0.1:9000", true},
		{"tcp6/[::1]:9000", "[::1]:9000", true},
		{"127.0.0.1:9000-9002", "127.0.0.1:9002", true},
		{"127.0.0.1:9000-9002", "127.0.0.1:9003", false},
		{"host.example:9000", "127.0.0.1:9000", true}, // it may be any of this machine
		{"host.example:9000", "192.0.2.1:9000", false},
		{"udp/127.0.0.1:9000", "127.0.0.1:9000", false},
		{"unix//run/caddy.sock", "127.0.0.1:9000", false},
		{"fd/3", "127.0.0.1:9000", false},
	} {
		addr, err := caddy.ParseNetworkAddress(test.listen)
		if err != nil {
			t.Fatal(err)
		}
		if got := accepts(addr, netip.MustParseAddrPort(test.target)); got != test.want {
			t.Errorf("listener %s and target %s: got %t, want %t", test.listen, test.target, got, test.want)
		}
	}
}

// A listener on all interfaces is one on the addresses of each of them.
func TestListenerAcceptsOnInterfaces(t *testing.T) {
	t.Parallel()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		ip, _ := netip.AddrFromSlice(a.(*net.IPNet).IP)
		if !accepts(caddy.NetworkAddress{Network: "tcp", StartPort: 80, EndPort: 80}, netip.AddrPortFrom(ip.Unmap(), 80)) {
			t.Errorf("address %s: got none of ours, want it found", ip)
		}
	}
}

// An endpoint that leads to an own listener is told of once.
func TestOwnListenerIsToldOnce(t *testing.T) {
	t.Parallel()
	core, logs := zapobserver.New(zapcore.WarnLevel)
	a := &App{logger: zap.New(core)}
	a.ingests.set(caddy.NetworkAddress{Network: "tcp", Host: "127.0.0.1", StartPort: 9000, EndPort: 9000})
	for range 3 {
		if !a.refusesOwn(netip.MustParseAddrPort("127.0.0.1:9000")) {
			t.Error("got the own listener admitted, want it refused")
		}
	}
	if a.refusesOwn(netip.MustParseAddrPort("127.0.0.1:9001")) {
		t.Error("got another port refused, want it admitted")
	}
	if got := logs.Len(); got != 1 {
		t.Errorf("got %d lines, want 1", got)
	}
}

// The address of an admin endpoint that is gone is any program's.
func TestAdminListensNoMore(t *testing.T) {
	h := newHarness(t)
	addr, err := caddy.ParseNetworkAddress(h.addr)
	if err != nil {
		t.Fatal(err)
	}
	adminListeners.set(addr)
	defer adminListeners.set()
	a, target := &App{logger: zap.NewNop()}, netip.MustParseAddrPort(h.addr)
	if a.refusesOwn(target) {
		t.Error("before the admin endpoint listens: got its address refused, want it admitted")
	}
	l, err := addr.Listen(t.Context(), 0, net.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if !a.refusesOwn(target) {
		t.Error("while it listens: got its address admitted, want it refused")
	}
	if err := l.(net.Listener).Close(); err != nil {
		t.Fatal(err)
	}
	if a.refusesOwn(target) {
		t.Error("after it listened: got its address refused, want it admitted")
	}
}

// sendTest makes an attempt at the endpoint, and returns its code.
func sendTest(t *testing.T, admin *http.Client, at, endpoint string) string {
	t.Helper()
	resp, body := insist(t, func() (*http.Response, error) {
		return admin.Post(at+"/webhooks/endpoints/"+endpoint+"/test", "application/json", nil)
	})
	var delivery struct {
		Code     string
		Attempts []struct {
			RemoteAddr string `json:"remote_addr"`
		}
	}
	if err := json.Unmarshal([]byte(body), &delivery); err != nil || len(delivery.Attempts) != 1 {
		t.Fatalf("testing the endpoint %s: got %d %s, want a delivery with one attempt", endpoint, resp.StatusCode, body)
	}
	if got := delivery.Attempts[0].RemoteAddr; delivery.Code == "blocked" && got != "" {
		t.Errorf("endpoint %s: got the address %s of a blocked attempt, want none", endpoint, got)
	}
	return delivery.Code
}

// Deliveries never go to the admin endpoint, nor to a server that accepts
// events, whatever is allowed; but to any other server.
func TestDeliveriesNeverReachOwnListeners(t *testing.T) {
	h := newHarness(t)
	newFake(t, "own")
	rc := newReceiver(t)
	adminAddr, everywhere, sibling := freeAddr(t), freeAddr(t), freeAddr(t)
	_, port, _ := net.SplitHostPort(everywhere)
	want := map[string]string{
		"ingest":     "blocked http://" + h.addr + "/events",
		"localhost":  "blocked http://localhost:" + port + "/events",
		"everywhere": "blocked http://127.0.0.1:" + port + "/events",
		"anywhere":   "blocked http://127.8.9.10:" + port + "/events",
		"v6":         "blocked http://[::1]:" + port + "/events",
		"stop":       "blocked http://" + adminAddr + "/stop",
		"load":       "blocked http://" + adminAddr + "/load",
		"sibling":    "http_204 http://" + sibling + "/hook",
		"other":      "http_200 " + rc.URL + "/hook",
	}
	endpoints := object{}
	for name, text := range want {
		_, url, _ := strings.Cut(text, " ")
		endpoints[name] = object{"url": url, "retry": object{"max_attempts": 1}}
	}
	config := h.config(object{
		"outbox": object{"engine": "fake", "name": "own"}, "endpoints": endpoints,
		"egress": object{"allow": []string{"127.0.0.0/8", "::1/128"}},
	})
	config["admin"] = object{"listen": adminAddr, "config": object{"persist": false}}
	log := filepath.Join(h.dir, "caddy.log")
	config["logging"] = object{"logs": object{"default": object{"writer": object{"output": "file", "filename": log}}}}
	servers := config["apps"].(object)["http"].(object)["servers"].(object)
	nested := h.server(object{"handler": "subroute", "routes": []object{{"handle": []object{{"handler": "webhooks"}}}}})
	nested["listen"] = []string{":" + port}
	servers["nested"] = nested
	plain := h.server(object{"handler": "static_response", "status_code": 204})
	plain["listen"] = []string{sibling}
	servers["plain"] = plain
	h.mustLoad(config)

	admin := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for name, text := range want {
		code, url, _ := strings.Cut(text, " ")
		if got := sendTest(t, admin, "http://"+adminAddr, name); got != code {
			t.Errorf("endpoint %s at %s: got %s, want %s", name, url, got, code)
		}
	}
	if status, body := h.post(eventJSON("once")); status != 202 {
		t.Fatalf("got %d %s, want 202", status, body)
	}
	h.awaitIdle()
	resp, err := admin.Get("http://" + adminAddr + "/webhooks/deliveries?event_id=once")
	if err != nil {
		t.Fatal(err)
	}
	if _, body := readAnswer(t, resp); strings.Count(body, `"event_id"`) != len(want) || strings.Count(body, `"blocked"`) != 7 {
		t.Errorf("got deliveries %s, want one for each endpoint, 7 of them blocked", body)
	}
	lines, err := os.ReadFile(log)
	if err != nil || strings.Count(string(lines), "deliveries never go there") != 1 {
		t.Errorf("got the log %s, %v, want one line about endpoints that lead here", lines, err)
	}
}

// What is an own listener, a reload changes: an address that was one is a
// receiver's afterwards, and the other way round.
func TestOwnListenersFollowReloads(t *testing.T) {
	h := newHarness(t)
	newFake(t, "moving")
	admin := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	firstAdmin, nextAdmin, firstIngest, nextIngest := freeAddr(t), freeAddr(t), h.addr, freeAddr(t)
	load := func(adminAddr, ingest string) {
		t.Helper()
		h.addr = ingest
		config := h.config(object{
			"outbox": object{"engine": "fake", "name": "moving"},
			"endpoints": object{
				"first_admin": object{"url": "http://" + firstAdmin}, "next_admin": object{"url": "http://" + nextAdmin},
				"first_ingest": object{"url": "http://" + firstIngest}, "next_ingest": object{"url": "http://" + nextIngest},
			},
		})
		config["admin"] = object{"listen": adminAddr, "config": object{"persist": false}}
		h.mustLoad(config)
	}
	expect := func(adminAddr string, want map[string]string) {
		t.Helper()
		for endpoint, code := range want {
			if got := sendTest(t, admin, "http://"+adminAddr, endpoint); got != code {
				t.Errorf("endpoint %s: got %s, want %s", endpoint, got, code)
			}
		}
	}
	load(firstAdmin, firstIngest)
	expect(firstAdmin, map[string]string{
		"first_admin": "blocked", "first_ingest": "blocked",
		"next_admin": "connection_refused", "next_ingest": "connection_refused",
	})
	load(nextAdmin, nextIngest)
	for _, addr := range []string{firstAdmin, firstIngest} {
		receiveAt(t, addr)
	}
	expect(nextAdmin, map[string]string{
		"first_admin": "http_200", "first_ingest": "http_200",
		"next_admin": "blocked", "next_ingest": "blocked",
	})
}

// receiveAt makes a receiver on an address as soon as Caddy has left it.
func receiveAt(t *testing.T, addr string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		l, err := net.Listen("tcp", addr)
		if err == nil {
			server := &httptest.Server{Listener: l, Config: &http.Server{
				Handler:           http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
				ReadHeaderTimeout: 10 * time.Second,
			}}
			server.Start()
			t.Cleanup(server.Close)
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("listening where Caddy did: %v", err)
		}
	}
}

// provisioned returns the context of a configuration with the admin endpoint.
func provisioned(t *testing.T, admin *caddy.AdminConfig) caddy.Context {
	t.Helper()
	ctx, err := caddy.ProvisionContext(&caddy.Config{Admin: admin})
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

func TestOpenAdminIsWarnedOf(t *testing.T) {
	t.Setenv("CADDY_WEBHOOKS_TEST_ADMIN", "[::]:2019")
	for _, test := range []struct {
		name  string
		admin *caddy.AdminConfig
		want  int
	}{
		{"not configured", nil, 0},
		{"default", &caddy.AdminConfig{}, 0},
		{"loopback", &caddy.AdminConfig{Listen: "127.0.0.1:2019"}, 0},
		{"one interface", &caddy.AdminConfig{Listen: "192.0.2.1:2019"}, 0},
		{"Unix socket", &caddy.AdminConfig{Listen: "unix//run/caddy/admin.sock"}, 0},
		{"file descriptor", &caddy.AdminConfig{Listen: "fd/3"}, 0},
		{"disabled", &caddy.AdminConfig{Listen: ":2019", Disabled: true}, 0},
		{"no host", &caddy.AdminConfig{Listen: ":2019"}, 1},
		{"all of IPv4", &caddy.AdminConfig{Listen: "0.0.0.0:2019"}, 1},
		{"all of IPv6", &caddy.AdminConfig{Listen: "tcp6/[::]:2019"}, 1},
		{"placeholder", &caddy.AdminConfig{Listen: "{env.CADDY_WEBHOOKS_TEST_ADMIN}"}, 1},
	} {
		core, logs := zapobserver.New(zapcore.WarnLevel)
		warnOpenAdmin(provisioned(t, test.admin), zap.New(core))
		if got := logs.Len(); got != test.want {
			t.Errorf("%s: got %d warnings, want %d", test.name, got, test.want)
		}
	}
}

// The warning comes whenever a configuration is validated or loaded.
func TestValidateWarnsOfOpenAdmin(t *testing.T) {
	log := filepath.Join(t.TempDir(), "caddy.log")
	var config caddy.Config
	if err := json.Unmarshal(encode(t, object{
		"admin":   object{"listen": "0.0.0.0:2019"},
		"logging": object{"logs": object{"default": object{"writer": object{"output": "file", "filename": log}}}},
		"apps":    object{"webhooks": object{}},
	}), &config); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&config); err != nil {
		t.Fatal(err)
	}
	if lines, err := os.ReadFile(log); err != nil || strings.Count(string(lines), "admin endpoint listens on all interfaces") != 1 {
		t.Errorf("got the log %s, %v, want one warning of the admin endpoint", lines, err)
	}
}

func TestAdminAddresses(t *testing.T) {
	for _, test := range []struct {
		admin *caddy.AdminConfig
		want  []string
	}{
		{nil, []string{"localhost:2019"}},
		{&caddy.AdminConfig{Disabled: true}, nil},
		{&caddy.AdminConfig{Listen: "127.0.0.1:1"}, []string{"127.0.0.1:1"}},
		{&caddy.AdminConfig{Remote: &caddy.RemoteAdmin{}}, []string{"localhost:2019", ":2021"}},
		{&caddy.AdminConfig{Disabled: true, Remote: &caddy.RemoteAdmin{Listen: "192.0.2.1:7"}}, []string{"192.0.2.1:7"}},
	} {
		var got []string
		for _, a := range adminAddresses(provisioned(t, test.admin)) {
			got = append(got, a.String())
		}
		if strings.Join(got, " ") != strings.Join(test.want, " ") {
			t.Errorf("admin endpoint %+v: got addresses %q, want %q", test.admin, got, test.want)
		}
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	if got := adminAddresses(ctx); got != nil {
		t.Errorf("context without a configuration: got addresses %v, want none", got)
	}
}
