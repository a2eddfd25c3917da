package delivery

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/module/internal/egress"
)

const ok200 = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestBadHTTP1Receivers(t *testing.T) { //nolint:tparallel // counts goroutines
	leaked := checkGoroutines(t)
	failed := func(name, code string, handle func(*peer)) row {
		return row{name: name, handle: handle, verdict: VerdictRetry, code: code, wire: 1}
	}
	success := func(name string, handle func(*peer), kept string) row {
		return row{name: name, handle: handle, verdict: VerdictSuccess, code: "http_200", status: 200, wire: 1, kept: kept}
	}
	incomplete := func(name string, handle func(*peer), kept string) row {
		r := success(name, handle, kept)
		r.incomplete = true
		return r
	}
	rows := []row{
		failed("never answers", CodeTimeoutHeaders, answer("")),
		{name: "never reads", handle: func(p *peer) { time.Sleep(2 * rowTimeout) }, bytes: 16 << 20, verdict: VerdictRetry, code: CodeTimeoutWrite},
		failed("drips its head", CodeTimeoutHeaders, func(p *peer) { _ = p.request() && p.send("HTTP/1.1 200 OK\r\nX: "); p.drip("x", 10*time.Millisecond) }),
		incomplete("hangs in the body", answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), "abc"),
		incomplete("drips the body", func(p *peer) {
			_ = p.request() && p.send("HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
			p.drip("x", 10*time.Millisecond)
		}, ""),
		{
			name: "infinite body", verdict: VerdictSuccess, code: "http_200", status: 200, wire: 1, truncated: true,
			kept: strings.Repeat("x", bodyKept), timeout: 5 * time.Second,
			handle: func(p *peer) {
				for ok := p.request() && p.send("HTTP/1.1 200 OK\r\n\r\n"); ok; ok = p.send(strings.Repeat("x", 4096)) {
				}
			},
		},
		failed("1 MiB header", CodeResponseHeaderTooLarge, answer("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<20)+"\r\n\r\n")),
		failed("100000 headers", CodeResponseHeaderTooLarge, answer("HTTP/1.1 200 OK\r\n"+strings.Repeat("A: b\r\n", 100000)+"\r\n")),
		failed("103 flood", CodeResponseHeaderTooLarge, answer(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n", 100000))),
		success("103 and then 200", answer(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 6)+ok200), "ok"),
		{
			name: "switches protocols", verdict: VerdictRetry, code: CodeProtocolError, status: 101, wire: 1,
			handle: answer("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
		},
		success("gzip", answer("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"), "\x1f\x8b\x08\x00"),
		failed("short status", CodeProtocolError, answer("HTTP/1.1 20 OK\r\n\r\n")),
		failed("long status", CodeProtocolError, answer("HTTP/1.1 2000 OK\r\n\r\n")),
		failed("HTTP/0.9", CodeProtocolError, answer("<html>hello</html>\r\n\r\n")),
		failed("closes without an answer", CodeConnectionClosed, answerAndClose("")),
		failed("resets without an answer", CodeConnectionReset, answerAndReset("")),
		failed("closes its side", CodeConnectionClosed, func(p *peer) { _ = p.request() && p.Conn.(*net.TCPConn).CloseWrite() == nil; p.hang() }),
		incomplete("resets in the body", answerAndReset("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), ""),
		incomplete("closes in the body", answerAndClose("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), "abc"),
		incomplete("bad chunk", answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n"), "abc"),
		success("longer than its length", answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 No\r\n\r\n"), "ok"),
		failed("negative length", CodeProtocolError, answer("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n")),
		failed("two lengths", CodeProtocolError, answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")),
		failed("unknown transfer encoding", CodeProtocolError, answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: rot13\r\n\r\n")),
		failed("header without a colon", CodeProtocolError, answer("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n")),
		failed("NUL in a header", CodeProtocolError, answer("HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n")),
		success("bare line feeds", answer("HTTP/1.1 200 OK\nContent-Length: 2\n\nok"), "ok"),
		success("HTTP/1.0", answerAndClose("HTTP/1.0 200 OK\r\n\r\nok"), "ok"),
		success("cookie", answer("HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok"), "ok"),
		{
			name: "413 before the body was read", verdict: VerdictPermanent, code: "http_413", status: 413, bytes: 8 << 20,
			handle: func(p *peer) {
				_, _ = p.br.Peek(1)
				p.send("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				p.hang()
			},
		},
	}
	for status, verdict := range map[int]string{
		200: VerdictSuccess, 201: VerdictSuccess, 202: VerdictSuccess, 206: VerdictSuccess, 299: VerdictSuccess,
		301: VerdictRetry, 302: VerdictRetry, 303: VerdictRetry, 307: VerdictRetry, 308: VerdictRetry,
		400: VerdictPermanent, 401: VerdictPermanent, 404: VerdictPermanent, 409: VerdictPermanent, 422: VerdictPermanent, 451: VerdictPermanent,
		408: VerdictRetry, 410: VerdictPermanent, 425: VerdictRetry, 429: VerdictRetry,
		500: VerdictRetry, 502: VerdictRetry, 503: VerdictRetry, 599: VerdictRetry, 600: VerdictRetry, 999: VerdictRetry,
	} {
		rows = append(rows, row{
			name: fmt.Sprint("status ", status), verdict: verdict, code: statusCode(status), status: status, wire: 1,
			handle: answer(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: 0\r\nLocation: /elsewhere\r\n\r\n", status)),
		})
	}
	t.Run("rows", func(t *testing.T) {
		for _, r := range rows {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				r.check(t, "http", guarded(t, nil))
			})
		}
	})
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	leaked()
}

// TestRedirect holds that no redirect reaches its target.
func TestRedirect(t *testing.T) {
	t.Parallel()
	target := serve(t, answer(ok200))
	for _, status := range []int{301, 302, 303, 307, 308} {
		r := row{
			verdict: VerdictRetry, code: CodeRedirectRefused, status: status, wire: 1,
			handle: answer(fmt.Sprintf("HTTP/1.1 %d X\r\nLocation: http://%s/\r\nContent-Length: 0\r\n\r\n", status, target.addr)),
		}
		r.check(t, "http", guarded(t, nil))
	}
	if got := target.conns.Load(); got != 0 {
		t.Errorf("got %d connections at the target, want none", got)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	a := Send(t.Context(), testMessage(t, "http://"+l.Addr().String(), guarded(t, nil))).Attempt
	if a.Verdict != VerdictRetry || a.Code != CodeConnectionRefused || a.Phases.Connect == 0 {
		t.Errorf("got %s %s with phases %+v, want a refused connection", a.Verdict, a.Code, a.Phases)
	}
}

func TestBlocked(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"http://169.254.169.254/", "http://0.0.0.0:1/", "http://[64:ff9b::7f00:1]/"} {
		a := Send(t.Context(), testMessage(t, target, guarded(t, nil))).Attempt
		if a.Verdict != VerdictRetry || a.Code != CodeBlocked || a.RemoteAddr != "" {
			t.Errorf("URL %s: got %s %s at %q, want it blocked", target, a.Verdict, a.Code, a.RemoteAddr)
		}
	}
}

// watched tells when a connection was closed.
type watched struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *watched) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// keptAlive makes attempts on one transport, and waits between them as long as
// until says.
func keptAlive(t *testing.T, handle func(*peer), waitForClose bool) (*hostile, []string) {
	t.Helper()
	h := serve(t, handle)
	var mu sync.Mutex
	var conns []*watched
	guard := &egress.Guard{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		w := &watched{Conn: c, closed: make(chan struct{})}
		mu.Lock()
		conns = append(conns, w)
		mu.Unlock()
		return w, nil
	}}
	transport := &http.Transport{DialContext: guard.DialContext}
	defer transport.CloseIdleConnections()
	var codes []string
	for range 2 {
		codes = append(codes, Send(t.Context(), testMessage(t, "http://"+h.addr, transport)).Attempt.Code)
		if waitForClose && len(codes) == 1 {
			<-conns[0].closed
		}
	}
	return h, codes
}

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		handle       func(*peer)
		closes       bool
		codes        [2]string
		conns, wires int64
	}{
		{"kept", func(p *peer) {
			for p.request() && p.send(ok200) {
			}
		}, false, [2]string{"http_200", "http_200"}, 1, 2},
		{"closed while idle", answerAndClose(ok200), true, [2]string{"http_200", "http_200"}, 2, 2},
		{"closed after the second request", func(p *peer) {
			_ = p.request() && p.send(ok200) && p.request()
		}, false, [2]string{"http_200", CodeConnectionClosed}, 1, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h, codes := keptAlive(t, test.handle, test.closes)
			if [2]string(codes) != test.codes || h.conns.Load() != test.conns || h.requests.Load() != test.wires {
				t.Errorf("got %q, %d connections, %d requests, want %q, %d, %d", codes, h.conns.Load(), h.requests.Load(), test.codes, test.conns, test.wires)
			}
		})
	}
}
