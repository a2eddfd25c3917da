package delivery

import (
	"bufio"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestMain keeps out of the output what net/http logs about receivers.
func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	m.Run()
}

// hostile is a receiver made of raw connections.
type hostile struct {
	addr string

	// requests counts what was read of requests as far as their first line.
	requests, conns atomic.Int64

	// last is the head of the last request that was read.
	last atomic.Pointer[http.Request]

	// over is closed when the test is.
	over chan struct{}
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
	h := &hostile{addr: l.Addr().String(), over: make(chan struct{})}
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
		close(h.over)
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
	p.h.last.Store(r)
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
			p.reset()
		}
	}
}
