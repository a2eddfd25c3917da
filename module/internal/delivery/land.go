package delivery

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/storage"
)

// land takes a flight's delivery back into its queue, or forgets it, and
// draws the conclusions for the endpoint. The caller holds the lock, which is
// given up where the conclusions must be kept.
func (e *Engine) land(j *job) {
	f, q, d := &j.flight, j.flight.q, &e.dispatch
	now := e.clock()
	before, _ := q.healthNow()
	e.unpin(&f.item)
	e.learn(j, now)
	q.land(f)
	if q.links.where == inThrottled {
		d.least = min(d.least, q.inFlight)
	}
	switch j.result.fate {
	case fatePending, fateAgain:
		f.due = now + j.result.wait
		switch {
		case !q.serves():
			q.lower(f.position())
		case j.result.front && q.win.len() < q.size:
			q.win.pushFront(f.item)
		default:
			q.put(f.item, now, e.unpin)
		}
	case fateFinished, fateForgotten:
	}
	after, reason := q.healthNow()
	e.refresh(q, now) // this worker takes next, so no other is woken
	keep := q.unsaved
	q.unsaved = false
	if keep || j.noteworthy() {
		e.mu.Unlock()
		e.report(j, before, after, reason)
		if keep {
			e.keepState(q)
		}
		e.mu.Lock()
	}
	// Only now is the slot free: whatever waits for the end of all attempts
	// must find everything recorded.
	d.inFlight--
	e.checkDrained()
	j.forget()
}

// learn draws the conclusions from an attempt.
func (e *Engine) learn(j *job, now time.Duration) {
	f, q, r := &j.flight, j.flight.q, &j.result
	if r.at.IsZero() {
		r.at = e.now()
	}
	if r.hold > 0 {
		q.holdUntil = max(q.holdUntil, now+r.hold)
	}
	switch {
	case r.tried && r.sick:
		q.recent.failure, q.recent.code = r.at, j.outcome.Attempt.Code
		if q.health.failed(now, q.recent.failure, f.probe, f.id.Event(), e.rand()) {
			q.recent.changed = q.recent.failure
			q.state.FailingSince, q.unsaved = q.health.since, true
			q.win.each(e.unpin)
		}
	case r.tried:
		q.recent.code = j.outcome.Attempt.Code
		succeeded := j.outcome.Attempt.Verdict == VerdictSuccess
		if succeeded {
			q.recent.success = r.at
		} else {
			q.recent.failure = r.at
		}
		switch {
		case q.health.failing && !succeeded:
			if f.probe {
				q.health.refused(now, e.rand())
			}
		case q.health.answered(now, f.config.MaxInFlight):
			q.recent.changed = e.now()
			q.state.FailingSince, q.unsaved = time.Time{}, true
		}
	case f.probe:
		q.health.probing = false
	}
	if r.panicked && f.probe {
		q.health.schedule(now, e.rand())
	}
	switch {
	case r.gone && !q.state.Paused:
		q.suspend(reasonGone, e.now(), e.unpin)
	case r.sick && q.serves() && q.health.lasted(now, q.config.DisableAfter):
		q.suspend(reasonDisabled, e.now(), e.unpin)
	}
}

// noteworthy says whether a flight is worth a line in the log.
func (j *job) noteworthy() bool {
	return j.result.tried && j.outcome.Attempt.Verdict != VerdictSuccess
}

// report logs a flight and tells the observer what changed.
func (e *Engine) report(j *job, before, after EndpointHealth, reason string) {
	f := &j.flight
	if after != before {
		f.snap.Observer.EndpointChanged(f.q.name, before, after, reason)
	}
	e.mu.Lock()
	line := j.noteworthy() && f.q.recent.logs.take(e.clock())
	change := after != before && (f.q.recent.logs.takeChange(e.clock()) || after == Paused) // which somebody must end
	since := f.q.state.FailingSince
	e.mu.Unlock()
	if line {
		j.logFailure()
	}
	if !change {
		return
	}
	fields := []zap.Field{
		zap.String("endpoint", f.q.name),
		zap.String("from", string(before)), zap.String("to", string(after)), zap.String("reason", reason),
	}
	if !since.IsZero() {
		fields = append(fields, zap.Time("failing_since", since))
	}
	if after == Paused {
		f.snap.Logger.Warn("an endpoint is paused; its deliveries wait until an operator resumes it", fields...)
		return
	}
	f.snap.Logger.Warn("an endpoint changed", fields...)
}

// logFailure logs an attempt that failed.
func (j *job) logFailure() {
	f, a := &j.flight, &j.outcome.Attempt
	fields := []zap.Field{
		zap.String("endpoint", f.q.name), zap.Stringer("delivery", f.id), zap.String("event", j.message.EventID),
		zap.Int("attempt", a.Number), zap.String("verdict", a.Verdict), zap.String("code", a.Code),
		zap.Int("status_code", a.StatusCode), zap.Duration("duration", a.Duration),
		zap.String("delivery_status", string(j.one[0].Status)),
	}
	if !a.NextAttemptAt.IsZero() {
		fields = append(fields, zap.Time("next_attempt_at", a.NextAttemptAt))
	}
	f.snap.Logger.Warn("an attempt failed", fields...)
}

// forget lets go of what a flight held in memory.
func (j *job) forget() {
	j.flight, j.message, j.outcome = flight{}, Message{}, Outcome{}
	j.one[0] = storage.Settlement{}
}

// keepState writes an endpoint's state to the outbox. Where that fails, it is
// tried again after the next attempt.
func (e *Engine) keepState(q *queue) {
	e.saving <- struct{}{}
	defer func() { <-e.saving }()
	e.mu.Lock()
	state := q.state
	e.mu.Unlock()
	err := e.outbox.SetEndpointState(context.Background(), q.name, state)
	if err == nil {
		return
	}
	e.mu.Lock()
	q.unsaved = true
	line := q.recent.logs.take(e.clock())
	e.mu.Unlock()
	if line {
		e.logger().Error("recording the state of an endpoint", zap.String("endpoint", q.name), zap.Error(err))
	}
}

// logBudget bounds the lines about one endpoint: at most linesPerHour about
// attempts and changesPerHour about its health, in any hour by the clock.
type logBudget struct {
	hour           int64
	lines, changes int
}

const (
	linesPerHour   = 50
	changesPerHour = 30
)

func (b *logBudget) turn(now time.Duration) {
	if hour := int64(now/time.Hour) + 1; hour != b.hour {
		*b = logBudget{hour: hour}
	}
}

// take says whether a line about an attempt may be logged.
func (b *logBudget) take(now time.Duration) bool {
	b.turn(now)
	b.lines++
	return b.lines <= linesPerHour
}

// takeChange says whether a line about the endpoint's health may be logged.
func (b *logBudget) takeChange(now time.Duration) bool {
	b.turn(now)
	b.changes++
	return b.changes <= changesPerHour
}
