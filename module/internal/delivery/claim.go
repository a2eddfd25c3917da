package delivery

import (
	"context"

	"github.com/promptreports/caddy-webhooks/storage"
)

// claim takes a delivery out of its queue for an operation, so that no attempt
// can start meanwhile. Where one is under way, or another operation, claim
// returns that instead, with a channel to wait for its end.
func (e *Engine) claim(endpoint string, id storage.DeliveryID) (mine, other *flight) {
	e.mu.Lock()
	defer e.mu.Unlock()
	q := e.queueOf(endpoint)
	// A Publish or Replay that committed the delivery and has not handed it
	// over yet must not do so as if nothing had happened to it.
	q.reading.merged = e.merges.Add(1)
	if f := q.flying(id); f != nil {
		other = &flight{item: item{id: id}, q: q, attempt: f.attempt}
		if f.done == nil {
			f.done = make(chan struct{})
		}
		other.done = f.done
		return nil, other
	}
	f := &flight{q: q}
	if it, ok := q.win.remove(id); ok {
		f.item = it
	} else {
		f.item = item{id: id}
	}
	q.depart(f)
	return f, nil
}

// await waits for the end of another's flight.
func (e *Engine) await(ctx context.Context, other *flight) error {
	select {
	case <-other.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// release ends a claim. A delivery that is pending still goes to the front of
// its queue.
func (e *Engine) release(f *flight, pending bool) {
	if f == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	q, now := f.q, e.clock()
	q.land(f)
	switch {
	case !pending:
		e.unpin(&f.item)
	case !q.serves():
		e.unpin(&f.item)
		q.lower(f.position())
	default:
		f.due = now
		q.win.pushFront(f.item)
		if q.win.len() > q.size {
			q.truncate(q.size*3/4, e.unpin)
		}
	}
	e.updateAt(q, now)
}
