package main

import (
	"context"
	"errors"
	"time"
)

// ticker hands out the events of an open loop at their times.
//
// The speed of a shared machine changes within minutes, and what was a part of
// the peak when it was measured may be more than the peak later. A load that
// follows therefore measures it again and again: for a while events are sent as
// fast as they are answered, and what arrives meanwhile makes the new rate, if
// that is less than the first. It must not be more: a short time has less of the
// work that comes later, as packing segments, and shows a peak that does not
// last. Otherwise the last minute would have another load than the first.
type ticker struct {
	load
	first int // the rate at first, and the highest
	ticks chan<- time.Time
	l     *ledger
	timer *time.Timer
}

const (
	// share is the part of the peak that is sustained.
	share = 0.8

	// measured is the part of the time, one in so many, in which a load that
	// follows measures the peak.
	measured = 20

	// burstEffect is how long after the peak was measured events still wait
	// because of it, at most.
	burstEffect = time.Second
)

// sustainable is the rate, in events a second, at which a peak is sustained.
func sustainable(peak float64) int { return max(int(share*peak), 1) }

func (ld load) burstEffect() time.Duration { return min(burstEffect, ld.follow/4) }

func (ld load) ticker(ticks chan<- time.Time, l *ledger) *ticker {
	return &ticker{load: ld, first: ld.rate, ticks: ticks, l: l}
}

// errBehind would make an open loop a closed one.
var errBehind = errors.New("all senders are waiting: the subject cannot keep up with the rate")

// run hands out events until the time is up. An event that no sender could
// take at once says when it was due.
func (t *ticker) run(ctx context.Context) error {
	t.timer = time.NewTimer(time.Hour)
	defer t.timer.Stop()
	at := time.Now()
	end, next := at.Add(t.duration), at.Add(t.follow)
	for at.Before(end) {
		if t.follow > 0 && !time.Now().Before(next) {
			if err := t.measure(ctx); err != nil {
				return err
			}
			at = time.Now()
			next = at.Add(t.follow)
		}
		if wait := time.Until(at); wait > 0 {
			t.timer.Reset(wait)
			select {
			case <-ctx.Done():
				return nil
			case <-t.timer.C:
			}
		}
		if err := t.give(ctx, at); err != nil || ctx.Err() != nil {
			return err
		}
		at = at.Add(time.Second / time.Duration(t.rate))
	}
	return nil
}

// measure finds the peak and sets the rate.
func (t *ticker) measure(ctx context.Context) error {
	began, before := time.Now(), t.l.complete.Load()
	for time.Since(began) < t.follow/measured && ctx.Err() == nil {
		if err := t.give(ctx, time.Now()); err != nil {
			return err
		}
	}
	peak := float64(t.l.complete.Load()-before) / time.Since(began).Seconds()
	t.rate = min(sustainable(peak), t.first)
	t.l.rates = append(t.l.rates, t.rate)
	t.l.bursts = append(t.l.bursts, span{began.Sub(t.l.start), time.Since(t.l.start) + t.burstEffect()})
	return nil
}

// give hands out one event. A subject that lets all senders wait for a second
// is too slow for the rate, and waiting longer would hide its latency; a
// patient load measures that instead.
func (t *ticker) give(ctx context.Context, at time.Time) error {
	var due time.Time
	if t.patient && time.Since(at) > time.Millisecond {
		due = at
	}
	select {
	case t.ticks <- due:
		return nil
	default:
	}
	patience := time.Second
	if t.patient {
		patience = answerTimeout
	}
	t.timer.Reset(patience)
	select {
	case <-ctx.Done():
		return nil
	case t.ticks <- at:
		return nil
	case <-t.timer.C:
		return errBehind
	}
}
