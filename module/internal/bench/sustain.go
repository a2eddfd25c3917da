//go:build linux

package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

func (o options) sustainName() string { return fmt.Sprintf("80 %% of the peak for %s", o.sustain) }

// sustained measures whether 80 % of the peak, or of a lower one that a shared
// machine has later, last while retention removes what has been delivered. The
// proxy, which keeps nothing, shows what changes of the machine do. Latencies
// are those at the rate, and not those while the peak is measured.
func sustained(ctx context.Context, r *runner) ([]figure, error) {
	length := r.options.sustain
	retention := max(length/10, time.Second)
	c := config{receiver: r.receiver.addr(), endpoints: 1, outbox: []string{"retention " + retention.String()}}
	if err := r.start(ctx, c); err != nil {
		return nil, err
	}
	peak, err := r.peak(ctx, length)
	if err != nil {
		return nil, err
	}
	rate := sustainable(peak)
	res, err := r.run(ctx, load{
		senders: 64, duration: length, rate: rate, patient: true, follow: min(time.Minute, length/10),
	})
	if err != nil {
		return nil, err
	}
	answers, arrivals := res.ledger.samples()
	stalls := []figure{
		{"worst stall of answers", millis, ms(stall(answers))},
		{"worst stall of arrivals", millis, ms(stall(arrivals))},
	}
	answers, arrivals = outside(answers, res.ledger.bursts), outside(arrivals, res.ledger.bursts)
	window := min(time.Minute, length/4)
	p99 := func(samples []sample, from time.Duration) float64 {
		return ms(percentile(between(samples, from, from+window), 99))
	}
	first, last := p99(arrivals, 0), p99(arrivals, length-window)
	firstAnswer, lastAnswer := p99(answers, 0), p99(answers, length-window)
	figures := slices.Concat(stalls, res.rates(rate, length), []figure{
		{"arrival p99, first window", millis, first},
		{"arrival p99, last window", millis, last},
		{"arrival p99, last to first", times, last / first},
		{"answer p99, first window", millis, firstAnswer},
		{"answer p99, last window", millis, lastAnswer},
		{"answer p99, last to first", times, lastAnswer / firstAnswer},
		{"CPU per delivery", micros, us(res.cpu) / float64(max(len(res.arrivals), 1))},
		{"memory (PSS), highest", mebibytes, mib(res.pss)},
	}, faults(res))
	if r.subject == sidecar {
		size, err := outboxSize(r.dir)
		if err != nil {
			return nil, err
		}
		figures = append(figures, figure{"outbox at the end", mebibytes, mib(size)})
	}
	return figures, nil
}

// rates are the figures of a load that follows, whose first rate and length are
// given.
func (res result) rates(first int, length time.Duration) []figure {
	return []figure{
		{"rate, mean", perSecond, float64(res.accepted) / length.Seconds()},
		{"rate, lowest", perSecond, float64(slices.Min(append(res.ledger.rates, first)))},
		{"rate, first", perSecond, float64(first)},
	}
}

// peakRuns is how often the peak is measured: the speed of a shared machine
// changes within seconds, and only what it always reaches can be sustained.
const peakRuns = 5

// peak is what a closed loop of 64 senders gets delivered in a second, at
// least. It runs the longer, the longer a part of it is to be sustained:
// what is done later, as packing segments, belongs to what an event costs.
func (r *runner) peak(ctx context.Context, sustained time.Duration) (float64, error) {
	lowest := math.Inf(1)
	for range peakRuns {
		res, err := r.warmRun(ctx, load{senders: 64, duration: max(r.duration, sustained/40)})
		if err != nil {
			return 0, err
		}
		lowest = min(lowest, float64(len(res.arrivals))/res.elapsed.Seconds())
	}
	return lowest, nil
}
