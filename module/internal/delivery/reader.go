package delivery

import (
	"time"

	"go.uber.org/zap"
)

const (
	// maxReaders is the greatest number of readings at once.
	maxReaders = 2

	// readAgain is the wait after a failed reading.
	readAgain = time.Second
)

// readers read ahead for the endpoints whose windows run empty.
type readers struct {
	waiting []*queue
	active  int
}

// readAhead has an endpoint's window filled from the outbox where that is
// wanted. The caller holds the lock.
func (e *Engine) readAhead(q *queue, now time.Duration) {
	r := &q.reading
	if q.win.complete || r.active || r.queued || now < r.again || !q.serves() || e.halted() {
		return
	}
	if q.win.len() > q.size/2 && !r.behind {
		return
	}
	r.queued = true
	e.readers.waiting = append(e.readers.waiting, q)
	if e.readers.active < maxReaders {
		e.readers.active++
		e.running.Add(1)
		go e.read()
	}
}

// read fills windows until none is waiting.
func (e *Engine) read() {
	defer e.running.Done()
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.readers.waiting) > 0 && !e.closed.Load() {
		q := e.readers.waiting[0]
		e.readers.waiting = e.readers.waiting[1:]
		e.fill(q)
	}
	e.readers.active--
	if e.readers.active == 0 {
		e.readers.waiting = nil
	}
}

// fill reads one window. The caller holds the lock, which is given up while
// the outbox is read.
func (e *Engine) fill(q *queue) {
	after, limit := q.begin()
	e.mu.Unlock()
	due, err := e.outbox.Due(e.ctx, q.name, after.storage(), limit)
	e.mu.Lock()
	now := e.clock()
	if err != nil {
		q.abandon(now + readAgain)
		if !e.closed.Load() && !isFatal(err) {
			e.logger().Error("reading due deliveries", zap.String("endpoint", q.name), zap.Error(err))
		}
	} else {
		q.merge(due, limit, now, e.now(), e.unpin)
		q.reading.merged = e.merges.Add(1)
	}
	e.updateAt(q, now)
}
