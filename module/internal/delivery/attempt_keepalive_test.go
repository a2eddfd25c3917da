package delivery

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/promptreports/caddy-webhooks/module/internal/egress"
)

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

// pair is about two attempts on one transport.
type pair struct {
	name   string
	handle func(*peer)

	// closes says that we close the connection after the first attempt. The
	// second one waits for it.
	closes bool

	codes        [2]string
	conns, wires int64
}

func (r *pair) check(t *testing.T, scheme string, config *tls.Config, configure func(*http.Transport) error) {
	t.Helper()
	h := serve(t, r.handle)
	var mu sync.Mutex
	var conns []*watched
	guard := &egress.Guard{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		w := &watched{Conn: c, closed: make(chan struct{})}
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, w)
		return w, nil
	}}
	transport := guarded(t, config)
	transport.DialContext = BoundReads(guard.DialContext, 64<<10)
	if err := configure(transport); err != nil {
		t.Fatal(err)
	}
	var codes [2]string
	for i := range codes {
		m := testMessage(t, scheme+"://"+h.addr, transport)
		if m.Endpoint.Timeout = patience; r.codes[i] == CodeTimeoutHeaders {
			m.Endpoint.Timeout = rowTimeout
		}
		codes[i] = Send(t.Context(), m).Attempt.Code
		if r.closes && i == 0 {
			select {
			case <-conns[0].closed:
			case <-time.After(patience):
				t.Error("got the connection kept, want it closed")
			}
		}
	}
	if codes != r.codes || h.conns.Load() != r.conns || h.requests.Load() != r.wires {
		t.Errorf("got %q, %d connections, %d requests, want %q, %d, %d", codes, h.conns.Load(), h.requests.Load(), r.codes, r.conns, r.wires)
	}
	if last := h.last.Load(); last != nil && (last.Header.Get("Cookie") != "" || last.Header.Get("Accept-Encoding") != "") {
		t.Errorf("got headers %q sent, want neither a cookie nor an encoding that is accepted", last.Header)
	}
}

func asIs(*http.Transport) error { return nil }

func TestKeepAlive(t *testing.T) { //nolint:tparallel // counts goroutines
	leaked := checkLeaks(t)
	twice := [2]string{"http_200", "http_200"}
	closed := func(name, response string) pair {
		return pair{name, answer(response), true, twice, 2, 2}
	}
	rows := []pair{
		{"kept", func(p *peer) {
			for p.request() && p.send("HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok") {
			}
		}, false, twice, 1, 2},
		{"closed while idle", answerAndClose(ok200), true, twice, 2, 2},
		{"closed after the second request", func(p *peer) {
			_ = p.request() && p.send(ok200) && p.request()
		}, false, [2]string{"http_200", CodeConnectionClosed}, 1, 2},
		{"reset after the second request", func(p *peer) {
			_ = p.request() && p.send(ok200) && p.request()
			p.reset()
		}, false, [2]string{"http_200", CodeConnectionReset}, 1, 2},
		{"hangs at the second request", func(p *peer) {
			_ = p.request() && p.send(ok200) && p.request()
			p.hang()
		}, false, [2]string{"http_200", CodeTimeoutHeaders}, 1, 2},
		{"hangs at the first request", func(p *peer) {
			if p.request() && p.n > 1 {
				p.send(ok200)
			}
			p.hang()
		}, true, [2]string{CodeTimeoutHeaders, "http_200"}, 2, 2},
		closed("answers twice at once", ok200+"HTTP/1.1 500 No\r\n\r\n"),
		closed("longer than its length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more"),
		closed("shorter than its chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n"),
		closed("longer than is read", "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n"+strings.Repeat("x", 1<<20)),
		closed("says that it closes", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
		{"answers again while idle", func(p *peer) {
			if p.request() && p.send(ok200) && p.n == 1 {
				p.send(ok200)
			}
			p.hang()
		}, true, twice, 2, 2},
		{"switches protocols", answer("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), true, [2]string{CodeProtocolError, CodeProtocolError}, 2, 2},
	}
	t.Run("rows", func(t *testing.T) {
		for _, r := range rows {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				r.check(t, "http", nil, asIs)
			})
		}
	})
	leaked()
}

func TestKeepAliveHTTP2(t *testing.T) { //nolint:tparallel // counts goroutines
	leaked := checkLeaks(t)
	ca := newAuthority(t)
	cert := ca.issue(t, nil)
	// first answers the first request of each connection; then decides about
	// the second one.
	first := func(then func(f framer, stream uint32)) func(*peer) {
		return overHTTP2(cert, nil, answering(func(f framer, stream uint32) {
			respond(f, stream, true, ":status", "200")
			if stream, ok := f.headers(); ok {
				then(f, stream)
			}
		}))
	}
	rows := []pair{
		{"kept", first(func(f framer, stream uint32) { respond(f, stream, true, ":status", "200") }), false, [2]string{"http_200", "http_200"}, 1, 2},
		{"GOAWAY while idle", overHTTP2(cert, nil, answering(func(f framer, stream uint32) {
			respond(f, stream, true, ":status", "200")
			if f.p.n == 1 {
				_ = f.WriteGoAway(stream, http2.ErrCodeNo, nil)
				_ = f.p.Close()
			}
		})), true, [2]string{"http_200", "http_200"}, 2, 2},
		{"GOAWAY without the second request", first(func(f framer, stream uint32) {
			_ = f.WriteGoAway(stream-2, http2.ErrCodeNo, nil)
		}), false, [2]string{"http_200", CodeH2GoAway}, 1, 2},
		{"REFUSED_STREAM of the second request", first(func(f framer, stream uint32) {
			_ = f.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
		}), false, [2]string{"http_200", CodeH2StreamError}, 1, 2},
		{"closed after the second request", first(func(f framer, _ uint32) { _ = f.p.Close() }), false, [2]string{"http_200", CodeConnectionClosed}, 1, 2},
		{"frame of an idle stream while idle", overHTTP2(cert, nil, answering(func(f framer, stream uint32) {
			respond(f, stream, true, ":status", "200")
			if f.p.n == 1 {
				_ = f.WriteData(stream+2, true, []byte("canary"))
			}
		})), true, [2]string{"http_200", "http_200"}, 2, 2},
	}
	t.Run("rows", func(t *testing.T) {
		for _, r := range rows {
			for name, configure := range map[string]func(*http.Transport) error{"": asIs, " as in Caddy": http2.ConfigureTransport} {
				t.Run(r.name+name, func(t *testing.T) {
					t.Parallel()
					r.check(t, "https", &tls.Config{RootCAs: ca.pool}, configure)
				})
			}
		}
	})
	leaked()
}
