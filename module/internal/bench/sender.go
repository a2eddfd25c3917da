package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// answerTimeout bounds one request; the sidecar answers within milliseconds.
const answerTimeout = 30 * time.Second

// sender posts events over one connection.
type sender struct {
	conn    net.Conn
	r       *bufio.Reader
	l       *ledger
	want    int    // status of an accepted event
	request []byte // head and body; the id is overwritten each time
	id      []byte // the sequence number's place in request
	body    []byte
}

func newSender(ctx context.Context, addr string, want int, l *ledger) (*sender, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &sender{conn: conn, r: bufio.NewReaderSize(conn, 4096), l: l, want: want}
	s.request = fmt.Appendf(nil, "POST /0 HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", addr, eventSize)
	at := len(s.request) + len(idPrefix) + runDigits
	s.request = appendEvent(s.request, l.run, 0)
	s.id = s.request[at : at+seqDigits]
	return s, nil
}

// post sends the event with a sequence number and reads the answer.
func (s *sender) post(seq int) error {
	putDigits(s.id, seq)
	if err := s.conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	s.l.sent[seq] = s.l.now()
	if _, err := s.conn.Write(s.request); err != nil {
		return fmt.Errorf("posting an event: %w", err)
	}
	m, err := readHead(s.r)
	if err == nil {
		s.body, err = readBody(s.r, m, s.body)
	}
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if m.status != s.want {
		return fmt.Errorf("got status %d, want %d: %s", m.status, s.want, s.body)
	}
	s.l.answered[seq] = s.l.now()
	return nil
}

// load says how events are sent.
type load struct {
	senders  int
	duration time.Duration
	rate     int // events a second, or 0 for closed loop
}

// capacity is more events than the load can send.
func (ld load) capacity() int {
	perSecond := 60_000
	if ld.rate > 0 {
		perSecond = ld.rate + ld.rate/10
	}
	return int(float64(perSecond)*ld.duration.Seconds()) + ld.senders + 1
}

// send runs the load and returns when every sender has its last answer.
func (ld load) send(ctx context.Context, addr string, want int, l *ledger) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var ticks chan struct{}
	if ld.rate > 0 {
		ticks = make(chan struct{}) // unbuffered: a late sender shows as errBehind
	}
	var wg sync.WaitGroup
	for range ld.senders {
		s, err := newSender(ctx, addr, want, l)
		if err != nil {
			cancel(err)
			break
		}
		wg.Go(func() {
			defer s.conn.Close()
			if err := s.loop(ctx, ld.duration, ticks); err != nil {
				cancel(err)
			}
		})
	}
	if ld.rate > 0 {
		if err := ld.tick(ctx, ticks); err != nil {
			cancel(err)
		}
		close(ticks)
	}
	wg.Wait()
	return context.Cause(ctx)
}

// loop posts events until the time is up or, at open loop, the ticks end.
func (s *sender) loop(ctx context.Context, d time.Duration, ticks <-chan struct{}) error {
	deadline := time.Now().Add(d)
	for ctx.Err() == nil {
		if ticks != nil {
			if _, ok := <-ticks; !ok {
				return nil
			}
		} else if !time.Now().Before(deadline) {
			return nil
		}
		seq, ok := s.l.take()
		if !ok {
			return errors.New("the ledger is full: the subject is faster than this command allows for")
		}
		if err := s.post(seq); err != nil {
			return err
		}
	}
	return nil
}

// errBehind would make an open loop a closed one.
var errBehind = errors.New("all senders are waiting: the subject cannot keep up with the rate")

// tick hands out the events of an open loop at their times. A subject that
// lets all senders wait for a second is too slow for the rate, and waiting
// longer would hide its latency.
func (ld load) tick(ctx context.Context, ticks chan<- struct{}) error {
	start, interval := time.Now(), time.Second/time.Duration(ld.rate)
	for n := 0; ; n++ {
		at := start.Add(time.Duration(n) * interval)
		if at.Sub(start) >= ld.duration {
			return nil
		}
		wait := time.NewTimer(time.Until(at))
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil
		case <-wait.C:
		}
		late := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			late.Stop()
			return nil
		case ticks <- struct{}{}:
			late.Stop()
		case <-late.C:
			return errBehind
		}
	}
}
