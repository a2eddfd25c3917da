package delivery

import (
	"container/heap"
	"time"
)

// maxParked is the greatest number of workers that are kept without work.
const maxParked = 16

// dispatcher decides who is served next: the endpoints with something to send,
// one attempt each, in turn.
type dispatcher struct {
	most     int
	inFlight int

	// active are the endpoints to be looked at in turn; throttled those that
	// had more than their share when they were.
	active, throttled list

	// least is the smallest number in flight among the throttled.
	least int

	workers, parked int

	wakings wakings
	timer   *time.Timer
	timerAt time.Duration // of the timer, where it runs
	armed   bool
}

// listed says in which list a queue is.
type listed uint8

const (
	inNone listed = iota
	inActive
	inThrottled
)

// list is a queue of queues.
type list struct{ first, last *queue }

func (l *list) push(q *queue, where listed) {
	q.links.next, q.links.where = nil, where
	if l.last == nil {
		l.first = q
	} else {
		l.last.links.next = q
	}
	l.last = q
}

func (l *list) pop() *queue {
	q := l.first
	if q == nil {
		return nil
	}
	if l.first = q.links.next; l.first == nil {
		l.last = nil
	}
	q.links.next, q.links.where = nil, inNone
	return q
}

// share returns how many attempts an endpoint must be below to start another:
// as many as there are free slots. The more slots are taken, the less one
// endpoint gets, so that however many of them hang, some slots stay free for
// the rest, and the last one is for endpoints that have nothing under way. It
// is the dynamic threshold by which switches share their buffers.
func (d *dispatcher) share() int { return max(1, d.most-d.inFlight) }

// admit looks at the throttled again when slots became free.
func (d *dispatcher) admit() {
	if d.throttled.first == nil || d.share() <= d.least {
		return
	}
	for q := d.throttled.pop(); q != nil; q = d.throttled.pop() {
		d.active.push(q, inActive)
	}
}

// updateAt looks at an endpoint after anything about it changed: it takes its
// turn when it can start something, is woken when time will change that, and
// reads ahead when its window runs empty. The caller holds the lock.
func (e *Engine) updateAt(q *queue, now time.Duration) {
	if e.refresh(q, now) {
		e.wakeWorker()
	}
}

// refresh is update without waking a worker; it says whether one is needed.
func (e *Engine) refresh(q *queue, now time.Duration) bool {
	q.win.promote(now)
	if e.halted() {
		return false
	}
	turn := q.links.where == inNone && q.win.readyLen() > 0 && e.startable(q, now)
	if turn {
		e.dispatch.active.push(q, inActive)
	}
	e.readAhead(q, now)
	e.schedule(q, now)
	return turn
}

// schedule puts the endpoint in its place among the wakings.
func (e *Engine) schedule(q *queue, now time.Duration) {
	d := &e.dispatch
	at, ok := e.nextWake(q, now)
	switch {
	case !ok:
		if q.links.wakeIndex >= 0 {
			heap.Remove(&d.wakings, q.links.wakeIndex)
		}
		return
	case q.links.wakeIndex < 0:
		q.links.wakeAt = at
		heap.Push(&d.wakings, q)
	case q.links.wakeAt != at:
		q.links.wakeAt = at
		heap.Fix(&d.wakings, q.links.wakeIndex)
	}
	e.arm(now)
}

// arm sets the one timer to the first waking.
func (e *Engine) arm(now time.Duration) {
	d := &e.dispatch
	if len(d.wakings) == 0 {
		return
	}
	at := d.wakings[0].links.wakeAt
	if d.armed && d.timerAt <= at {
		return // it fires early at most, and is set again then
	}
	d.armed, d.timerAt = true, at
	if d.timer == nil {
		d.timer = time.AfterFunc(at-now, e.tick)
		return
	}
	d.timer.Reset(at - now)
}

func (d *dispatcher) stopTimer() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

// tick looks at the endpoints whose time has come.
func (e *Engine) tick() {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := &e.dispatch
	now := e.clock()
	d.armed = false
	if e.halted() {
		return
	}
	for len(d.wakings) > 0 && d.wakings[0].links.wakeAt <= now {
		q := heap.Pop(&d.wakings).(*queue)
		e.updateAt(q, now)
	}
	e.arm(now)
}

// take chooses what is sent next, or nothing. The caller holds the lock.
func (e *Engine) take(f *flight) bool {
	d := &e.dispatch
	if e.halted() || d.inFlight >= d.most {
		return false
	}
	now := e.clock()
	d.admit()
	for q := d.active.pop(); q != nil; q = d.active.pop() {
		if !e.startable(q, now) {
			e.schedule(q, now)
			continue
		}
		if share := d.share(); q.inFlight >= share {
			if d.throttled.first == nil || q.inFlight < d.least {
				d.least = q.inFlight
			}
			d.throttled.push(q, inThrottled)
			continue
		}
		e.depart(f, q, now)
		if e.startable(q, now) {
			d.active.push(q, inActive)
		}
		e.readAhead(q, now)
		e.schedule(q, now)
		return true
	}
	return false
}

// depart takes the front of a queue into flight.
func (e *Engine) depart(f *flight, q *queue, now time.Duration) {
	*f = flight{item: q.win.popReady(), q: q, attempt: true, took: now, snap: e.current.Load().Snapshot, config: q.config}
	if q.health.failing {
		f.expire = f.outlived(q.config.Retry.MaxAge, e.agingClock(now))
		f.probe = !f.expire
		q.health.probing = q.health.probing || f.probe
	}
	if limit := q.config.RateLimit; limit.Attempts > 0 && !f.expire {
		q.starts.add(limit, now)
	}
	q.depart(f)
	e.dispatch.inFlight++
	q.win.promote(now)
}

// wakeWorker gets a worker for what can be started. The caller holds the lock.
func (e *Engine) wakeWorker() {
	d := &e.dispatch
	switch {
	case d.inFlight >= d.most:
	case d.parked > 0:
		d.parked--
		e.idle.Signal()
	case d.workers < d.most:
		d.workers++
		e.running.Add(1)
		go e.work()
	}
}

// wakings is a heap of queues by the time at which they are looked at.
type wakings []*queue

func (w wakings) Len() int           { return len(w) }
func (w wakings) Less(i, j int) bool { return w[i].links.wakeAt < w[j].links.wakeAt }
func (w wakings) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].links.wakeIndex, w[j].links.wakeIndex = i, j
}

// Push implements heap.Interface.
func (w *wakings) Push(x any) {
	q := x.(*queue)
	q.links.wakeIndex = len(*w)
	*w = append(*w, q)
}

// Pop implements heap.Interface.
func (w *wakings) Pop() any {
	last := len(*w) - 1
	q := (*w)[last]
	(*w)[last] = nil
	*w = (*w)[:last]
	q.links.wakeIndex = -1
	return q
}

// Interface guard.
var _ heap.Interface = (*wakings)(nil)
