package delivery

import "slices"

// Lease is a configuration's hold on an engine. The newest lease decides.
type Lease struct {
	e *Engine
	b *binding
}

// Attach makes a snapshot the current one. Attempts under way end with the
// snapshot they began with; all later ones use this one.
func (e *Engine) Attach(s *Snapshot) *Lease {
	pending := e.outbox.Pending() // before the lock: it is not the engine's
	l := &Lease{e: e, b: &binding{Snapshot: s, queues: make([]*queue, len(s.Names))}}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, name := range s.Names {
		q := e.queues[name]
		if q == nil {
			q = e.newQueue(name)
			// Nobody can have published to an endpoint that was never
			// configured, so the count is that of this very moment.
			q.win.complete = pending[name].Count == 0
		}
		l.b.queues[i] = q
	}
	e.leases = append(e.leases, l)
	e.use(l.b)
	return l
}

// Release gives the lease back. When it was the newest one, the one before is
// current again; when it was the only one, nothing is sent any more until
// another is attached, but events are still accepted, for the endpoints of the
// last snapshot. Release is idempotent, and does nothing to a nil lease.
func (l *Lease) Release() {
	if l == nil {
		return
	}
	e := l.e
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.Index(e.leases, l)
	if i < 0 {
		return
	}
	e.leases = slices.Delete(e.leases, i, i+1)
	if n := len(e.leases); n > 0 && i == n {
		e.use(e.leases[n-1].b)
	}
}

// newQueue makes the queue of an endpoint. The caller holds the lock.
func (e *Engine) newQueue(name string) *queue {
	q := &queue{name: name, size: leastWindow, win: window{cursor: start}, links: links{wakeIndex: -1}}
	q.state = e.states[name]
	delete(e.states, name)
	if !q.state.FailingSince.IsZero() {
		q.health.resume(e.clock(), e.now(), q.state.FailingSince, e.rand())
	}
	q.recent.changed = q.state.Since
	e.queues[name] = q
	return q
}

// use makes a binding the current one: endpoints that it does not have give
// back their memory and hold their deliveries, those that come back read
// theirs from the outbox. The caller holds the lock.
func (e *Engine) use(b *binding) {
	e.current.Store(b)
	e.dispatch.most = b.MaxInFlight
	now, wall := e.clock(), e.now()
	size := e.size
	if size == 0 {
		size = windowSize(len(b.Endpoints))
	}
	for name, q := range e.queues {
		q.size = size
		q.configure(b.Endpoints[name], now, wall)
		if !q.serves() {
			q.clear(e.unpin)
		}
		e.updateAt(q, now)
	}
	if !e.halted() && (e.dispatch.active.first != nil || e.dispatch.throttled.first != nil) {
		e.wakeWorker()
	}
}

// unpin drops an item's event from memory. The caller holds the lock.
func (e *Engine) unpin(it *item) {
	if p := it.ev; p != nil {
		it.ev = nil
		if p.refs--; p.refs == 0 {
			e.pinned -= p.size()
		}
	}
}

// pin lets an item keep its event in memory, if there is room. The caller
// holds the lock.
func (e *Engine) pin(it *item, p *payload) {
	if p.refs == 0 {
		if e.pinned+p.size() > e.most {
			return
		}
		e.pinned += p.size()
	}
	p.refs++
	it.ev = p
}

// queueOf returns the queue of an endpoint, configured or not.
func (e *Engine) queueOf(name string) *queue {
	q := e.queues[name]
	if q == nil {
		q = e.newQueue(name)
	}
	return q
}

// The reasons of a pause.
const (
	reasonConfiguration = "configuration"
	reasonGone          = "gone"
	reasonDisabled      = "disabled"
)
