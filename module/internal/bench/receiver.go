package main

import (
	"bufio"
	"net"
	"sync"
	"sync/atomic"
)

// receiver answers 200 to every event and notes it in the ledger of the run.
// To endpoint 1 it answers 503 every so often, if told to, and notes nothing.
type receiver struct {
	ln     net.Listener
	ledger atomic.Pointer[ledger]
	broken atomic.Int64 // requests that were no event

	failEvery atomic.Int64 // requests to endpoint 1 of which one fails; 0: none
	requests  atomic.Int64 // to endpoint 1, while some fail

	mu     sync.Mutex
	conns  map[net.Conn]struct{} // nil once closed
	serves sync.WaitGroup
}

// listen starts a receiver on a free port of the loopback interface.
func listen() (*receiver, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	rc := &receiver{ln: ln, conns: make(map[net.Conn]struct{})}
	rc.serves.Go(rc.accept)
	return rc, nil
}

func (rc *receiver) addr() string { return rc.ln.Addr().String() }

func (rc *receiver) accept() {
	for {
		conn, err := rc.ln.Accept()
		if err != nil {
			return
		}
		rc.mu.Lock()
		if rc.conns == nil {
			rc.mu.Unlock()
			conn.Close()
			return
		}
		rc.conns[conn] = struct{}{}
		rc.serves.Go(func() { rc.serve(conn) })
		rc.mu.Unlock()
	}
}

func (rc *receiver) serve(conn net.Conn) {
	defer func() {
		conn.Close()
		rc.mu.Lock()
		delete(rc.conns, conn)
		rc.mu.Unlock()
	}()
	r := bufio.NewReaderSize(conn, 4096)
	ok := []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	failed := []byte("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
	var body []byte
	for {
		m, err := readHead(r)
		if err != nil {
			return
		}
		if body, err = readBody(r, m, body); err != nil {
			return
		}
		run, seq, isEvent := parseEvent(body)
		l := rc.ledger.Load()
		answer := ok
		switch every := rc.failEvery.Load(); {
		case !isEvent || l == nil:
			rc.broken.Add(1)
		case every > 0 && m.endpoint == 1 && rc.requests.Add(1)%every == 0:
			answer = failed
		default:
			l.arrive(run, seq, m.endpoint)
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

// close ends the receiver and its connections.
func (rc *receiver) close() {
	rc.ln.Close()
	rc.mu.Lock()
	for conn := range rc.conns {
		conn.Close()
	}
	rc.conns = nil
	rc.mu.Unlock()
	rc.serves.Wait()
}
