package module

import "github.com/caddyserver/caddy/v2"

// Retry says when a failed delivery is tried again, and when it is given up.
type Retry struct {
	// How many attempts a delivery gets, the first one included; 1 turns
	// retries off. Default: one more than the waits of `schedule`; 10 with
	// `backoff`.
	MaxAttempts int `json:"max_attempts,omitempty"`

	// The waits after the first, second, … attempt. The last one repeats.
	// Default: `5s 5m 30m 2h 5h 10h 14h 20h 24h`.
	Schedule []caddy.Duration `json:"schedule,omitempty"`

	// Waits that grow by a factor, instead of `schedule`.
	Backoff *Backoff `json:"backoff,omitempty"`

	// How far every wait is spread at random: evenly over ± this share of it,
	// 0 to 1. Default: 0.2.
	Jitter *float64 `json:"jitter,omitempty"`

	// How long after its acceptance an event is given up. Default: `4d`.
	MaxAge caddy.Duration `json:"max_age,omitempty"`

	// The HTTP status codes (`503`) and classes (`5xx`) after which a delivery
	// is tried again. Network errors and timeouts always are. Default: `3xx`,
	// `408`, `425`, `429`, `5xx`.
	OnStatus []string `json:"on_status,omitempty"`
}

// Backoff is an exponential wait.
type Backoff struct {
	// The wait after the first attempt.
	Initial caddy.Duration `json:"initial,omitempty"`

	// The greatest wait.
	Max caddy.Duration `json:"max,omitempty"`

	// By what the wait grows with each attempt, at least 1. Default: 2.
	Factor float64 `json:"factor,omitempty"`
}
