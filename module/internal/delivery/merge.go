package delivery

import (
	"slices"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// begin notes that a reading starts, and returns where it starts and how much
// it reads.
func (q *queue) begin() (position, int) {
	r := &q.reading
	r.active, r.queued, r.discard, r.hasFloor = true, false, false, false
	n := q.size - q.win.len()
	if r.behind {
		n = q.size
	}
	return q.win.cursor, max(n, q.size/4)
}

// merge takes over what was read: limit deliveries at most, strictly after the
// position where begin said. What the window has, what is in flight and what
// left since the reading began is passed over. Whatever was committed while
// the reading was under way, and may have been missed by it, stands at the
// floor or behind.
func (q *queue) merge(due []storage.Due, limit int, now time.Duration, wall time.Time, drop func(*item)) {
	r := &q.reading
	discard := r.discard
	left := r.left
	r.active, r.discard, r.left = false, false, nil
	if discard {
		return
	}
	r.behind = false
	known := make(map[storage.DeliveryID]struct{}, q.win.len()+len(q.flights)+len(left))
	q.win.each(func(it *item) { known[it.id] = struct{}{} })
	for _, f := range q.flights {
		known[f.id] = struct{}{}
	}
	if len(due) < limit {
		q.win.complete = true
	} else {
		last := due[len(due)-1]
		q.win.cursor = position{last.At.UnixMilli(), last.ID}
	}
	due = slices.DeleteFunc(due, func(d storage.Due) bool {
		if _, ok := known[d.ID]; ok {
			return true
		}
		_, ok := left[d.ID]
		return ok
	})
	for i := range due {
		q.win.add(q.restore(&due[i], now, wall), now)
	}
	if r.hasFloor {
		r.hasFloor = false
		q.win.lower(r.floor)
	}
	if q.win.len() > q.size {
		q.truncate(q.size, drop)
	}
}

// restore makes an item of what the outbox says. A first attempt is due
// whatever the clock says, and no retry is further away than the policy's
// longest wait: if it is, the wall clock has jumped.
func (q *queue) restore(d *storage.Due, now time.Duration, wall time.Time) item {
	it := item{id: d.ID, at: d.At.UnixMilli(), due: now, attempts: int32(min(d.Attempts, maxAttempts))}
	if d.Attempts > 0 {
		it.spent = unknownSpent
		wait := d.At.Sub(wall)
		if q.config != nil {
			wait = min(wait, q.config.Retry.longest())
		}
		it.due += max(wait, 0)
	}
	return it
}

// maxAttempts bounds the attempts that are counted in memory.
const maxAttempts = 1 << 30

// abandon ends a reading that failed.
func (q *queue) abandon(again time.Duration) {
	r := &q.reading
	r.active, r.discard, r.hasFloor, r.left = false, false, false, nil
	r.again = again
}
