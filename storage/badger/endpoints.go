package badger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// endpointFile keeps the states of endpoints in a file of its own, replaced
// as a whole: there are few, and they seldom change.
type endpointFile struct {
	// writing is held while the file is replaced, mu never over I/O.
	writing sync.Mutex
	mu      sync.Mutex
	states  map[string]storage.EndpointState
	changes int
}

// number is how many changes there were.
func (f *endpointFile) number() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changes
}

// endpointStates is what the file holds. The state of the outbox knows the
// number of changes, too: without it, a file that is gone would look as if no
// endpoint were paused.
type endpointStates struct {
	Changes   int                      `json:"changes"`
	Endpoints map[string]endpointState `json:"endpoints"`
}

// endpointState is the form in the file.
type endpointState struct {
	Paused       bool      `json:"paused,omitempty"`
	Reason       string    `json:"reason,omitempty"`
	Since        time.Time `json:"since,omitzero"`
	FailingSince time.Time `json:"failing_since,omitzero"`
}

func (o *Outbox) endpointsPath() string { return filepath.Join(o.dir, "ENDPOINTS") }

// loadEndpoints reads the file; loss says that states are missing of which the
// outbox's own knows.
func (o *Outbox) loadEndpoints(st state) (loss, err error) {
	path := o.endpointsPath()
	kept, loss, err := readEndpoints(path)
	switch {
	case loss != nil && o.lossy:
		err = setAside(path)
	case loss == nil && err == nil && kept.Changes < st.Endpoints:
		loss = fmt.Errorf("%s has %d changes of endpoints instead of %d", path, kept.Changes, st.Endpoints)
	}
	o.states.changes = kept.Changes
	o.states.states = make(map[string]storage.EndpointState, len(kept.Endpoints))
	for name, s := range kept.Endpoints {
		o.states.states[name] = storage.EndpointState(s)
	}
	return loss, err
}

// readEndpoints reads what is kept about endpoints, which may be nothing yet.
func readEndpoints(path string) (kept endpointStates, damage, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return kept, nil, nil
	}
	if err != nil {
		return kept, nil, fmt.Errorf("reading the states of endpoints: %w", err)
	}
	if text, whole := cutChecksum(b); !whole || json.Unmarshal(text, &kept) != nil {
		return endpointStates{}, fmt.Errorf("reading %s: %w", path, errDamaged), nil
	}
	return kept, nil, nil
}

// SetEndpointState implements storage.Outbox.
func (o *Outbox) SetEndpointState(ctx context.Context, endpoint string, s storage.EndpointState) error {
	if err := o.enter(); err != nil {
		return err
	}
	defer o.gate.RUnlock()
	if err := o.ready(ctx); err != nil {
		return err
	}
	if !o.makeRoom(slack) {
		return storage.ErrFull
	}
	o.states.writing.Lock()
	defer o.states.writing.Unlock()
	o.states.mu.Lock()
	next, changes := maps.Clone(o.states.states), o.states.changes+1
	o.states.mu.Unlock()
	s.Since, s.FailingSince = plainTime(s.Since), plainTime(s.FailingSince)
	if s == (storage.EndpointState{}) {
		delete(next, endpoint)
	} else {
		next[strings.Clone(endpoint)] = s
	}
	kept := endpointStates{Changes: changes, Endpoints: make(map[string]endpointState, len(next))}
	for name, s := range next {
		kept.Endpoints[name] = endpointState(s)
	}
	b, err := json.MarshalIndent(kept, "", "\t")
	if err == nil {
		err = o.replaceFile(o.endpointsPath(), withChecksum(b))
	}
	if err != nil {
		return fmt.Errorf("keeping the state of endpoint %s: %w", endpoint, err)
	}
	o.states.mu.Lock()
	o.states.states, o.states.changes = next, changes
	o.states.mu.Unlock()
	return nil
}

// plainTime is the time as the file gives it back.
func plainTime(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.Round(0).UTC()
}

// EndpointStates implements storage.Outbox.
func (o *Outbox) EndpointStates(ctx context.Context) (map[string]storage.EndpointState, error) {
	if err := o.enter(); err != nil {
		return nil, err
	}
	defer o.gate.RUnlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	o.states.mu.Lock()
	defer o.states.mu.Unlock()
	return maps.Clone(o.states.states), nil
}
