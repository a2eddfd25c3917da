package main

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ledger keeps the times of the events of one run, by sequence number. The
// senders and the receiver write to it concurrently, each in its own columns.
type ledger struct {
	run       int
	start     time.Time
	endpoints int // that get each event
	next      atomic.Int64

	sent, answered []int64        // nanoseconds since start; 0: not yet
	arrived        []atomic.Int64 // the same, first arrivals; one for each event and endpoint
	got            []atomic.Int32 // endpoints that have the event

	complete atomic.Int64 // events that all endpoints have
	again    atomic.Int64 // posts that had to be repeated

	// Of an open loop that follows: the rates after the first, and when the
	// peak was measured.
	rates  []int
	bursts []span

	mu      sync.Mutex
	doubles []double // arrivals beyond the first, or of another run
}

// double is an event that an endpoint got again.
type double struct {
	first, again time.Duration // since the ledger's start; first 0: of another run
}

func newLedger(run, capacity, endpoints int) *ledger {
	return &ledger{
		run:       run,
		start:     time.Now(),
		endpoints: endpoints,
		sent:      make([]int64, capacity),
		answered:  make([]int64, capacity),
		arrived:   make([]atomic.Int64, capacity*endpoints),
		got:       make([]atomic.Int32, capacity),
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
	now := l.now()
	if run != l.run || seq < 0 || seq >= len(l.got) || endpoint >= l.endpoints {
		l.double(0, now)
		return
	}
	at := &l.arrived[seq*l.endpoints+endpoint]
	if !at.CompareAndSwap(0, now) {
		l.double(at.Load(), now)
		return
	}
	if int(l.got[seq].Add(1)) == l.endpoints {
		l.complete.Add(1)
	}
}

func (l *ledger) double(first, again int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doubles = append(l.doubles, double{time.Duration(first), time.Duration(again)})
}

// last is when the last endpoint got an event, or 0 if one did not.
func (l *ledger) last(seq int) int64 {
	last := int64(0)
	for i := range l.endpoints {
		at := l.arrived[seq*l.endpoints+i].Load()
		if at == 0 {
			return 0
		}
		last = max(last, at)
	}
	return last
}

// tally is what a run came to.
type tally struct {
	accepted, lost, doubled int
	elapsed                 time.Duration   // first request to last arrival or answer
	answers, arrivals       []time.Duration // from the request to the answer, and to the last endpoint's arrival
}

// tally sums the run up. Nothing may write to the ledger any more.
func (l *ledger) tally() tally {
	t := tally{doubled: len(l.doubles)}
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
		if at := l.last(seq); at != 0 {
			t.arrivals = append(t.arrivals, time.Duration(at-sent))
			last = max(last, at)
		} else {
			t.lost++
		}
	}
	t.elapsed = time.Duration(last - first)
	return t
}

// each returns the time from the request to the arrival at every endpoint.
func (l *ledger) each() []time.Duration {
	var all []time.Duration
	for i := range l.arrived {
		if at := l.arrived[i].Load(); at != 0 {
			all = append(all, time.Duration(at-l.sent[i/l.endpoints]))
		}
	}
	return all
}

// order returns the sequence numbers in the order of their arrival at the
// first endpoint.
func (l *ledger) order() []int {
	var seqs []int
	for seq := range l.got {
		if l.arrived[seq*l.endpoints].Load() != 0 {
			seqs = append(seqs, seq)
		}
	}
	slices.SortStableFunc(seqs, func(a, b int) int {
		return int(l.arrived[a*l.endpoints].Load() - l.arrived[b*l.endpoints].Load())
	})
	return seqs
}
