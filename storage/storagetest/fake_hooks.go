package storagetest

import (
	"fmt"
	"slices"

	"github.com/promptreports/caddy-webhooks/storage"
)

// FakeHooks are called by a Fake without its lock, so that they may sleep,
// call the outbox, and fail the call with an error. What a Before hook fails
// was not stored; what an After hook fails was.
type FakeHooks struct {
	BeforeAccept           func(events []storage.NewEvent) error
	AfterAccept            func(accepted []storage.Accepted) error // also after Replay
	BeforeSettle           func(settlements []storage.Settlement) error
	AfterSettle            func(settlements []storage.Settlement) error
	BeforeDue              func(endpoint string) error
	AfterDue               func(endpoint string) error
	BeforeEvent            func(key storage.EventKey) error
	BeforeSetEndpointState func(endpoint string, state storage.EndpointState) error
}

// SetHooks replaces the hooks.
func (f *Fake) SetHooks(hooks FakeHooks) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hooks = hooks
}

func (f *Fake) hook() FakeHooks {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hooks
}

// SetFull makes Accept and Replay answer storage.ErrFull, or work again.
func (f *Fake) SetFull(full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.full = full
}

// Poison makes the outbox behave as after a failed sync: writes answer
// storage.ErrFailed until Restart.
func (f *Fake) Poison(cause error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.poison == nil {
		f.poison = cause
		close(f.failed)
	}
}

// Violations lists what no correct engine does to its outbox.
func (f *Fake) Violations() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.violations)
}

// inspect notes a settlement that no correct engine makes. The caller holds
// the lock.
func (f *Fake) inspect(d *fakeDelivery, s *storage.Settlement) {
	if d.Status != storage.StatusPending && (!d.Test || d.Attempts > 0) {
		f.violate("%s was settled as %s when it was %s", d.ID, s.Status, d.Status)
	}
	if s.Attempt != nil && s.Attempt.Number != d.Attempts+1 {
		f.violate("%s got attempt number %d after %d attempts", d.ID, s.Attempt.Number, d.Attempts)
	}
	switch s.Status {
	case storage.StatusPending:
		if s.NextAttemptAt.IsZero() {
			f.violate("%s is pending without a next attempt", d.ID)
		}
	case storage.StatusDelivered, storage.StatusFailed, storage.StatusCancelled:
	default:
		f.violate("%s was settled as %q", d.ID, s.Status)
	}
}

func (f *Fake) violate(format string, args ...any) {
	f.violations = append(f.violations, fmt.Sprintf(format, args...))
}
