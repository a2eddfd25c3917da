//go:build linux

package main

import (
	"context"
	"errors"
	"time"
)

// many measures one event to ten thousand endpoints beside one to a hundred.
func many(ctx context.Context, r *runner) ([]figure, error) {
	few, err := r.fan(ctx, 100)
	if err != nil {
		return nil, err
	}
	all, err := r.fan(ctx, 10_000)
	if err != nil {
		return nil, err
	}
	return append([]figure{
		{"answer", millis, ms(percentile(all.answers, 100))},
		{"last arrival", millis, ms(percentile(all.arrivals, 100))},
		{"CPU per delivery", micros, us(all.cpu) / 10_000},
		{"memory (PSS), highest", mebibytes, mib(all.pss)},
		{"goroutines before, 100 endpoints", count, float64(few.before)},
		{"goroutines before", count, float64(all.before)},
		{"goroutines after, 100 endpoints", count, float64(few.after)},
		{"goroutines after", count, float64(all.after)},
		{"goroutines before, to 100 endpoints", times, float64(all.before) / float64(few.before)},
	}, faults(all.result)...), nil
}

// fanned is what one event to many endpoints came to.
type fanned struct {
	result
	before, after int // goroutines
}

// fan sends one event to n endpoints of a process of its own.
func (r *runner) fan(ctx context.Context, n int) (f fanned, err error) {
	r.endpoints = n
	if err := r.start(ctx, config{receiver: r.receiver.addr(), endpoints: n}); err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	a := r.process.admin()
	defer a.close()
	if err := a.ready(ctx); err != nil {
		return f, err
	}
	if f.before, err = a.goroutines(ctx); err != nil {
		return f, err
	}
	if f.result, err = r.run(ctx, load{senders: 1, rate: 1, duration: time.Millisecond}); err != nil {
		return f, err
	}
	f.after, err = a.goroutines(ctx)
	return f, err
}
