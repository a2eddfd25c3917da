//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

func (o options) backlogName() string {
	return fmt.Sprintf("%s pending, then restart", thousands(o.backlog))
}

// orderedArrivals is how many of the first arrivals must be the oldest.
const orderedArrivals = 1000

// backlog measures a start on pending deliveries with the receiver up, and
// another after a while with the receiver down, when the endpoint is known as
// failing and what was tried waits for its retry.
func backlog(ctx context.Context, r *runner) ([]figure, error) {
	r.runs++
	n := r.options.backlog
	f := filler{
		run: r.runs, n: n, pending: true, writers: 1, span: time.Hour,
		endpoint: always("receiver-0"), kind: always("version.promoted"), code: always(""),
	}
	if err := f.fill(ctx, r.dir); err != nil {
		return nil, err
	}
	l := newLedger(r.runs, n, 1)
	r.receiver.ledger.Store(l)
	up, err := r.restart(ctx, l, n/2)
	if err != nil {
		return nil, err
	}
	order := l.order()
	down, err := r.down(ctx)
	if err != nil {
		return nil, err
	}
	again, err := r.restart(ctx, l, n)
	if err != nil {
		return nil, err
	}
	return []figure{
		{"memory (PSS), highest", mebibytes, mib(max(up.pss, down, again.pss))},
		{"memory (PSS), receiver down", mebibytes, mib(down)},
		{"start to first delivery", millis, ms(up.first)},
		{"start to first delivery, after the receiver was down", millis, ms(again.first)},
		{"furthest ahead of its turn, of the first 1,000", count, float64(ahead(order, orderedArrivals))},
		{"delivered", perSecond, up.rate},
		{"doubled", count, float64(len(l.doubles))},
	}, nil
}

// restarted is what a start on a backlog came to.
type restarted struct {
	pss   int64
	first time.Duration // from the start to the first new arrival
	rate  float64
}

// restart starts the sidecar with the receiver up, and ends it when so many
// events have arrived in all, or after a good part of the backlog.
func (r *runner) restart(ctx context.Context, l *ledger, until int) (re restarted, err error) {
	before := l.complete.Load()
	if err := r.start(ctx, config{receiver: r.receiver.addr(), endpoints: 1}); err != nil {
		return re, err
	}
	started := r.process.started
	peak := r.watchPSS()
	ok, err := l.wait(ctx, before+1, arriveTimeout)
	re.first = time.Since(started)
	if ok {
		_, err = l.wait(ctx, int64(until), 4*r.duration)
	}
	re.pss = peak()
	re.rate = float64(l.complete.Load()-before) / (time.Since(started) - re.first).Seconds()
	if err == nil && !ok {
		err = errors.Join(errors.New("the backlog was not delivered"), errors.New(r.process.log()))
	}
	return re, errors.Join(err, r.stop())
}

// down runs the sidecar with its receiver down and returns its highest memory.
func (r *runner) down(ctx context.Context) (int64, error) {
	addr, err := freeAddr()
	if err != nil {
		return 0, err
	}
	if err := r.start(ctx, config{receiver: addr, endpoints: 1}); err != nil {
		return 0, err
	}
	peak := r.watchPSS()
	select {
	case <-ctx.Done():
	case <-time.After(r.duration):
	}
	return peak(), errors.Join(ctx.Err(), r.stop())
}
