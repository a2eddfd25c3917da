package delivery

import (
	"context"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// The codes of deliveries that ended without an attempt that says why, and of
// attempts that never reached the wire.
const (
	// CodeExpired: the delivery outlived its endpoint's max_age.
	CodeExpired = "expired"

	// CodeCancelled: an operator gave the delivery up.
	CodeCancelled = "cancelled"

	// CodePanic: the attempt failed by a fault of the program.
	CodePanic = "panic"

	// CodeEventMissing: the outbox has the delivery but not its event.
	CodeEventMissing = "event_missing"
)

// fate says what becomes of a flight in memory.
type fate uint8

const (
	// fateForgotten: the outbox will know, or somebody else does.
	fateForgotten fate = iota

	// fateFinished: the delivery has a final status.
	fateFinished

	// fatePending: the delivery was rescheduled in the outbox.
	fatePending

	// fateAgain: nothing was recorded; the delivery is due again after wait.
	fateAgain
)

// result is what a flight came to.
type result struct {
	fate     fate
	at       time.Time // by the wall clock, where anything was recorded
	wait     time.Duration
	panicked bool
	gone     bool

	// front says that the delivery stays the next to be sent.
	front bool
	hold  time.Duration

	// tried says that an attempt was made that tells of the endpoint's
	// health, and sick that it tells nothing good.
	tried, sick bool
}

// settlement makes the settlement of a flight without an attempt.
func settlement(f *flight, status storage.Status, code string) storage.Settlement {
	return storage.Settlement{Delivery: f.id, Status: status, Code: code}
}

// judge decides what becomes of a delivery after an attempt.
func (e *Engine) judge(j *job) storage.Settlement {
	f, a := &j.flight, &j.outcome.Attempt
	s := storage.Settlement{Delivery: f.id, Attempt: a, Status: storage.StatusFailed, Code: a.Code}
	a.NextAttemptAt = time.Time{}
	if a.Verdict == VerdictRetry && a.StatusCode == 0 && e.ctx.Err() != nil {
		a.Verdict, a.Code = VerdictInterrupted, CodeInterrupted
	}
	switch a.Verdict {
	case VerdictSuccess:
		s.Status = storage.StatusDelivered
	case VerdictPermanent:
		j.result.gone = j.outcome.Gone
	case VerdictInterrupted:
		s.Code = a.Code
		e.stay(f, &s)
	default:
		e.judgeFailure(j, &s)
	}
	j.result.tried = a.Verdict != VerdictInterrupted && !j.result.panicked
	j.result.sick = j.result.tried && a.Verdict == VerdictRetry && (f.probe || isSick(a.StatusCode))
	return s
}

// isSick says whether an answer, or none at all, tells that the receiver does
// not work, rather than that it does not like what it got.
func isSick(status int) bool { return status == 0 || status == 429 || status >= 500 }

// stay leaves a delivery where it is among those that are due: the attempt
// used up nothing.
func (e *Engine) stay(f *flight, s *storage.Settlement) {
	s.Status = storage.StatusPending
	s.NextAttemptAt = time.UnixMilli(f.at)
	s.Attempt.NextAttemptAt = s.NextAttemptAt
}

// judgeFailure decides whether and when a delivery is tried again.
func (e *Engine) judgeFailure(j *job, s *storage.Settlement) {
	f, policy := &j.flight, &j.flight.config.Retry
	j.result.hold = min(j.outcome.RetryAfter, maxHold)
	if f.panics >= mostPanics {
		return
	}
	if f.probe && policy.MaxAttempts > 1 && !j.result.panicked {
		if e.outlives(j, 0) {
			s.Code = CodeExpired
			return
		}
		f.probes++
		j.result.front = f.probes%failingEvents != 0
		e.stay(f, s)
		return
	}
	e.learnSpent(f)
	f.spent++
	if int(f.spent) >= policy.MaxAttempts {
		return
	}
	wait := max(policy.wait(int(f.spent), e.rand()), j.result.hold).Round(time.Millisecond)
	if e.outlives(j, wait) {
		s.Code = CodeExpired
		return
	}
	j.result.wait = wait
	s.Status = storage.StatusPending
	s.NextAttemptAt = time.UnixMilli(e.now().Add(wait).UnixMilli())
	s.Attempt.NextAttemptAt = s.NextAttemptAt
}

// outlives says whether a delivery will be too old after the wait. The id of a
// replay may tell the age of its event, so the outbox is asked before a
// delivery is ended.
func (e *Engine) outlives(j *job, wait time.Duration) bool {
	f := &j.flight
	age, then := f.config.Retry.MaxAge, e.agingClock(e.clock()).Add(wait)
	if age <= 0 || f.young || then.Sub(f.id.Time()) <= age {
		return false
	}
	d, _, err := e.outbox.Delivery(context.Background(), f.id)
	if err != nil {
		return true
	}
	j.message.EventID, j.message.Type = d.EventID, d.Type
	f.young = then.Sub(d.CreatedAt) <= age
	return !f.young
}

// learnSpent finds out how many attempts used up a step of the schedule, where
// the delivery comes from the outbox. Those that did not left the delivery due
// at once.
func (e *Engine) learnSpent(f *flight) {
	if f.spent != unknownSpent {
		return
	}
	f.spent = f.attempts
	_, attempts, err := e.outbox.Delivery(context.Background(), f.id)
	if err != nil {
		return // too many, rather than attempts without end
	}
	f.spent = 0
	for i := range attempts {
		if a := &attempts[i]; a.NextAttemptAt.After(a.StartedAt.Add(a.Duration)) {
			f.spent++
		}
	}
}
