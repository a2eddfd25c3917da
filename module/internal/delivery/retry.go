package delivery

import "time"

// RetryPolicy says when a delivery whose attempt failed is tried again, and
// when it is given up.
type RetryPolicy struct {
	// MaxAttempts bounds the attempts, the first one included; 1 turns
	// retries off.
	MaxAttempts int

	// Schedule holds the waits after the first, second, … attempt. Its last
	// wait repeats. It is empty where Backoff is used.
	Schedule []time.Duration

	// Backoff computes the waits where Schedule is empty.
	Backoff Backoff

	// Jitter spreads every wait evenly over ± this share of it, 0 to 1.
	Jitter float64

	// MaxAge ends a delivery this long after its acceptance.
	MaxAge time.Duration

	// OnStatus holds the status codes after which a delivery is tried again.
	// Network errors and timeouts always are; codes outside 100–599 too.
	OnStatus StatusSet
}

// Backoff is an exponential wait: Initial times Factor for each further
// attempt, at most Max.
type Backoff struct {
	Initial, Max time.Duration
	Factor       float64
}
