package module

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
)

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
	// is tried again; other codes end it. Network errors and timeouts always
	// are tried again. Default: `3xx`, `408`, `425`, `429`, `5xx`.
	OnStatus []string `json:"on_status,omitempty"`
}

// Backoff is an exponential wait.
type Backoff struct {
	// The wait after the first attempt.
	Initial caddy.Duration `json:"initial,omitempty"`

	// The greatest wait.
	Max caddy.Duration `json:"max,omitempty"`

	// By what the wait grows with each attempt, 1 to 100. Default: 2.
	Factor float64 `json:"factor,omitempty"`
}

// defaultSchedule and defaultAttempts are the recommendation of Standard
// Webhooks 1.0.0.
var defaultSchedule = []time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
	10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

const (
	defaultAttempts = 10
	defaultJitter   = 0.2
	defaultFactor   = 2
	defaultMaxAge   = 4 * 24 * time.Hour
)

// check finds what is wrong with the settings.
func (r *Retry) check() error {
	if r == nil {
		return nil
	}
	if r.MaxAttempts < 0 {
		return in(errNegative, "max_attempts")
	}
	for i, w := range r.Schedule {
		if w <= 0 {
			return in(errors.New("a wait must be positive"), "schedule", index(i))
		}
	}
	if r.Backoff != nil && len(r.Schedule) > 0 {
		return in(errors.New("there is a schedule as well: use one of them"), "backoff")
	}
	if err := r.Backoff.check(); err != nil {
		return in(err, "backoff")
	}
	if j := r.Jitter; j != nil && !(*j >= 0 && *j <= 1) { // also refuses NaN
		return in(fmt.Errorf("%v is not between 0 and 1", *j), "jitter")
	}
	if r.MaxAge < 0 {
		return in(errNegative, "max_age")
	}
	for i, s := range r.OnStatus {
		if _, err := delivery.ParseStatusSet([]string{s}); err != nil {
			return in(err, "on_status", index(i))
		}
	}
	return nil
}

func (b *Backoff) check() error {
	switch {
	case b == nil:
		return nil
	case b.Initial <= 0 || b.Max <= 0:
		return errors.New("the initial and the greatest wait must be positive")
	case b.Initial > b.Max:
		return errors.New("the initial wait is above the greatest one")
	case b.Factor != 0 && !(b.Factor >= 1 && b.Factor <= 100):
		return fmt.Errorf("the factor %v is not between 1 and 100", b.Factor)
	}
	return nil
}

// merge fills what r does not say with what defaults say. Schedule and
// backoff are one choice: who makes it does not inherit the other.
func (r *Retry) merge(defaults *Retry) *Retry {
	switch {
	case r == nil:
		return defaults
	case defaults == nil:
		return r
	}
	m := *r
	m.MaxAttempts = cmp.Or(m.MaxAttempts, defaults.MaxAttempts)
	if len(m.Schedule) == 0 && m.Backoff == nil {
		m.Schedule, m.Backoff = defaults.Schedule, defaults.Backoff
	}
	m.Jitter = cmp.Or(m.Jitter, defaults.Jitter)
	m.MaxAge = cmp.Or(m.MaxAge, defaults.MaxAge)
	if len(m.OnStatus) == 0 {
		m.OnStatus = defaults.OnStatus
	}
	return &m
}

// policy returns the settings, which passed check, with the built-in defaults
// filled in.
func (r *Retry) policy() (delivery.RetryPolicy, error) {
	if r == nil {
		r = new(Retry)
	}
	p := delivery.RetryPolicy{
		MaxAttempts: cmp.Or(r.MaxAttempts, defaultAttempts),
		Schedule:    defaultSchedule,
		Jitter:      defaultJitter,
		MaxAge:      cmp.Or(time.Duration(r.MaxAge), defaultMaxAge),
	}
	if r.Jitter != nil {
		p.Jitter = *r.Jitter
	}
	switch {
	case len(r.Schedule) > 0:
		p.MaxAttempts = cmp.Or(r.MaxAttempts, len(r.Schedule)+1)
		p.Schedule = make([]time.Duration, len(r.Schedule))
		for i, w := range r.Schedule {
			p.Schedule[i] = time.Duration(w)
		}
	case r.Backoff != nil:
		p.Schedule = nil
		p.Backoff = delivery.Backoff{
			Initial: time.Duration(r.Backoff.Initial),
			Max:     time.Duration(r.Backoff.Max),
			Factor:  cmp.Or(r.Backoff.Factor, defaultFactor),
		}
	}
	if len(r.OnStatus) == 0 {
		p.OnStatus = delivery.DefaultOnStatus()
		return p, nil
	}
	set, err := delivery.ParseStatusSet(r.OnStatus)
	p.OnStatus = set
	return p, err
}
