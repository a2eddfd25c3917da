package main

import (
	"slices"
	"time"
)

// sample is a latency and when, since the start of the run, it began.
type sample struct{ at, took time.Duration }

// samples are the latencies of the events of a run: to their answers, and to
// their arrivals at all endpoints.
func (l *ledger) samples() (answers, arrivals []sample) {
	for seq, sent := range l.sent {
		if sent == 0 || l.answered[seq] == 0 {
			continue
		}
		answers = append(answers, sample{time.Duration(sent), time.Duration(l.answered[seq] - sent)})
		if at := l.last(seq); at != 0 {
			arrivals = append(arrivals, sample{time.Duration(sent), time.Duration(at - sent)})
		}
	}
	return answers, arrivals
}

// stall is the longest time in which nothing ended between the first and the
// last end.
func stall(samples []sample) time.Duration {
	ends := make([]time.Duration, len(samples))
	for i, s := range samples {
		ends[i] = s.at + s.took
	}
	slices.Sort(ends)
	worst := time.Duration(0)
	for i := 1; i < len(ends); i++ {
		worst = max(worst, ends[i]-ends[i-1])
	}
	return worst
}

// between are the latencies of what began in [from, to).
func between(samples []sample, from, to time.Duration) []time.Duration {
	var in []time.Duration
	for _, s := range samples {
		if s.at >= from && s.at < to {
			in = append(in, s.took)
		}
	}
	return in
}

// span is a stretch of time since the start of a run.
type span struct{ from, to time.Duration }

// outside are the samples that began in none of the spans.
func outside(samples []sample, spans []span) []sample {
	return slices.DeleteFunc(samples, func(s sample) bool {
		return slices.ContainsFunc(spans, func(p span) bool { return s.at >= p.from && s.at < p.to })
	})
}

// attribute counts the doubles that a reload can have caused: those that had
// an arrival in one of the spans.
func attribute(doubles []double, reloads []span) int {
	n := 0
	for _, d := range doubles {
		if slices.ContainsFunc(reloads, func(s span) bool {
			return d.first >= s.from && d.first < s.to || d.again >= s.from && d.again < s.to
		}) {
			n++
		}
	}
	return n
}

// ahead is how many places the arrival furthest ahead of its turn was, among
// the first n of an order.
func ahead(order []int, n int) int {
	worst := 0
	for rank, seq := range order[:min(n, len(order))] {
		worst = max(worst, seq-rank)
	}
	return worst
}
