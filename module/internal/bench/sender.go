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
	shard   []byte // the shard's
	note    []byte // the note's
	body    []byte

	dial   func() (net.Conn, error)
	insist bool // post again what was not accepted
}

func newSender(ctx context.Context, addr string, want int, l *ledger) (*sender, error) {
	s := &sender{l: l, want: want, dial: func() (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", addr) }}
	conn, err := s.dial()
	if err != nil {
		return nil, err
	}
	s.conn, s.r = conn, bufio.NewReaderSize(conn, 4096)
	s.request = fmt.Appendf(nil, "POST /0 HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", addr, eventSize)
	body := len(s.request)
	at := body + len(idPrefix) + runDigits
	s.request = appendEvent(s.request, l.run, 0)
	s.id = s.request[at : at+seqDigits]
	s.shard = s.request[body+shardOffset:][:shardDigits]
	s.note = s.request[body+noteOffset:][:noteSize]
	return s, nil
}

// errRefused is an answer other than that to an accepted event.
var errRefused = errors.New("refused")

// post sends the event with a sequence number and reads the answer. Latency
// counts from due, if that is set: when the event should have been sent.
func (s *sender) post(seq int, due time.Time) error {
	putDigits(s.id, seq)
	putDigits(s.shard, seq%100)
	putNote(s.note, seq)
	if err := s.conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	if s.l.sent[seq] == 0 {
		s.l.sent[seq] = s.l.now()
		if !due.IsZero() {
			s.l.sent[seq] = max(int64(due.Sub(s.l.start)), 1)
		}
	}
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
	// What is posted again is a duplicate, if only its answer was lost.
	if m.status != s.want && (!s.insist || m.status != 200) {
		return fmt.Errorf("%w: got status %d, want %d: %s", errRefused, m.status, s.want, s.body)
	}
	s.l.answered[seq] = s.l.now()
	return nil
}

// load says how events are sent.
type load struct {
	senders  int
	duration time.Duration
	rate     int // events a second, or 0 for closed loop

	// patient has an open loop go on behind a subject that stalls, insist has
	// what was refused, or lost its connection, posted again, as apps do.
	patient, insist bool

	// follow is how often an open loop sets its rate anew; see ticker. It
	// keeps the same rate if that is 0.
	follow time.Duration
}

// capacity is more events than the load can send.
func (ld load) capacity() int {
	perSecond := 60_000
	switch {
	case ld.follow > 0:
		perSecond = 3 * ld.rate // while the peak is measured, by a faster machine
	case ld.rate > 0:
		perSecond = ld.rate + ld.rate/10
	}
	return int(float64(perSecond)*ld.duration.Seconds()) + ld.senders + 1
}

// send runs the load and returns when every sender has its last answer.
func (ld load) send(ctx context.Context, addr string, want int, l *ledger) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var ticks chan time.Time
	if ld.rate > 0 {
		ticks = make(chan time.Time) // unbuffered: a late sender shows as errBehind
	}
	var wg sync.WaitGroup
	for range ld.senders {
		s, err := newSender(ctx, addr, want, l)
		if err != nil {
			cancel(err)
			break
		}
		s.insist = ld.insist
		wg.Go(func() {
			defer func() { s.conn.Close() }()
			if err := s.loop(ctx, ld.duration, ticks); err != nil {
				cancel(err)
			}
		})
	}
	if ld.rate > 0 {
		if err := ld.ticker(ticks, l).run(ctx); err != nil {
			cancel(err)
		}
		close(ticks)
	}
	wg.Wait()
	return context.Cause(ctx)
}

// loop posts events until the time is up or, at open loop, the ticks end.
func (s *sender) loop(ctx context.Context, d time.Duration, ticks <-chan time.Time) error {
	deadline := time.Now().Add(d)
	for ctx.Err() == nil {
		var due time.Time
		if ticks != nil {
			var ok bool
			if due, ok = <-ticks; !ok {
				return nil
			}
		} else if !time.Now().Before(deadline) {
			return nil
		}
		seq, ok := s.l.take()
		if !ok {
			return errors.New("the ledger is full: the subject is faster than this command allows for")
		}
		if err := s.deliver(ctx, seq, due); err != nil {
			return err
		}
	}
	return nil
}

// deliver posts an event, and with insist until it is accepted.
func (s *sender) deliver(ctx context.Context, seq int, due time.Time) error {
	err := s.post(seq, due)
	for try := 0; err != nil && s.insist && try < 200 && ctx.Err() == nil; try++ {
		s.l.again.Add(1)
		if !errors.Is(err, errRefused) {
			conn, dialErr := s.dial()
			if dialErr != nil {
				time.Sleep(50 * time.Millisecond)
				continue
			}
			s.conn.Close()
			s.conn = conn
			s.r.Reset(conn)
		} else {
			time.Sleep(50 * time.Millisecond)
		}
		err = s.post(seq, due)
	}
	return err
}
