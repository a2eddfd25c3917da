package storagetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// FakeOptions configures a Fake. The zero value is useful.
type FakeOptions struct {
	// Now is the wall clock; time.Now where it is nil.
	Now func() time.Time

	// MaxPending is the greatest number of pending deliveries; above it
	// Accept answers storage.ErrBacklogFull. Zero admits any number.
	MaxPending int

	// MaxCommit is the greatest number of deliveries in one Accept call;
	// above it Accept answers storage.ErrTooLarge. Zero admits any number.
	MaxCommit int

	// Hooks inject delays and failures.
	Hooks FakeHooks
}

// Fake is an outbox in memory for tests. It honours every obligation of
// storage.Outbox except durability, starts no goroutines and makes no system
// calls, so that it works in a bubble of testing/synctest.
//
// It also watches its caller: what no correct engine does, such as settling a
// finished delivery again or skipping an attempt number, is kept for
// Violations.
type Fake struct {
	opts FakeOptions

	mu         sync.Mutex
	hooks      FakeHooks
	data       *fakeData
	closed     bool
	full       bool
	poison     error
	failed     chan struct{}
	violations []string
}

// fakeData is what outlives a restart.
type fakeData struct {
	lastMilli  int64
	seq        uint32
	events     map[storage.EventKey]*storage.Event
	byID       map[string]*fakeID
	deliveries map[storage.DeliveryID]*fakeDelivery
	order      []storage.DeliveryID // ascending
	queues     map[string]*fakeQueue
	states     map[string]storage.EndpointState
	pending    int
	bytes      int64
}

// fakeID is what is kept about a public event id.
type fakeID struct {
	hash     [sha256.Size]byte
	first    storage.EventKey
	newest   storage.EventKey
	accepted storage.Accepted
}

// fakeDelivery is a delivery with its attempts.
type fakeDelivery struct {
	storage.Delivery
	attempts []storage.Attempt
}

// NewFake makes an empty outbox.
func NewFake(opts FakeOptions) *Fake {
	return &Fake{
		opts:   opts,
		hooks:  opts.Hooks,
		failed: make(chan struct{}),
		data: &fakeData{
			events:     make(map[storage.EventKey]*storage.Event),
			byID:       make(map[string]*fakeID),
			deliveries: make(map[storage.DeliveryID]*fakeDelivery),
			queues:     make(map[string]*fakeQueue),
			states:     make(map[string]storage.EndpointState),
		},
	}
}

// Restart closes the outbox as a crash would, and returns another over the
// same records: all that was committed is there, nothing else.
func (f *Fake) Restart() *Fake {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return &Fake{opts: f.opts, hooks: f.hooks, data: f.data, failed: make(chan struct{}), violations: f.violations}
}

func (f *Fake) now() time.Time {
	if f.opts.Now != nil {
		return f.opts.Now()
	}
	return time.Now()
}

// usable answers why a write is refused, or nil.
func (f *Fake) usable() error {
	if f.closed {
		return storage.ErrClosed
	}
	if f.poison != nil {
		return fmt.Errorf("%w: %w", storage.ErrFailed, f.poison)
	}
	return nil
}

// readable answers why a read is refused, or nil.
func (f *Fake) readable(ctx context.Context) error {
	if f.closed {
		return storage.ErrClosed
	}
	return ctx.Err()
}

// Accept implements storage.Outbox.
func (f *Fake) Accept(ctx context.Context, events []storage.NewEvent) ([]storage.Accepted, error) {
	if h := f.hook().BeforeAccept; h != nil {
		if err := h(events); err != nil {
			return nil, err
		}
	}
	accepted, err := f.accept(ctx, events)
	if err != nil {
		return nil, err
	}
	if h := f.hook().AfterAccept; h != nil {
		if err := h(slices.Clone(accepted)); err != nil {
			return nil, err
		}
	}
	return accepted, nil
}

func (f *Fake) accept(ctx context.Context, events []storage.NewEvent) ([]storage.Accepted, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fresh, err := f.checkEvents(events)
	if err != nil {
		return nil, err
	}
	answers := make([]storage.Accepted, len(events))
	for i := range events {
		if fresh[i] {
			answers[i] = f.store(&events[i], storage.DeliveryID{})
			continue
		}
		answers[i] = f.data.byID[events[i].ID].accepted
		answers[i].Duplicate = true
	}
	return answers, nil
}

// checkEvents finds which events are new, and whether the call may be
// committed as a whole.
func (f *Fake) checkEvents(events []storage.NewEvent) ([]bool, error) {
	fresh := make([]bool, len(events))
	hashes := make(map[string][sha256.Size]byte, len(events))
	var conflicts []int
	deliveries, pending := 0, 0
	for i := range events {
		e := &events[i]
		hash := digestOf(e)
		known, ok := hashes[e.ID]
		if kept := f.data.byID[e.ID]; !ok && kept != nil {
			known, ok = kept.hash, true
		}
		if ok {
			if known != hash {
				conflicts = append(conflicts, i)
			}
			continue
		}
		hashes[e.ID] = hash
		fresh[i] = true
		deliveries += len(e.Endpoints)
		if !e.Test {
			pending += len(e.Endpoints)
		}
		if len(e.Endpoints) > storage.MaxDeliveries {
			return nil, fmt.Errorf("accepting %d deliveries of one event: %w", len(e.Endpoints), storage.ErrTooLarge)
		}
	}
	if len(conflicts) > 0 {
		return nil, &storage.ConflictError{Indexes: conflicts}
	}
	if f.opts.MaxCommit > 0 && deliveries > f.opts.MaxCommit {
		return nil, storage.ErrTooLarge
	}
	if len(hashes) > 0 && f.full {
		return nil, storage.ErrFull
	}
	if f.opts.MaxPending > 0 && pending > 0 && f.data.pending+pending > f.opts.MaxPending {
		return nil, storage.ErrBacklogFull
	}
	return fresh, nil
}

// store keeps one event and its deliveries. The caller holds the lock.
func (f *Fake) store(e *storage.NewEvent, replayOf storage.DeliveryID) storage.Accepted {
	d := f.data
	milli := max(f.now().UnixMilli(), d.lastMilli)
	d.lastMilli = milli
	d.seq++
	key := storage.NewEventKey(milli, d.seq)
	at := time.UnixMilli(milli)
	ev := &storage.Event{
		Key: key, ID: strings.Clone(e.ID), Type: strings.Clone(e.Type), Body: bytes.Clone(e.Body),
		TraceParent: strings.Clone(e.TraceParent), TraceState: strings.Clone(e.TraceState),
		AcceptedAt: at, Deliveries: len(e.Endpoints), Test: e.Test,
	}
	d.events[key] = ev
	d.bytes += int64(len(e.Body))
	for i, name := range e.Endpoints {
		id := key.Delivery(i)
		dl := &fakeDelivery{Delivery: storage.Delivery{
			ID: id, EventID: ev.ID, Type: ev.Type, Endpoint: strings.Clone(name), Status: storage.StatusPending,
			Test: e.Test, CreatedAt: at, NextAttemptAt: at, ReplayOf: replayOf,
		}}
		d.deliveries[id] = dl
		d.order = append(d.order, id)
		if e.Test {
			dl.Status, dl.Code, dl.NextAttemptAt = storage.StatusFailed, storage.CodeInterrupted, time.Time{}
			continue
		}
		d.enqueue(dl)
	}
	answer := storage.Accepted{Key: key, AcceptedAt: at, Deliveries: len(e.Endpoints)}
	if kept := d.byID[ev.ID]; kept != nil {
		kept.newest = key
	} else {
		d.byID[ev.ID] = &fakeID{hash: digestOf(e), first: key, newest: key, accepted: answer}
	}
	return answer
}

// Replay implements storage.Outbox.
func (f *Fake) Replay(ctx context.Context, of storage.DeliveryID) (*storage.Delivery, error) {
	id, err := f.replay(ctx, of)
	if err != nil {
		return nil, err
	}
	if h := f.hook().AfterAccept; h != nil {
		if err := h([]storage.Accepted{{Key: id.Event(), AcceptedAt: id.Time(), Deliveries: 1}}); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.data.deliveries[id].Delivery
	return &d, nil
}

func (f *Fake) replay(ctx context.Context, of storage.DeliveryID) (storage.DeliveryID, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return storage.DeliveryID{}, err
	}
	if err := ctx.Err(); err != nil {
		return storage.DeliveryID{}, err
	}
	old := f.data.deliveries[of]
	if old == nil {
		return storage.DeliveryID{}, storage.ErrNotFound
	}
	if f.full {
		return storage.DeliveryID{}, storage.ErrFull
	}
	if f.opts.MaxPending > 0 && f.data.pending >= f.opts.MaxPending {
		return storage.DeliveryID{}, storage.ErrBacklogFull
	}
	ev := f.data.events[of.Event()]
	accepted := f.store(&storage.NewEvent{
		ID: ev.ID, Type: ev.Type, Body: ev.Body, TraceParent: ev.TraceParent, TraceState: ev.TraceState,
		Endpoints: []string{old.Endpoint},
	}, of)
	return accepted.Key.Delivery(0), nil
}

// Settle implements storage.Outbox.
func (f *Fake) Settle(ctx context.Context, settlements []storage.Settlement) error {
	if h := f.hook().BeforeSettle; h != nil {
		if err := h(settlements); err != nil {
			return err
		}
	}
	if err := f.settle(ctx, settlements); err != nil {
		return err
	}
	if h := f.hook().AfterSettle; h != nil {
		return h(settlements)
	}
	return nil
}

func (f *Fake) settle(ctx context.Context, settlements []storage.Settlement) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for i := range settlements {
		if f.data.deliveries[settlements[i].Delivery] == nil {
			return fmt.Errorf("settling %s: %w", settlements[i].Delivery, storage.ErrNotFound)
		}
	}
	for i := range settlements {
		f.apply(&settlements[i])
	}
	return nil
}

// apply changes one delivery. The caller holds the lock.
func (f *Fake) apply(s *storage.Settlement) {
	d := f.data.deliveries[s.Delivery]
	f.inspect(d, s)
	if d.Status == storage.StatusPending {
		f.data.dequeue(d)
	}
	d.Status, d.Code, d.NextAttemptAt = s.Status, strings.Clone(s.Code), time.Time{}
	if s.Attempt != nil {
		a := cloneAttempt(*s.Attempt)
		d.attempts = append(d.attempts, a)
		d.Attempts++
		d.StatusCode, d.LastAttemptAt = a.StatusCode, a.StartedAt
	}
	if s.Status == storage.StatusPending {
		d.NextAttemptAt = time.UnixMilli(s.NextAttemptAt.UnixMilli())
		f.data.enqueue(d)
	}
}

func cloneAttempt(a storage.Attempt) storage.Attempt {
	a.StartedAt = a.StartedAt.Truncate(time.Microsecond)
	a.Header = maps.Clone(a.Header)
	a.Body = bytes.Clone(a.Body)
	return a
}

// SetEndpointState implements storage.Outbox.
func (f *Fake) SetEndpointState(ctx context.Context, endpoint string, state storage.EndpointState) error {
	if h := f.hook().BeforeSetEndpointState; h != nil {
		if err := h(endpoint, state); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if state == (storage.EndpointState{}) {
		delete(f.data.states, endpoint)
		return nil
	}
	f.data.states[strings.Clone(endpoint)] = state
	return nil
}

// Close implements storage.Outbox.
func (f *Fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

// Interface guard.
var _ storage.Outbox = (*Fake)(nil)

// digestOf is what tells one payload from another.
func digestOf(e *storage.NewEvent) [sha256.Size]byte {
	if e.Digest != ([sha256.Size]byte{}) {
		return e.Digest
	}
	return sha256.Sum256(e.Body)
}
