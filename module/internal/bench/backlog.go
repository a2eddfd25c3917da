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

// backlog measures a start on pending deliveries: once with the receiver
// down, and again when it is back.
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
	down, err := r.down(ctx)
	if err != nil {
		return nil, err
	}
	l := newLedger(r.runs, n, 1)
	r.receiver.ledger.Store(l)
	if err := r.start(ctx, config{receiver: r.receiver.addr(), endpoints: 1}); err != nil {
		return nil, err
	}
	started := r.process.started
	peak := r.watchPSS()
	ok, err := l.wait(ctx, orderedArrivals, arriveTimeout)
	if err == nil && ok {
		// The whole backlog, or a good part of it.
		_, err = l.wait(ctx, int64(n), 4*r.duration)
	}
	pss := peak()
	elapsed := time.Since(l.start)
	if err != nil || !ok {
		return nil, errors.Join(err, errors.New("the backlog was not delivered"), errors.New(r.process.log()))
	}
	if err := r.stop(); err != nil {
		return nil, err
	}
	order := l.order()
	first := time.Duration(l.arrived[order[0]].Load())
	return []figure{
		{"memory (PSS), receiver down", mebibytes, mib(down)},
		{"memory (PSS), highest", mebibytes, mib(pss)},
		{"start to first delivery", millis, ms(l.start.Add(first).Sub(started))},
		{"furthest ahead of its turn, of the first 1,000", count, float64(ahead(order, orderedArrivals))},
		{"delivered", perSecond, float64(len(order)) / (elapsed - first).Seconds()},
		{"doubled", count, float64(len(l.doubles))},
	}, nil
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
