package delivery

import (
	"time"
)

// EndpointStatus describes an endpoint to people and programs.
type EndpointStatus struct {
	// Name is the endpoint's name.
	Name string

	// Health is Paused where the endpoint is paused by the configuration, by
	// an operator or by itself, whatever else is true of it.
	Health EndpointHealth

	// Reason says why the endpoint is not healthy: "configuration",
	// "operator" or "gone" where it is paused, the code of the last attempt
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

	// NextProbe is when a failing endpoint is tried next, or zero.
	NextProbe time.Time

	// HeldUntil is the end of the time for which the receiver asked to be
	// left alone, or zero.
	HeldUntil time.Time
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
