package delivery

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/module/internal/egress"
)

// hostile is a receiver made of raw connections.
type hostile struct {
	addr string

	// requests counts what was read of requests as far as their first line.
	requests, conns atomic.Int64
}

// peer is one connection of a hostile receiver.
type peer struct {
	net.Conn
	br *bufio.Reader
	n  int64 // counts the receiver's connections from 1
	h  *hostile
}

// serve starts a receiver that hands each connection to handle and closes it
// afterwards. It ends with the test, and waits for the handlers.
func serve(t *testing.T, handle func(*peer)) *hostile {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hostile{addr: l.Addr().String()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n := h.conns.Add(1)
			mu.Lock()
			open[c] = true
			mu.Unlock()
			wg.Go(func() {
				defer func() {
					_ = c.Close()
					mu.Lock()
					delete(open, c)
					mu.Unlock()
				}()
				handle(&peer{Conn: c, br: bufio.NewReader(c), n: n, h: h})
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return h
}

// request reads a whole request.
func (p *peer) request() bool {
	r, err := http.ReadRequest(p.br)
	if err != nil {
		return false
	}
	p.h.requests.Add(1)
	_, err = io.Copy(io.Discard, r.Body)
	return err == nil
}

func (p *peer) send(s string) bool {
	_, err := io.WriteString(p.Conn, s)
	return err == nil
}

// hang waits until the other side goes away.
func (p *peer) hang() { _, _ = io.Copy(io.Discard, p.br) }

// reset makes Close send a RST.
func (p *peer) reset() {
	if c, ok := p.Conn.(*net.TCPConn); ok {
		_ = c.SetLinger(0)
	}
}

// drip sends slowly, and for ever, until the other side goes away.
func (p *peer) drip(s string, every time.Duration) {
	go p.hangThenClose()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := 0; ; i++ {
		<-tick.C
		if !p.send(s[i%len(s) : i%len(s)+1]) {
			return
		}
	}
}

func (p *peer) hangThenClose() {
	p.hang()
	_ = p.Conn.Close()
}

// answer reads a request, sends s, and waits.
func answer(s string) func(*peer) {
	return func(p *peer) {
		if p.request() && p.send(s) {
			p.hang()
		}
	}
}

// answerAndClose reads a request, sends s, and closes.
func answerAndClose(s string) func(*peer) {
	return func(p *peer) {
		if p.request() {
			p.send(s)
		}
	}
}

// answerAndReset reads a request, sends s, and resets.
func answerAndReset(s string) func(*peer) {
	return func(p *peer) {
		if p.request() && p.send(s) {
			if s != "" {
				// Only what has arrived survives a reset.
				time.Sleep(20 * time.Millisecond)
			}
			p.reset()
		}
	}
}

// guarded is a transport as the module makes it, with short times.
func guarded(t *testing.T, config *tls.Config) *http.Transport {
	t.Helper()
	guard := &egress.Guard{Dial: (&net.Dialer{}).DialContext}
	transport := &http.Transport{
		DialContext: guard.DialContext, TLSClientConfig: config, TLSHandshakeTimeout: 2 * time.Second,
		MaxResponseHeaderBytes: 64 << 10, DisableCompression: true, ForceAttemptHTTP2: true,
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
	verdict string
	code    string
	status  int
	wire    int64 // requests that the receiver must have seen
	kept    string

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
)

// check makes the attempt and compares.
func (r *row) check(t *testing.T, scheme string, transport http.RoundTripper) {
	t.Helper()
	h := serve(t, r.handle)
	m := testMessage(t, scheme+"://"+h.addr+"/hooks", transport)
	switch {
	case r.timeout > 0:
		m.Endpoint.Timeout = r.timeout
	case r.incomplete, r.code == CodeTimeoutWrite, r.code == CodeTimeoutHeaders:
		m.Endpoint.Timeout = rowTimeout
	default:
		m.Endpoint.Timeout = patience
	}
	if r.bytes > 0 {
		m.Body = make([]byte, r.bytes)
	}
	a := Send(t.Context(), m).Attempt
	for range r.again {
		if a.Code == r.code {
			break
		}
		if a.Code != CodeConnectionClosed {
			t.Errorf("got %s, want %s or %s", a.Code, r.code, CodeConnectionClosed)
		}
		a = Send(t.Context(), m).Attempt
	}
	if a.Verdict != r.verdict || a.Code != r.code || a.StatusCode != r.status {
		t.Errorf("got %s %s %d, want %s %s %d", a.Verdict, a.Code, a.StatusCode, r.verdict, r.code, r.status)
	}
	if a.BodyIncomplete != r.incomplete || a.BodyTruncated != r.truncated {
		t.Errorf("got body incomplete %t, truncated %t, want %t, %t", a.BodyIncomplete, a.BodyTruncated, r.incomplete, r.truncated)
	}
	if r.kept != "" && string(a.Body) != r.kept {
		t.Errorf("got body %q, want %q", a.Body, r.kept)
	}
	if limit := m.Endpoint.Timeout + 500*time.Millisecond; a.Duration > limit {
		t.Errorf("got %s, want at most %s", a.Duration, limit)
	}
	if got := h.requests.Load(); got != r.wire {
		t.Errorf("got %d requests on the wire, want %d", got, r.wire)
	}
	if a.RemoteAddr != h.addr && r.code != CodeConnectionRefused {
		t.Errorf("got remote address %q, want %q", a.RemoteAddr, h.addr)
	}
}

// checkGoroutines returns a function that holds that no goroutine was left
// since. The test that uses it must not be parallel itself.
func checkGoroutines(t *testing.T) func() {
	t.Helper()
	before := runtime.NumGoroutine()
	return func() {
		t.Helper()
		var after int
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if after = runtime.NumGoroutine(); after <= before {
				return
			}
		}
		stacks := make([]byte, 1<<16)
		t.Errorf("got %d goroutines, want the %d of before\n%s", after, before, stacks[:runtime.Stack(stacks, true)])
	}
}
