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
}

// endpointState is the form in the file.
type endpointState struct {
	Paused       bool      `json:"paused,omitempty"`
	Reason       string    `json:"reason,omitempty"`
	Since        time.Time `json:"since,omitzero"`
	FailingSince time.Time `json:"failing_since,omitzero"`
}

func (o *Outbox) endpointsPath() string { return filepath.Join(o.dir, "ENDPOINTS") }

func (o *Outbox) loadEndpoints() error {
	kept := map[string]endpointState{}
	b, err := os.ReadFile(o.endpointsPath())
	if err == nil {
		err = json.Unmarshal(b, &kept)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("reading %s: %w", o.endpointsPath(), err)
	}
	o.states.states = make(map[string]storage.EndpointState, len(kept))
	for name, s := range kept {
		o.states.states[name] = storage.EndpointState(s)
	}
	return nil
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
	o.states.writing.Lock()
	defer o.states.writing.Unlock()
	o.states.mu.Lock()
	next := maps.Clone(o.states.states)
	o.states.mu.Unlock()
	s.Since, s.FailingSince = plainTime(s.Since), plainTime(s.FailingSince)
	if s == (storage.EndpointState{}) {
		delete(next, endpoint)
	} else {
		next[strings.Clone(endpoint)] = s
	}
	kept := make(map[string]endpointState, len(next))
	for name, s := range next {
		kept[name] = endpointState(s)
	}
	b, err := json.MarshalIndent(kept, "", "\t")
	if err == nil {
		err = replaceFile(o.endpointsPath(), append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("keeping the state of endpoint %s: %w", endpoint, err)
	}
	o.states.mu.Lock()
	o.states.states = next
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
