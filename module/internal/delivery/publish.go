package delivery

import (
	"context"
	"runtime"
	"time"

	"github.com/promptreports/caddy-webhooks/module/internal/event"
	"github.com/promptreports/caddy-webhooks/storage"
)

// Publication is an event to be published, with the W3C trace context that it
// came with.
type Publication struct {
	Event                   *event.Event
	TraceParent, TraceState string
}

// publishing is the scratch space of one Publish call.
type publishing struct {
	events  []storage.NewEvent
	queues  []*queue // of all events, one after the other
	names   []string // parallel to queues
	matches []int
}

// forget lets go of everything that the scratch space refers to.
func (p *publishing) forget() {
	clear(p.events)
	clear(p.queues)
	clear(p.names)
	p.events, p.queues, p.names = p.events[:0], p.queues[:0], p.names[:0]
}

// Publish stores events with a delivery for every endpoint that subscribes to
// them, and starts the first attempts at once. It returns when the events are
// stored; the answer has an element for each event, in order. The bytes of the
// events must not be changed afterwards.
//
// Errors are ErrNotStarted, and those of storage.Outbox.Accept. Events are
// accepted while nothing is sent.
func (e *Engine) Publish(ctx context.Context, publications []Publication) ([]storage.Accepted, error) {
	b := e.current.Load()
	if b == nil {
		return nil, ErrNotStarted
	}
	p := e.scratch.Get().(*publishing)
	defer func() {
		p.forget()
		e.scratch.Put(p)
	}()
	p.match(b, publications)
	began, err := e.beginAccept()
	if err != nil {
		return nil, err
	}
	accepted, err := e.outbox.Accept(ctx, p.events)
	if err != nil {
		if isFatal(err) {
			e.fail(err)
		}
		return nil, err
	}
	if e.hand(p, publications, accepted, began) {
		// With all processors busy, events would be accepted faster than they
		// are sent on, and each would wait longer than the one before. So what
		// is ready to run comes first, the workers among it.
		runtime.Gosched()
	}
	return accepted, nil
}

// match finds the endpoints of each event.
func (p *publishing) match(b *binding, publications []Publication) {
	for i := range publications {
		pub := &publications[i]
		ev := pub.Event
		p.matches = b.Index.Match(p.matches[:0], ev.Type, ev.Field)
		from := len(p.names)
		for _, m := range p.matches {
			p.names = append(p.names, b.Names[m])
			p.queues = append(p.queues, b.queues[m])
		}
		p.events = append(p.events, storage.NewEvent{
			ID: ev.ID, Type: ev.Type, Body: ev.Body, Digest: ev.Digest(),
			TraceParent: pub.TraceParent, TraceState: pub.TraceState,
			Endpoints: p.names[from:len(p.names):len(p.names)],
		})
	}
}

// beginAccept notes what was read from the outbox before a commit.
func (e *Engine) beginAccept() (uint64, error) {
	if e.closed.Load() {
		return 0, storage.ErrClosed
	}
	return e.merges.Load(), nil
}

// hand takes the new deliveries over into their queues, and says whether one
// is behind.
func (e *Engine) hand(p *publishing, publications []Publication, accepted []storage.Accepted, began uint64) (behind bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.clock()
	next := 0
	for i := range accepted {
		a, n := &accepted[i], len(p.events[i].Endpoints)
		queues := p.queues[next : next+n]
		next += n
		if a.Duplicate || n == 0 {
			continue
		}
		pub := &publications[i]
		shared := &payload{
			id: pub.Event.ID, typ: pub.Event.Type, body: pub.Event.Body,
			traceParent: pub.TraceParent, traceState: pub.TraceState,
		}
		at := min(a.AcceptedAt.UnixMilli(), a.Key.Milli())
		for k, q := range queues {
			e.receive(q, item{id: a.Key.Delivery(k), at: at, due: now}, shared, began, now)
			behind = behind || q.lags(now)
		}
	}
	return behind
}

// receive takes over one delivery that was committed since began. When the
// outbox was read meanwhile, the delivery may have been found, sent and
// finished already, so that only the outbox knows; it is asked again: at once
// where the delivery has its place in the window. The caller holds the lock.
func (e *Engine) receive(q *queue, it item, p *payload, began uint64, now time.Duration) {
	switch {
	case e.closed.Load():
		return
	case q.reading.merged > began:
		q.reading.behind = q.reading.behind || q.win.covers(it.position())
		q.lower(it.position())
	case q.win.covers(it.position()):
		if p != nil {
			e.pin(&it, p)
		}
		q.put(it, now, e.unpin)
	default:
		q.lower(it.position())
	}
	e.updateAt(q, now)
}
