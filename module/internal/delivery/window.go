package delivery

import (
	"slices"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// Bounds of the deliveries that are kept in memory: the fewer endpoints there
// are, the larger is the window of each. A large window spares a burst the way
// over the disk; the least one keeps an endpoint busy while it reads ahead.
const (
	leastWindow = 256
	mostWindow  = 8192
	allWindows  = 64 << 10
)

// windowSize returns the greatest number of pending deliveries of one endpoint
// in memory, where there are so many endpoints.
func windowSize(endpoints int) int {
	return min(max(allWindows/max(endpoints, 1), leastWindow), mostWindow)
}

// idleCapacity is the greatest number of places that an endpoint without ready
// deliveries keeps allocated.
const idleCapacity = 64

// window holds the deliveries of one endpoint that are in memory: a queue of
// those that may be sent and a heap of those that are due later. It is a
// window over the outbox, which has all of them in the order of due.
//
// The invariant is one-sided: every pending delivery at or before the cursor
// is in the window or in flight. Deliveries behind the cursor may be in the
// window too, and reading passes over them. So lowering the cursor is always
// safe, and costs no more than reading again.
type window struct {
	ready  []item // ready[head:] in order
	head   int
	later  []item // heap by due
	cursor position

	// complete says that there is nothing behind the cursor.
	complete bool
}

func (w *window) readyLen() int { return len(w.ready) - w.head }
func (w *window) len() int      { return w.readyLen() + len(w.later) }

// covers says whether a delivery at p belongs in the window.
func (w *window) covers(p position) bool { return w.complete || !w.cursor.before(p) }

// lower says that p, and what follows, may be in the outbox only.
func (w *window) lower(p position) {
	if w.covers(p) {
		w.cursor, w.complete = p.previous(), false
	}
}

// front returns the delivery that is sent next; there must be one.
func (w *window) front() *item { return &w.ready[w.head] }

func (w *window) pushReady(it item) {
	if len(w.ready) == cap(w.ready) && w.head > len(w.ready)/2 {
		n := copy(w.ready, w.ready[w.head:])
		clear(w.ready[n:])
		w.ready, w.head = w.ready[:n], 0
	}
	w.ready = append(w.ready, it)
}

// pushFront lets a delivery pass all others.
func (w *window) pushFront(it item) {
	if w.head > 0 {
		w.head--
		w.ready[w.head] = it
		return
	}
	w.ready = slices.Insert(w.ready, 0, it)
}

func (w *window) popReady() item {
	it := w.ready[w.head]
	w.ready[w.head] = item{}
	w.head++
	if w.head == len(w.ready) {
		w.ready, w.head = w.ready[:0], 0
		if cap(w.ready) > idleCapacity {
			w.ready = nil
		}
	}
	return it
}

func (w *window) pushLater(it item) {
	w.later = append(w.later, it)
	for i := len(w.later) - 1; i > 0; {
		parent := (i - 1) / 2
		if w.later[parent].due <= w.later[i].due {
			break
		}
		w.later[parent], w.later[i] = w.later[i], w.later[parent]
		i = parent
	}
}

func (w *window) popLater() item {
	it := w.later[0]
	last := len(w.later) - 1
	w.later[0] = w.later[last]
	w.later[last] = item{}
	w.later = w.later[:last]
	w.sink(0)
	return it
}

func (w *window) sink(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(w.later); child++ {
			if w.later[child].due < w.later[least].due {
				least = child
			}
		}
		if least == i {
			return
		}
		w.later[i], w.later[least] = w.later[least], w.later[i]
		i = least
	}
}

// promote makes ready what has become due.
func (w *window) promote(now time.Duration) {
	for len(w.later) > 0 && w.later[0].due <= now {
		w.pushReady(w.popLater())
	}
}

// add puts a delivery where its due time says.
func (w *window) add(it item, now time.Duration) {
	if it.due <= now {
		w.pushReady(it)
		return
	}
	w.pushLater(it)
}

// remove takes the delivery out of the window.
func (w *window) remove(id storage.DeliveryID) (item, bool) {
	for i := w.head; i < len(w.ready); i++ {
		if it := w.ready[i]; it.id == id {
			w.ready = slices.Delete(w.ready, i, i+1)
			return it, true
		}
	}
	for i, it := range w.later {
		if it.id == id {
			w.later = slices.Delete(w.later, i, i+1)
			w.heapify()
			return it, true
		}
	}
	return item{}, false
}

func (w *window) heapify() {
	for i := len(w.later)/2 - 1; i >= 0; i-- {
		w.sink(i)
	}
}

// each visits every delivery in the window.
func (w *window) each(visit func(*item)) {
	for i := w.head; i < len(w.ready); i++ {
		visit(&w.ready[i])
	}
	for i := range w.later {
		visit(&w.later[i])
	}
}

// last returns the greatest position in the window.
func (w *window) last() position {
	last := start
	w.each(func(it *item) {
		if p := it.position(); last.before(p) {
			last = p
		}
	})
	return last
}

// truncate drops the latest deliveries until keep are left, lowers the cursor
// accordingly, and passes each one dropped to the callback.
func (w *window) truncate(keep int, drop func(*item)) {
	if w.len() <= keep {
		return
	}
	places := make([]position, 0, w.len())
	w.each(func(it *item) { places = append(places, it.position()) })
	slices.SortFunc(places, func(a, b position) int {
		switch {
		case a.before(b):
			return -1
		case b.before(a):
			return 1
		}
		return 0
	})
	first := places[keep]
	outside := func(it item) bool {
		if it.position().before(first) {
			return false
		}
		drop(&it)
		return true
	}
	kept := slices.DeleteFunc(w.ready[w.head:], outside)
	w.ready = w.ready[:w.head+len(kept)]
	w.later = slices.DeleteFunc(w.later, outside)
	w.heapify()
	w.lower(first)
}

// clear forgets everything and gives the memory back; what was in the window
// is read again when it is wanted.
func (w *window) clear(drop func(*item)) {
	w.each(drop)
	*w = window{cursor: start}
}
