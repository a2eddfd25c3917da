//go:build linux

package main

import (
	"context"
	"fmt"
	"math"
	"time"
)

func (o options) sustainName() string { return fmt.Sprintf("80 %% of the peak for %s", o.sustain) }

// sustained measures whether 80 % of the peak last, while retention removes
// what has been delivered. The proxy, which keeps nothing, shows what changes
// of the machine do.
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
	rate := max(int(share*peak), 1)
	res, err := r.run(ctx, load{senders: 64, duration: length, rate: rate, patient: true})
	if err != nil {
		return nil, err
	}
	after, err := r.peak(ctx, length)
	if err != nil {
		return nil, err
	}
	answers, arrivals := res.ledger.samples()
	window := min(time.Minute, length/4)
	p99 := func(samples []sample, from time.Duration) float64 {
		return ms(percentile(between(samples, from, from+window), 99))
	}
	first, last := p99(arrivals, 0), p99(arrivals, length-window)
	firstAnswer, lastAnswer := p99(answers, 0), p99(answers, length-window)
	figures := append([]figure{
		{"peak before", perSecond, peak},
		{"peak after", perSecond, after}, // a shared machine's speed changes
		{"rate", perSecond, float64(rate)},
		{"worst stall of answers", millis, ms(stall(answers))},
		{"worst stall of arrivals", millis, ms(stall(arrivals))},
		{"arrival p99, first window", millis, first},
		{"arrival p99, last window", millis, last},
		{"arrival p99, last to first", times, last / first},
		{"answer p99, first window", millis, firstAnswer},
		{"answer p99, last window", millis, lastAnswer},
		{"answer p99, last to first", times, lastAnswer / firstAnswer},
		{"CPU per delivery", micros, us(res.cpu) / float64(max(len(res.arrivals), 1))},
		{"memory (PSS), highest", mebibytes, mib(res.pss)},
	}, faults(res)...)
	if r.subject == sidecar {
		size, err := outboxSize(r.dir)
		if err != nil {
			return nil, err
		}
		figures = append(figures, figure{"outbox at the end", mebibytes, mib(size)})
	}
	return figures, nil
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
