package badger

import (
	"errors"

	"github.com/promptreports/caddy-webhooks/storage"
)

// store is what a segment's writer commits to: a journal or a database.
type store interface {
	// limits are the greatest size and number of entries of one commit.
	limits() (size, count int64)

	// commit makes the ops durable and then visible, all of them or none. An
	// error that wraps errNoRoom changed nothing; after any other the outbox
	// is poisoned.
	commit(group []*op) error

	close() error
}

// writer commits to one segment. It takes all that waits, commits it as one
// group, with one sync, and only then wakes the callers; what came meanwhile
// is the next group. It never waits for a group to fill.
type writer struct {
	o     *Outbox
	seg   *segment
	store store
	queue *queue
	ended chan struct{}

	maxSize, maxCount int64

	group []*op

	// milli and seq made the last key before the group.
	milli int64
	seq   uint32
}

func newWriter(o *Outbox, seg *segment, st store) *writer {
	w := &writer{o: o, seg: seg, store: st, queue: newQueue(), ended: make(chan struct{})}
	w.maxSize, w.maxCount = st.limits()
	go w.run()
	return w
}

// stop waits until what is queued is committed.
func (w *writer) stop() {
	w.queue.close()
	<-w.ended
}

func (w *writer) run() {
	defer close(w.ended)
	for {
		ops, ok := w.queue.take()
		if !ok {
			return
		}
		for rest := ops; len(rest) > 0; {
			rest = rest[w.commit(rest):]
		}
		clear(ops)
	}
}

// commit makes one group of the first ops and returns their number.
func (w *writer) commit(ops []*op) int {
	if err := w.o.failure(); err != nil {
		w.finish(ops, err)
		return len(ops)
	}
	if !w.seg.mayCommit(ops) {
		w.finish(ops, storage.ErrFull)
		return len(ops)
	}
	n := w.gather(ops)
	if len(w.group) == 0 {
		return n
	}
	stamped := w.stamp()
	err := w.write()
	switch {
	case errors.Is(err, errNoRoom):
		if stamped { // the sequence stays unbroken
			w.o.lastMilli, w.o.seq = w.milli, w.seq
			w.seg.unstaged()
		}
		w.finish(w.group, storage.ErrFull)
	case err != nil:
		w.o.poison(err)
		w.finish(w.group, w.o.failure())
	default:
		w.seg.applied(w.group)
		w.o.wrote(w.seg, w.group)
		w.finish(w.group, nil)
	}
	return n
}

// gather makes a group of the first ops, sends back those that do not belong
// here, and returns the number of both.
func (w *writer) gather(ops []*op) (n int) {
	w.group = w.group[:0]
	var size, count, queued int64
	sealed := w.o.sealing(w.seg)
	for _, p := range ops {
		if len(p.events) > 0 && sealed {
			w.finish(ops[n:n+1], errSealed)
			n++
			continue
		}
		if p.size > w.maxSize || p.count > w.maxCount || p.queued > maxLogPayload/2 || p.longest > maxRecord {
			w.finish(ops[n:n+1], storage.ErrTooLarge)
			n++
			continue
		}
		if len(w.group) > 0 && (size+p.size > w.maxSize || queued+p.queued > maxGroup || count+p.count > w.maxCount) {
			break
		}
		n++
		size += p.size
		queued += p.queued
		count += p.count
		w.group = append(w.group, p)
	}
	return n
}

// maxGroup is the size, in bytes, at which a group takes no further op.
const maxGroup = 4 << 20

// stamp gives the events their keys. Only the active segment's writer has any,
// and the keys are its own.
func (w *writer) stamp() (stamped bool) {
	for _, p := range w.group {
		if len(p.events) == 0 {
			continue
		}
		if !stamped {
			stamped, w.milli, w.seq = true, w.o.lastMilli, w.o.seq
		}
		for i := range p.events {
			p.events[i].stamp(w.o.nextKey())
		}
		w.seg.staged(p.events)
	}
	return stamped
}

func (w *writer) write() error {
	if hook := w.o.opt.commitHook; hook != nil {
		if err := hook(); err != nil {
			return err
		}
	}
	return w.store.commit(w.group)
}

func (w *writer) finish(ops []*op, err error) {
	w.o.release(ops, err)
	for _, p := range ops {
		p.err = err
		p.done <- struct{}{}
	}
}
