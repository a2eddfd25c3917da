package main

import (
	"sync/atomic"
	"time"
)

// ledger keeps the times of the events of one run, by sequence number. The
// senders and the receiver write to it concurrently, each in its own columns.
type ledger struct {
	run   int
	start time.Time
	all   uint64 // one bit for each endpoint
	next  atomic.Int64

	sent, answered []int64         // nanoseconds since start; 0: not yet
	arrived        []atomic.Int64  // the same, of the last endpoint's first arrival
	got            []atomic.Uint64 // endpoints that have it

	complete atomic.Int64 // events that all endpoints have
	doubled  atomic.Int64 // arrivals beyond the first, or of another run
}

func newLedger(run, capacity, endpoints int) *ledger {
	return &ledger{
		run:      run,
		start:    time.Now(),
		all:      1<<endpoints - 1,
		sent:     make([]int64, capacity),
		answered: make([]int64, capacity),
		arrived:  make([]atomic.Int64, capacity),
		got:      make([]atomic.Uint64, capacity),
	}
}

// now is never 0, which means "not yet".
func (l *ledger) now() int64 { return max(int64(time.Since(l.start)), 1) }

// take hands out the next sequence number, or false when the ledger is full.
func (l *ledger) take() (int, bool) {
	n := int(l.next.Add(1) - 1)
	return n, n < len(l.sent)
}

// arrive notes that an endpoint got an event.
func (l *ledger) arrive(run, seq, endpoint int) {
	if run != l.run || seq < 0 || seq >= len(l.got) {
		l.doubled.Add(1)
		return
	}
	bit := uint64(1) << endpoint
	old := l.got[seq].Or(bit)
	if old&bit != 0 {
		l.doubled.Add(1)
		return
	}
	if old|bit == l.all {
		l.arrived[seq].Store(l.now())
		l.complete.Add(1)
	}
}

// tally is what a run came to.
type tally struct {
	accepted, lost, doubled int
	elapsed                 time.Duration   // first request to last arrival or answer
	answers, arrivals       []time.Duration // from the request, in no order
}

// tally sums the run up. Nothing may write to the ledger any more.
func (l *ledger) tally() tally {
	t := tally{doubled: int(l.doubled.Load())}
	first, last := int64(0), int64(0)
	for seq, sent := range l.sent {
		if sent == 0 || l.answered[seq] == 0 {
			continue
		}
		if first == 0 || sent < first {
			first = sent
		}
		t.accepted++
		t.answers = append(t.answers, time.Duration(l.answered[seq]-sent))
		last = max(last, l.answered[seq])
		if at := l.arrived[seq].Load(); at != 0 {
			t.arrivals = append(t.arrivals, time.Duration(at-sent))
			last = max(last, at)
		} else {
			t.lost++
		}
	}
	t.elapsed = time.Duration(last - first)
	return t
}
