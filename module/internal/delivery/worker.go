package delivery

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/storage"
)

const (
	// mostPanics is how often an attempt for one delivery may panic before
	// the delivery is given up.
	mostPanics = 3

	// settleAgain and settleSlowest are the shortest and the longest wait
	// before settling is tried again after a failure that may pass, such as a
	// full disk.
	settleAgain   = 100 * time.Millisecond
	settleSlowest = 10 * time.Second

	// loadAgain is the wait before an event that could not be read is tried
	// again.
	loadAgain = 5 * time.Second
)

// job is what a worker is at. It is reused from flight to flight, so that an
// attempt allocates nothing here.
type job struct {
	flight  flight
	message Message
	outcome Outcome
	result  result
	one     [1]storage.Settlement
}

// work makes attempts until there is nothing to do for it.
func (e *Engine) work() {
	defer e.running.Done()
	j := new(job)
	d := &e.dispatch
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		if !e.take(&j.flight) {
			if e.closed.Load() || d.parked >= maxParked {
				d.workers--
				return
			}
			d.parked++
			e.idle.Wait() // whoever signals counts it out
			continue
		}
		if d.active.first != nil {
			e.wakeWorker()
		}
		e.mu.Unlock()
		e.fly(j)
		e.mu.Lock()
		e.land(j)
	}
}

// fly makes the attempt of a flight and settles what it came to.
func (e *Engine) fly(j *job) {
	f := &j.flight
	j.result = result{}
	if f.expire {
		if e.outlives(j, 0) {
			e.settle(j, settlement(f, storage.StatusFailed, CodeExpired))
		} else {
			j.result.fate, j.result.front = fateAgain, true
		}
		return
	}
	p := f.ev
	if p == nil {
		var ok bool
		if p, ok = e.load(j); !ok {
			return
		}
	}
	j.message = Message{
		Endpoint: f.config, HeaderPrefix: f.snap.HeaderPrefix, UserAgent: f.snap.UserAgent,
		Delivery: f.id, EventID: p.id, Type: p.typ, Body: p.body,
		TraceParent: p.traceParent, TraceState: p.traceState, Number: int(f.attempts) + 1,
	}
	e.attempt(e.ctx, j)
	s := e.judge(j)
	f.snap.Observer.AttemptDone(f.q.name, j.outcome.Attempt.Verdict, j.outcome.Attempt.Code, j.outcome.Attempt.Duration)
	e.settle(j, s)
}

// attempt sends the message. A panic, in a signer of somebody else's for
// example, is an attempt that failed.
func (e *Engine) attempt(ctx context.Context, j *job) {
	defer func() {
		if r := recover(); r != nil {
			took := e.clock() - j.flight.took
			j.flight.panics++
			j.result.panicked = true
			j.outcome = Outcome{Attempt: storage.Attempt{
				Number: j.message.Number, StartedAt: e.now().Add(-took), Duration: took,
				Verdict: VerdictRetry, Code: CodePanic,
			}}
			j.flight.snap.Logger.Error("recovering from a panic in an attempt",
				zap.String("endpoint", j.flight.q.name), zap.Stringer("delivery", j.flight.id), zap.Stack("stack"))
		}
	}()
	j.outcome = e.send(ctx, &j.message)
	j.outcome.Attempt.Number = j.message.Number
}

// load reads a flight's event from the outbox.
func (e *Engine) load(j *job) (*payload, bool) {
	f := &j.flight
	ev, err := e.outbox.Event(e.ctx, f.id.Event())
	switch {
	case err == nil:
		return &payload{
			id: ev.ID, typ: ev.Type, body: ev.Body, traceParent: ev.TraceParent, traceState: ev.TraceState,
		}, true
	case errors.Is(err, storage.ErrNotFound):
		f.snap.Logger.Error("a pending delivery has no event", zap.String("endpoint", f.q.name), zap.Stringer("delivery", f.id))
		e.settle(j, settlement(f, storage.StatusFailed, CodeEventMissing))
	default:
		j.result.fate, j.result.wait = fateAgain, loadAgain
		if e.ctx.Err() == nil {
			f.snap.Logger.Error("reading an event", zap.Stringer("delivery", f.id), zap.Error(err))
		}
	}
	return nil, false
}

// settle records what became of a flight. The slot is kept until that is
// durable: while nothing can be recorded, nothing more is sent.
func (e *Engine) settle(j *job, s storage.Settlement) {
	f := &j.flight
	if s.Status == storage.StatusPending && f.cancelled(e) {
		s.Status, s.Code, s.NextAttemptAt = storage.StatusCancelled, CodeCancelled, time.Time{}
		if s.Attempt != nil {
			s.Attempt.NextAttemptAt = time.Time{}
		}
	}
	j.one[0] = s
	wait := settleAgain
	for {
		err := e.outbox.Settle(context.Background(), j.one[:])
		switch {
		case err == nil:
			e.settled(j)
			return
		case errors.Is(err, storage.ErrClaimLost), errors.Is(err, storage.ErrNotFound):
			j.result.fate = fateForgotten
			return
		case isFatal(err):
			e.fail(err)
			j.result.fate = fateForgotten
			return
		}
		if wait == settleAgain {
			f.snap.Logger.Error("recording an attempt; no other is made in its place until it is recorded",
				zap.String("endpoint", f.q.name), zap.Stringer("delivery", f.id), zap.Error(err))
		}
		if !e.pause(wait) {
			j.result.fate = fateForgotten
			return
		}
		wait = min(2*wait, settleSlowest)
	}
}

// pause waits, and says whether the engine still runs.
func (e *Engine) pause(wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-e.ctx.Done():
		return false
	}
}

// settled tells everybody what was recorded.
func (e *Engine) settled(j *job) {
	f, s := &j.flight, &j.one[0]
	j.result.fate, j.result.at = fateFinished, e.now()
	if s.Attempt != nil {
		f.attempts++
	}
	if s.Status == storage.StatusPending {
		j.result.fate = fatePending
		f.at = s.NextAttemptAt.UnixMilli()
	} else {
		attempts := int(f.attempts)
		f.snap.Observer.DeliveryDone(Done{
			Endpoint: f.q.name, DeliveryID: f.id, EventID: j.message.EventID, Type: j.message.Type,
			Status: string(s.Status), Code: s.Code, Attempts: attempts, Latency: max(j.result.at.Sub(f.id.Time()), 0),
		})
	}
}

// cancelled says whether an operator gave the delivery up meanwhile.
func (f *flight) cancelled(e *Engine) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return f.cancel
}
