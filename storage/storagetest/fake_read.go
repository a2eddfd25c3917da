package storagetest

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// fakePage is the greatest number of deliveries that List looks at for one
// page, so that callers meet pages which are short although there is more.
const fakePage = 1000

// fakeQueue holds the places of one endpoint's pending deliveries in order.
// Places of deliveries that left stay until they are the majority.
type fakeQueue struct {
	places []fakePlace
	dead   int
	live   int
}

// fakePlace is a storage.Position in whole milliseconds.
type fakePlace struct {
	milli int64
	id    storage.DeliveryID
}

func comparePlaces(a, b fakePlace) int {
	return cmp.Or(cmp.Compare(a.milli, b.milli), a.id.Compare(b.id))
}

func placeOf(d *fakeDelivery) fakePlace {
	return fakePlace{d.NextAttemptAt.UnixMilli(), d.ID}
}

// enqueue makes a delivery pending at its NextAttemptAt.
func (d *fakeData) enqueue(dl *fakeDelivery) {
	q := d.queues[dl.Endpoint]
	if q == nil {
		q = &fakeQueue{}
		d.queues[dl.Endpoint] = q
	}
	place := placeOf(dl)
	i, found := slices.BinarySearchFunc(q.places, place, comparePlaces)
	if found {
		q.dead-- // it left this place and came back
	} else {
		q.places = slices.Insert(q.places, i, place)
	}
	q.live++
	d.pending++
}

// dequeue takes a pending delivery out of its queue.
func (d *fakeData) dequeue(dl *fakeDelivery) {
	q := d.queues[dl.Endpoint]
	q.dead++
	q.live--
	d.pending--
	if q.live == 0 {
		delete(d.queues, dl.Endpoint)
		return
	}
	if q.dead > 64 && q.dead > q.live {
		gone := placeOf(dl)
		q.places = slices.DeleteFunc(q.places, func(p fakePlace) bool { return p == gone || !d.isLive(p) })
		q.dead = 0
	}
}

// isLive says whether a pending delivery is at the place.
func (d *fakeData) isLive(p fakePlace) bool {
	dl := d.deliveries[p.id]
	return dl.Status == storage.StatusPending && placeOf(dl) == p
}

// Due implements storage.Outbox.
func (f *Fake) Due(ctx context.Context, endpoint string, after storage.Position, limit int) ([]storage.Due, error) {
	if h := f.hook().BeforeDue; h != nil {
		if err := h(endpoint); err != nil {
			return nil, err
		}
	}
	due, err := f.due(ctx, endpoint, after, limit)
	if err != nil {
		return nil, err
	}
	if h := f.hook().AfterDue; h != nil {
		if err := h(endpoint); err != nil {
			return nil, err
		}
	}
	return due, nil
}

func (f *Fake) due(ctx context.Context, endpoint string, after storage.Position, limit int) ([]storage.Due, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.readable(ctx); err != nil {
		return nil, err
	}
	q := f.data.queues[endpoint]
	if q == nil || limit <= 0 {
		return nil, nil
	}
	i := 0
	if after != (storage.Position{}) {
		from := fakePlace{-1, after.ID}
		if !after.At.IsZero() {
			from.milli = after.At.UnixMilli()
		}
		var found bool
		if i, found = slices.BinarySearchFunc(q.places, from, comparePlaces); found {
			i++
		}
	}
	due := make([]storage.Due, 0, min(limit, q.live))
	for ; i < len(q.places) && len(due) < limit; i++ {
		if p := q.places[i]; f.data.isLive(p) {
			d := f.data.deliveries[p.id]
			due = append(due, storage.Due{ID: d.ID, At: d.NextAttemptAt, Attempts: d.Attempts})
		}
	}
	return due, nil
}

// Pending implements storage.Outbox.
func (f *Fake) Pending() map[string]storage.PendingCount {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := make(map[string]storage.PendingCount, len(f.data.queues))
	if f.closed {
		return counts
	}
	for name, q := range f.data.queues {
		oldest := time.Time{}
		for _, p := range q.places {
			if t := p.id.Time(); f.data.isLive(p) && (oldest.IsZero() || t.Before(oldest)) {
				oldest = t
			}
		}
		counts[name] = storage.PendingCount{Count: q.live, Oldest: oldest}
	}
	return counts
}

// Event implements storage.Outbox.
func (f *Fake) Event(ctx context.Context, key storage.EventKey) (*storage.Event, error) {
	if h := f.hook().BeforeEvent; h != nil {
		if err := h(key); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.readable(ctx); err != nil {
		return nil, err
	}
	ev := f.data.events[key]
	if ev == nil {
		return nil, storage.ErrNotFound
	}
	return cloneEvent(ev), nil
}

func cloneEvent(ev *storage.Event) *storage.Event {
	c := *ev
	c.Body = bytes.Clone(ev.Body)
	return &c
}

// EventByID implements storage.Outbox.
func (f *Fake) EventByID(ctx context.Context, id string) (*storage.Event, []storage.Delivery, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.readable(ctx); err != nil {
		return nil, nil, err
	}
	kept := f.data.byID[id]
	if kept == nil {
		return nil, nil, storage.ErrNotFound
	}
	var deliveries []storage.Delivery
	for _, did := range f.data.order {
		if d := f.data.deliveries[did]; d.EventID == id {
			deliveries = append(deliveries, d.Delivery)
		}
	}
	return cloneEvent(f.data.events[kept.newest]), deliveries, nil
}

// Delivery implements storage.Outbox.
func (f *Fake) Delivery(ctx context.Context, id storage.DeliveryID) (*storage.Delivery, []storage.Attempt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.readable(ctx); err != nil {
		return nil, nil, err
	}
	d := f.data.deliveries[id]
	if d == nil {
		return nil, nil, storage.ErrNotFound
	}
	attempts := make([]storage.Attempt, len(d.attempts))
	for i := range d.attempts {
		attempts[i] = cloneAttempt(d.attempts[i])
	}
	dl := d.Delivery
	return &dl, attempts, nil
}

// List implements storage.Outbox.
func (f *Fake) List(ctx context.Context, filter storage.Filter, page storage.PageRequest) (*storage.Page, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.readable(ctx); err != nil {
		return nil, err
	}
	limit := max(page.Limit, 1)
	end := len(f.data.order)
	if page.Cursor != "" {
		id, err := storage.ParseDeliveryID(page.Cursor)
		if err != nil {
			return nil, storage.ErrBadCursor
		}
		end, _ = slices.BinarySearchFunc(f.data.order, id, storage.DeliveryID.Compare)
	}
	answer := &storage.Page{}
	looked := 0
	for i := end - 1; i >= 0; i-- {
		if len(answer.Deliveries) >= limit || looked == fakePage {
			answer.Next = f.data.order[i+1].String()
			break
		}
		looked++
		if d := f.data.deliveries[f.data.order[i]]; admits(&filter, &d.Delivery) {
			answer.Deliveries = append(answer.Deliveries, d.Delivery)
		}
	}
	return answer, nil
}

// admits says whether the filter lets a delivery through.
func admits(filter *storage.Filter, d *storage.Delivery) bool {
	switch {
	case len(filter.Endpoints) > 0 && !slices.Contains(filter.Endpoints, d.Endpoint),
		slices.Contains(filter.NotEndpoints, d.Endpoint),
		filter.Type != "" && filter.Type != d.Type,
		filter.EventID != "" && filter.EventID != d.EventID,
		filter.Status != "" && filter.Status != d.Status,
		filter.Code != "" && filter.Code != d.Code,
		!filter.Since.IsZero() && d.CreatedAt.Before(filter.Since),
		!filter.Until.IsZero() && !d.CreatedAt.Before(filter.Until):
		return false
	}
	return true
}

// EndpointStates implements storage.Outbox.
func (f *Fake) EndpointStates(ctx context.Context) (map[string]storage.EndpointState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.readable(ctx); err != nil {
		return nil, err
	}
	states := make(map[string]storage.EndpointState, len(f.data.states))
	maps.Copy(states, f.data.states)
	return states, nil
}

// Usage implements storage.Outbox.
func (f *Fake) Usage() storage.Usage {
	f.mu.Lock()
	defer f.mu.Unlock()
	return storage.Usage{
		Path: "memory", Bytes: f.data.bytes, FreeBytes: -1, Pending: f.data.pending, Full: f.full, Err: f.usable(),
	}
}

// Failed implements storage.Outbox.
func (f *Fake) Failed() <-chan struct{} { return f.failed }
