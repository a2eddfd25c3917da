//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// arriveTimeout is how long nothing arrives before the events that are
	// missing count as lost: what arrives late was pending.
	arriveTimeout = 30 * time.Second

	// settleTime lets what follows a run (settling the last attempts) end
	// before its CPU time is read.
	settleTime = 200 * time.Millisecond

	// sampleInterval is how often memory is looked at under load.
	sampleInterval = 100 * time.Millisecond
)

// runner runs loads against one process at a time.
type runner struct {
	options   options
	dir       string // of the processes and their outbox
	process   *process
	receiver  *receiver
	subject   subject
	endpoints int
	duration  time.Duration
	runs      int
	arrived   int // events of all runs, the one to warm up included
}

// start starts the subject with a configuration, on what the process before
// left on disk.
func (r *runner) start(ctx context.Context, c config) (err error) {
	r.process, err = startProcess(ctx, r.options.caddy, r.dir, r.subject, c)
	return err
}

// stop ends the process, if there is one.
func (r *runner) stop() error {
	if r.process == nil {
		return nil
	}
	p := r.process
	r.process = nil
	return p.stop()
}

// result is what a load came to.
type result struct {
	tally
	ledger *ledger
	cpu    time.Duration
	pss    int64 // the highest seen
}

// warmUp opens connections and grows heaps, before anything is measured.
func (r *runner) warmUp(ctx context.Context, ld load) error {
	ld.duration = max(r.duration/5, 100*time.Millisecond)
	ld.rate = 0
	_, err := r.run(ctx, ld)
	return err
}

// warmRun is run after a warm-up.
func (r *runner) warmRun(ctx context.Context, ld load) (result, error) {
	if err := r.warmUp(ctx, ld); err != nil {
		return result{}, err
	}
	return r.run(ctx, ld)
}

// run sends a load and waits until all of it has arrived.
func (r *runner) run(ctx context.Context, ld load) (res result, err error) {
	r.runs++
	l := newLedger(r.runs, ld.capacity(), r.endpoints)
	r.receiver.ledger.Store(l)
	before, err := r.process.cpu()
	if err != nil {
		return res, err
	}
	peak := r.watchPSS()
	err = ld.send(ctx, r.process.addr, r.subject.accepted(), l)
	if err == nil {
		err = l.waitForAll(ctx, min(l.next.Load(), int64(len(l.sent))))
	}
	res.pss = peak()
	if err != nil {
		return res, errors.Join(err, errors.New(r.process.log()))
	}
	time.Sleep(settleTime)
	after, err := r.process.cpu()
	if err != nil {
		return res, err
	}
	res.cpu = after - before
	r.receiver.ledger.Store(nil)
	res.ledger, res.tally = l, l.tally()
	r.arrived += len(res.arrivals)
	res.doubled += int(r.receiver.broken.Swap(0))
	if res.accepted == 0 {
		return res, errors.New("no event was accepted")
	}
	return res, nil
}

// waitForAll returns when so many events have arrived everywhere, or when no
// more do.
func (l *ledger) waitForAll(ctx context.Context, events int64) error {
	for {
		before := l.complete.Load()
		all, err := l.wait(ctx, events, arriveTimeout)
		if all || err != nil || l.complete.Load() == before {
			return err
		}
	}
}

// wait returns when so many events have arrived everywhere, or when there is
// no more hope of it, which it tells.
func (l *ledger) wait(ctx context.Context, events int64, timeout time.Duration) (bool, error) {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for l.complete.Load() < events {
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("waiting for the events to arrive: %w", ctx.Err())
		case <-deadline.C:
			return false, nil
		case <-tick.C:
		}
	}
	return true, nil
}

// watchPSS samples the memory of the process until the function that it
// returns is called, which answers with the highest.
func (r *runner) watchPSS() func() int64 {
	var peak atomic.Int64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(sampleInterval)
		defer tick.Stop()
		for {
			if n, err := r.process.pss(); err == nil {
				peak.Store(max(peak.Load(), n))
			}
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	return func() int64 {
		close(stop)
		<-done
		return peak.Load()
	}
}
