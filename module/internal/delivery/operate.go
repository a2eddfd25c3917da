package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// Retry makes a pending delivery due at once, ahead of the others of its
// endpoint, and lets a failing endpoint be probed at once. Of a finished
// delivery it makes a new one, which names the old one in ReplayOf. It returns
// the delivery that is now pending. One for which an attempt is under way is
// returned as it is.
//
// Errors are those of storage.Outbox.
func (e *Engine) Retry(ctx context.Context, id storage.DeliveryID) (*storage.Delivery, error) {
	d, _, err := e.outbox.Delivery(ctx, id)
	if err != nil {
		return nil, err
	}
	for d.Status == storage.StatusPending {
		f, flying := e.claim(d.Endpoint, id)
		if flying != nil {
			if flying.attempt {
				return d, nil
			}
			if err := e.await(ctx, flying); err != nil {
				return nil, err
			}
		}
		if d, _, err = e.outbox.Delivery(ctx, id); err != nil || d.Status != storage.StatusPending {
			e.release(f, false)
			if err != nil {
				return nil, err
			}
			break
		}
		if f != nil {
			return e.retryNow(ctx, f, d)
		}
	}
	return e.replay(ctx, id)
}

// retryNow makes a claimed delivery due.
func (e *Engine) retryNow(ctx context.Context, f *flight, d *storage.Delivery) (*storage.Delivery, error) {
	now := time.UnixMilli(e.now().UnixMilli())
	if d.NextAttemptAt.Before(now) {
		now = d.NextAttemptAt
	}
	f.at, f.attempts = now.UnixMilli(), int32(min(d.Attempts, maxAttempts))
	if f.ev == nil && f.spent == 0 && d.Attempts > 0 {
		f.spent = unknownSpent
	}
	err := e.settleOne(ctx, storage.Settlement{
		Delivery: f.id, Status: storage.StatusPending, Code: d.Code, NextAttemptAt: now,
	})
	if err != nil {
		e.surrender(f, d)
		return nil, err
	}
	d.NextAttemptAt = now
	e.mu.Lock()
	f.q.health.probeNow(e.clock())
	e.mu.Unlock()
	e.release(f, true)
	return d, nil
}

// surrender gives up the claim on a delivery whose settlement failed, so that
// only the outbox knows what it came to.
func (e *Engine) surrender(f *flight, d *storage.Delivery) {
	e.mu.Lock()
	f.q.lower(position{min(f.at, d.NextAttemptAt.UnixMilli()), f.id})
	f.q.reading.behind = true
	e.mu.Unlock()
	e.release(f, false)
}

// replay makes a new delivery of a finished one.
func (e *Engine) replay(ctx context.Context, id storage.DeliveryID) (*storage.Delivery, error) {
	began, err := e.beginAccept()
	if err != nil {
		return nil, err
	}
	d, err := e.outbox.Replay(ctx, id)
	if err != nil {
		if isFatal(err) {
			e.fail(err)
		}
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.clock()
	at := min(d.NextAttemptAt.UnixMilli(), d.CreatedAt.UnixMilli())
	e.receive(e.queueOf(d.Endpoint), item{id: d.ID, at: at, due: now}, nil, began, now)
	return d, nil
}

// Cancel gives a pending delivery up. An attempt that is under way is waited
// for: when it succeeds, or fails for good, that stands. It returns the
// delivery as it is afterwards, with ErrNotPending where it was not cancelled.
// Other errors are those of storage.Outbox.
func (e *Engine) Cancel(ctx context.Context, id storage.DeliveryID) (*storage.Delivery, error) {
	d, _, err := e.outbox.Delivery(ctx, id)
	if err != nil {
		return nil, err
	}
	if d.Status != storage.StatusPending {
		return d, ErrNotPending
	}
	for {
		f, flying := e.claim(d.Endpoint, id)
		if flying != nil {
			if err := e.giveUp(ctx, flying); err != nil {
				return nil, err
			}
		}
		d, _, err = e.outbox.Delivery(ctx, id)
		switch {
		case err != nil:
			e.release(f, false)
			return nil, err
		case d.Status == storage.StatusCancelled && flying != nil:
			return d, nil
		case d.Status != storage.StatusPending:
			e.release(f, false)
			return d, ErrNotPending
		case f != nil:
			return e.cancelNow(ctx, f, d)
		}
	}
}

// cancelNow cancels a claimed delivery.
func (e *Engine) cancelNow(ctx context.Context, f *flight, d *storage.Delivery) (*storage.Delivery, error) {
	err := e.settleOne(ctx, storage.Settlement{Delivery: f.id, Status: storage.StatusCancelled, Code: CodeCancelled})
	if err != nil {
		e.surrender(f, d)
		return nil, err
	}
	e.release(f, false)
	if s := e.Snapshot(); s != nil {
		s.Observer.DeliveryDone(Done{
			Endpoint: d.Endpoint, DeliveryID: d.ID, EventID: d.EventID, Type: d.Type,
			Status: string(storage.StatusCancelled), Code: CodeCancelled, Attempts: d.Attempts,
			Latency: max(e.now().Sub(d.CreatedAt), 0),
		})
	}
	d.Status, d.Code, d.NextAttemptAt = storage.StatusCancelled, CodeCancelled, time.Time{}
	return d, nil
}

// giveUp lets a flight end in a cancellation, and waits for its end.
func (e *Engine) giveUp(ctx context.Context, other *flight) error {
	e.mu.Lock()
	if f := other.q.flying(other.id); f != nil && f.attempt {
		f.cancel = true
	}
	e.mu.Unlock()
	return e.await(ctx, other)
}

// settleOne settles what an operator asked for.
func (e *Engine) settleOne(ctx context.Context, s storage.Settlement) error {
	err := e.outbox.Settle(ctx, []storage.Settlement{s})
	if err == nil {
		return nil
	}
	if isFatal(err) {
		e.fail(err)
	}
	return fmt.Errorf("settling %s: %w", s.Delivery, err)
}

// Pause holds the deliveries of an endpoint, also across restarts, until
// Resume. Attempts under way end as they may. The reason is shown by the
// endpoint's status. Errors are ErrUnknownEndpoint and those of
// storage.Outbox.
func (e *Engine) Pause(ctx context.Context, endpoint, reason string) error {
	return e.change(ctx, endpoint, func(q *queue, s *storage.EndpointState) {
		if !s.Paused {
			s.Paused, s.Reason, s.Since = true, reason, e.now()
		}
	})
}

// Resume ends the pause of an endpoint, and lets it be probed at once where it
// was failing: it has all of its DisableAfter again. A pause by the
// configuration stays. Errors are those of Pause.
func (e *Engine) Resume(ctx context.Context, endpoint string) error {
	return e.change(ctx, endpoint, func(q *queue, s *storage.EndpointState) {
		s.Paused, s.Reason, s.Since = false, "", time.Time{}
		if q.health.failing {
			s.FailingSince = e.now()
		}
		q.health.probeNow(e.clock())
	})
}

// change records a change of an endpoint's state, and then makes it.
func (e *Engine) change(ctx context.Context, endpoint string, edit func(*queue, *storage.EndpointState)) error {
	select {
	case e.saving <- struct{}{}:
		defer func() { <-e.saving }()
	case <-ctx.Done():
		return ctx.Err()
	}
	e.mu.Lock()
	q := e.queues[endpoint]
	if q == nil || q.config == nil {
		e.mu.Unlock()
		return ErrUnknownEndpoint
	}
	state := q.state
	edit(q, &state)
	e.mu.Unlock()
	if err := e.outbox.SetEndpointState(ctx, endpoint, state); err != nil {
		if errors.Is(err, storage.ErrFailed) {
			e.fail(err)
		}
		return fmt.Errorf("recording the state of endpoint %s: %w", endpoint, err)
	}
	e.mu.Lock()
	before, _ := q.healthNow()
	q.state.Paused, q.state.Reason, q.state.Since = state.Paused, state.Reason, state.Since
	after, reason := q.healthNow()
	if after != before {
		q.recent.changed = e.now()
	}
	now := e.clock()
	if !state.Paused {
		q.renew(now, e.now())
	}
	if !q.serves() {
		q.clear(e.unpin)
	}
	e.updateAt(q, now)
	e.mu.Unlock()
	if s := e.Snapshot(); after != before && s != nil {
		s.Observer.EndpointChanged(endpoint, before, after, reason)
	}
	return nil
}
