//go:build linux

package main

import (
	"context"
	"time"
)

// scenario is one way of measuring a subject.
type scenario struct {
	name        string
	endpoints   int  // that get each event; 1 if 0
	sidecarOnly bool // the proxy has no counterpart
	once        bool // too long to be measured in every round
	starts      bool // run starts the processes itself
	run         func(ctx context.Context, r *runner) ([]figure, error)
}

// scenarios are all of them, in the order of the table.
func (o options) scenarios() []scenario {
	all := []scenario{
		{name: closed16, run: closedLoop(16)},
		{name: closed64, run: closedLoop(64)},
		{name: open50, run: openLoop(50)},
		{name: fan10, endpoints: 10, sidecarOnly: true, run: fanOut(16)},
		{name: idling, run: idle},
		{name: o.sustainName(), once: true, starts: true, run: sustained},
		{name: o.backlogName(), sidecarOnly: true, once: true, starts: true, run: backlog},
		{name: manyEndpoints, sidecarOnly: true, starts: true, run: many},
		{name: o.historyName(), sidecarOnly: true, once: true, starts: true, run: history},
		{name: deadEndpoint, sidecarOnly: true, starts: true, run: dead},
		{name: diskName, sidecarOnly: true, run: disk},
	}
	if o.soak > 0 {
		all = append(all, scenario{name: o.soakName(), sidecarOnly: true, once: true, starts: true, run: soak})
	}
	return all
}

// The names of scenarios that have none with a size in it.
const (
	closed16      = "closed loop, 16 senders"
	closed64      = "closed loop, 64 senders"
	open50        = "open loop, 50 events/s"
	fan10         = "one event to 10 endpoints, 16 senders"
	idling        = "start and idle"
	manyEndpoints = "one event to 10,000 endpoints"
	deadEndpoint  = "one dead endpoint of 100"
	diskName      = "disk, after the outbox was closed"
)

// closedLoop measures throughput and what it costs.
func closedLoop(senders int) func(context.Context, *runner) ([]figure, error) {
	return func(ctx context.Context, r *runner) ([]figure, error) {
		ld := load{senders: senders, duration: r.duration}
		res, err := r.warmRun(ctx, ld)
		if err != nil {
			return nil, err
		}
		figures := []figure{
			{"delivered", perSecond, float64(len(res.arrivals)) / res.elapsed.Seconds()},
			{"CPU per delivery", micros, us(res.cpu) / float64(max(len(res.arrivals), 1))},
			{"answer p50", millis, ms(percentile(res.answers, 50))},
			{"answer p99", millis, ms(percentile(res.answers, 99))},
			{"answer max", millis, ms(percentile(res.answers, 100))},
			{"arrival p50", millis, ms(percentile(res.arrivals, 50))},
			{"arrival p99", millis, ms(percentile(res.arrivals, 99))},
			{"memory (PSS), highest", mebibytes, float64(res.pss) / (1 << 20)},
		}
		return append(figures, faults(res)...), nil
	}
}

// openLoop measures latency at a rate that leaves the machine mostly idle.
func openLoop(rate int) func(context.Context, *runner) ([]figure, error) {
	return func(ctx context.Context, r *runner) ([]figure, error) {
		// Many more senders than are busy at a time.
		ld := load{senders: 8, duration: 4 * r.duration, rate: rate}
		res, err := r.warmRun(ctx, ld)
		if err != nil {
			return nil, err
		}
		figures := []figure{
			{"arrival p50", millis, ms(percentile(res.arrivals, 50))},
			{"arrival p99", millis, ms(percentile(res.arrivals, 99))},
			{"arrival max", millis, ms(percentile(res.arrivals, 100))},
			{"answer p50", millis, ms(percentile(res.answers, 50))},
			{"answer p99", millis, ms(percentile(res.answers, 99))},
			{"CPU per delivery", micros, us(res.cpu) / float64(max(len(res.arrivals), 1))},
		}
		if r.subject == sidecar {
			took, err := probe(ctx, r.dir, rate, int(2*r.duration.Seconds()*float64(rate))+1)
			if err != nil {
				return nil, err
			}
			figures = append(figures,
				figure{"one synced append of 4 KiB, p50", millis, ms(percentile(took, 50))},
				figure{"one synced append of 4 KiB, p99", millis, ms(percentile(took, 99))})
		}
		return append(figures, faults(res)...), nil
	}
}

// fanOut measures one event that many endpoints get.
func fanOut(senders int) func(context.Context, *runner) ([]figure, error) {
	return func(ctx context.Context, r *runner) ([]figure, error) {
		ld := load{senders: senders, duration: r.duration}
		res, err := r.warmRun(ctx, ld)
		if err != nil {
			return nil, err
		}
		n := float64(max(len(res.arrivals), 1) * r.endpoints)
		return append([]figure{
			{"delivered", perSecond, n / res.elapsed.Seconds()},
			{"CPU per delivery", micros, us(res.cpu) / n},
			{"answer p99", millis, ms(percentile(res.answers, 99))},
		}, faults(res)...), nil
	}
}

// idle measures the start, with one event at the end of it, and the memory of
// a process that has nothing to do.
func idle(ctx context.Context, r *runner) ([]figure, error) {
	ready := time.Since(r.process.started)
	began := time.Now()
	res, err := r.run(ctx, load{senders: 1, rate: 1, duration: time.Millisecond})
	if err != nil {
		return nil, err
	}
	first := ready + time.Since(began) - settleTime
	pss, err := r.process.pss()
	if err != nil {
		return nil, err
	}
	return append([]figure{
		{"start to first delivery", millis, ms(first)},
		{"memory (PSS)", mebibytes, float64(pss) / (1 << 20)},
	}, faults(res)...), nil
}

// faults are figures that must be 0.
func faults(res result) []figure {
	return []figure{
		{"lost", count, float64(res.lost)},
		{"doubled", count, float64(res.doubled)},
	}
}
