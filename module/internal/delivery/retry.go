package delivery

import (
	"math"
	"time"
)

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

// step returns the wait after the spent-th attempt, counted from 1, before it
// is jittered.
func (p *RetryPolicy) step(spent int) time.Duration {
	spent = max(spent, 1)
	if n := len(p.Schedule); n > 0 {
		return p.Schedule[min(spent, n)-1]
	}
	wait := float64(p.Backoff.Initial) * math.Pow(max(p.Backoff.Factor, 1), float64(spent-1))
	if wait >= float64(p.Backoff.Max) { // also where it overflows
		return p.Backoff.Max
	}
	return time.Duration(wait)
}

// wait returns the wait after the spent-th attempt, counted from 1. random is
// in [0, 1).
func (p *RetryPolicy) wait(spent int, random float64) time.Duration {
	step := p.step(spent)
	return step + time.Duration(float64(step)*p.Jitter*(2*random-1))
}

// longest returns the longest time for which a delivery can have to wait, with
// jitter or because the receiver asked for it. Whatever is due later than that
// was written by a clock that has jumped since.
func (p *RetryPolicy) longest() time.Duration {
	longest := maxHold
	if len(p.Schedule) == 0 {
		longest = max(longest, p.jittered(p.Backoff.Max))
	}
	for _, step := range p.Schedule {
		longest = max(longest, p.jittered(step))
	}
	return longest
}

func (p *RetryPolicy) jittered(step time.Duration) time.Duration {
	return step + time.Duration(float64(step)*p.Jitter)
}

// maxHold bounds the time for which a receiver can ask to be left alone.
const maxHold = time.Hour
