package delivery

import (
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// EndpointStatus describes an endpoint to people and programs.
type EndpointStatus struct {
	// Name is the endpoint's name.
	Name string

	// Health is Paused where the endpoint is paused by the configuration, by
	// an operator or by itself, whatever else is true of it.
	Health EndpointHealth

	// Reason says why the endpoint is not healthy: "configuration",
	// "operator", "gone" or "disabled" where it is paused, the code of the last attempt
	// where it is failing. It is empty where the endpoint is healthy.
	Reason string

	// Since is when Health began, or zero where that is unknown.
	Since time.Time

	// Pending is the number of pending deliveries, those in flight included.
	Pending int

	// OldestPending is a lower bound of the acceptance time of the oldest
	// pending delivery, or zero.
	OldestPending time.Time

	// InFlight is the number of attempts under way.
	InFlight int

	// Limit is how many attempts may be under way now: the endpoint's
	// MaxInFlight, less while it recovers, 1 while it fails, 0 while it is
	// paused.
	Limit int

	// LastSuccess and LastFailure are when the last such attempt ended since
	// the process started, or zero.
	LastSuccess, LastFailure time.Time

	// LastCode is the code of the last attempt, or empty.
	LastCode string

	// FailingSince is when the failure began that is going on, or zero. It is
	// known also where the endpoint is paused.
	FailingSince time.Time

	// DisableAt is from when on an attempt that fails pauses the endpoint, or
	// zero where it is not failing, is paused, or is never disabled.
	DisableAt time.Time

	// NextProbe is when a failing endpoint is tried next, or zero.
	NextProbe time.Time

	// HeldUntil is the end of the time for which the receiver asked to be
	// left alone, or zero.
	HeldUntil time.Time

	// RateLimitedUntil is when the rate limit lets the next attempt start, or
	// zero where it lets one start now.
	RateLimitedUntil time.Time
}

// State is what an engine does.
type State string

// The states of an engine.
const (
	// StateRunning: deliveries are sent.
	StateRunning State = "running"

	// StateIdle: no configuration is attached; events are accepted and wait.
	StateIdle State = "idle"

	// StateStopping: no attempt is started any more.
	StateStopping State = "stopping"

	// StateFailed: the outbox failed; nothing is accepted or sent.
	StateFailed State = "failed"

	// StateClosed: the engine is closed.
	StateClosed State = "closed"
)

// Status describes an engine.
type Status struct {
	State State

	// Err is why the outbox failed, where State is StateFailed.
	Err error

	// Pending is the number of pending deliveries, those in flight and those
	// that are orphaned included.
	Pending int

	// Orphaned is the number of pending deliveries whose endpoint is not
	// configured.
	Orphaned int

	// OldestPending is a lower bound of the acceptance time of the oldest
	// pending delivery, or zero.
	OldestPending time.Time

	// InFlight is the number of attempts under way, tests not included.
	InFlight int

	// Healthy, Failing and Paused count the configured endpoints.
	Healthy, Failing, Paused int
}

// Endpoint returns the status of a configured endpoint.
func (e *Engine) Endpoint(name string) (EndpointStatus, bool) {
	pending := e.outbox.Pending()[name]
	e.mu.Lock()
	defer e.mu.Unlock()
	q := e.queues[name]
	if q == nil || q.config == nil {
		return EndpointStatus{}, false
	}
	return e.describe(q, pending), true
}

// Endpoints returns the status of every configured endpoint, sorted by name.
func (e *Engine) Endpoints() []EndpointStatus {
	b := e.current.Load()
	if b == nil {
		return nil
	}
	pending := e.outbox.Pending()
	e.mu.Lock()
	defer e.mu.Unlock()
	statuses := make([]EndpointStatus, 0, len(b.queues))
	for _, q := range b.queues {
		if q.config != nil { // a reload may have come between
			statuses = append(statuses, e.describe(q, pending[q.name]))
		}
	}
	return statuses
}

// describe makes the status of an endpoint. The caller holds the lock.
func (e *Engine) describe(q *queue, pending storage.PendingCount) EndpointStatus {
	now, wall := e.clock(), e.now()
	s := EndpointStatus{
		Name: q.name, Since: q.recent.changed, Pending: pending.Count, OldestPending: pending.Oldest,
		InFlight: q.inFlight, Limit: q.limit(),
		LastSuccess: q.recent.success, LastFailure: q.recent.failure, LastCode: q.recent.code,
	}
	s.Health, s.Reason = q.healthNow()
	if q.health.failing {
		s.FailingSince = q.health.since
	}
	if s.Health == Failing {
		s.NextProbe = wall.Add(max(q.health.nextProbe-now, 0))
		if after := q.config.DisableAfter; after > 0 {
			s.DisableAt = wall.Add(max(after-(now-q.health.sinceAt), 0))
		}
	}
	if at := q.freeAt(); at > now {
		s.RateLimitedUntil = wall.Add(at - now)
	}
	if q.holdUntil > now {
		s.HeldUntil = wall.Add(q.holdUntil - now)
	}
	return s
}

// Status returns the status of the engine.
func (e *Engine) Status() Status {
	pending := e.outbox.Pending()
	e.mu.Lock()
	defer e.mu.Unlock()
	s := Status{State: StateRunning, InFlight: e.dispatch.inFlight}
	switch failed := e.failed(); {
	case e.closed.Load():
		s.State = StateClosed
	case failed:
		s.State = StateFailed
	case e.stopping:
		s.State = StateStopping
	case len(e.leases) == 0:
		s.State = StateIdle
	}
	s.Err = e.failure
	for name, p := range pending {
		s.Pending += p.Count
		if q := e.queues[name]; q == nil || q.config == nil {
			s.Orphaned += p.Count
		}
		if s.OldestPending.IsZero() || (!p.Oldest.IsZero() && p.Oldest.Before(s.OldestPending)) {
			s.OldestPending = p.Oldest
		}
	}
	for _, q := range e.queues {
		if q.config == nil {
			continue
		}
		switch health, _ := q.healthNow(); health {
		case Healthy:
			s.Healthy++
		case Failing:
			s.Failing++
		case Paused:
			s.Paused++
		}
	}
	return s
}
