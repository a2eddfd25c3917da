package badger

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// Due implements storage.Outbox.
//
// A delivery that was never rescheduled is due at its creation, so a walk of
// the endpoint's index finds those in order. The others stand in an index by
// due time, to which every reschedule adds an entry and from which nothing is
// removed: an entry counts only while the delivery's record agrees.
func (o *Outbox) Due(ctx context.Context, endpoint string, after storage.Position, limit int) ([]storage.Due, error) {
	if err := o.enter(); err != nil {
		return nil, err
	}
	defer o.gate.RUnlock()
	if limit <= 0 {
		return nil, ctx.Err()
	}
	q := dueQuery{endpoint: endpoint, hash: hash4(endpoint), after: after, limit: limit, ctx: ctx}
	fresh := 0
	for _, s := range *o.segments.Load() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		firstFresh, firstLater := s.firstDue(endpoint, milliAfter(after))
		if fresh >= limit {
			// Those never rescheduled in later segments are all due later.
			firstFresh = -1
		}
		if firstFresh < 0 && firstLater < 0 {
			continue
		}
		err := s.view(func(v view) error {
			q.v = v
			n := len(q.found)
			if firstFresh >= 0 {
				if err := q.walkFresh(s, limit-fresh); err != nil {
					return err
				}
			}
			fresh += len(q.found) - n
			if firstLater >= 0 {
				return q.walkLater(s)
			}
			return nil
		})
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return nil, err
		}
	}
	slices.SortFunc(q.found, func(a, b storage.Due) int {
		return storage.Position{At: a.At, ID: a.ID}.Compare(storage.Position{At: b.At, ID: b.ID})
	})
	// A journal is no snapshot: what was rescheduled meanwhile may stand twice.
	q.found = slices.CompactFunc(q.found, func(a, b storage.Due) bool { return a.ID == b.ID })
	if len(q.found) > limit {
		q.found = q.found[:limit:limit]
	}
	return q.found, nil
}

func milliAfter(p storage.Position) int64 {
	if p.At.IsZero() {
		return 0
	}
	return max(p.At.UnixMilli(), 0)
}

// firstDue returns bounds, in milliseconds, of the first delivery of each
// index that is due at v or later; -1 when there is none.
func (s *segment) firstDue(endpoint string, v int64) (fresh, later int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.pending[endpoint]
	if b == nil {
		return -1, -1
	}
	return b.fresh.first(v), b.later.first(v)
}

// nextDue is firstDue for one index, with the end of the stretch in which
// there are any.
func (s *segment) nextDue(endpoint string, v int64, later bool) (from, to int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.pending[endpoint]
	if b == nil {
		return -1, -1
	}
	sp := &b.fresh
	if later {
		sp = &b.later
	}
	r, ok := sp.from(v)
	if !ok {
		return -1, -1
	}
	return max(r.lo, v), r.hi
}

// dueQuery is one call of Due.
type dueQuery struct {
	ctx      context.Context
	v        view
	endpoint string
	hash     [4]byte
	after    storage.Position
	limit    int
	examined int
	found    []storage.Due
}

// walkFresh appends up to limit deliveries that were never rescheduled. It
// jumps over the stretches in which none is pending.
func (q *dueQuery) walkFresh(s *segment, limit int) error {
	prefix := append([]byte{kindEndpoint}, q.hash[:]...)
	return q.walk(s, prefix, false, limit, func(key []byte) (int64, storage.DeliveryID) {
		id := storage.DeliveryID(key[5:])
		return id.Event().Milli(), id
	})
}

// walkLater does the same with those that were.
func (q *dueQuery) walkLater(s *segment) error {
	prefix := append([]byte{kindDue}, q.hash[:]...)
	return q.walk(s, prefix, true, q.limit, func(key []byte) (int64, storage.DeliveryID) {
		return milliOf(key[5:]), storage.DeliveryID(key[11:])
	})
}

func (q *dueQuery) walk(s *segment, prefix []byte, later bool, limit int, parse func([]byte) (int64, storage.DeliveryID)) error {
	c := q.v.cursor(prefix, false)
	defer c.close()
	from, to := s.nextDue(q.endpoint, milliAfter(q.after), later)
	if from < 0 {
		return nil
	}
	seek := appendMilli(slices.Clone(prefix), from)
	if from == milliAfter(q.after) && later {
		seek = append(seek, q.after.ID[:]...)
	}
	end := len(q.found) + limit
	for c.seek(seek); c.valid() && len(q.found) < end; c.next() {
		ms, id := parse(c.key())
		if ms > to {
			if from, to = s.nextDue(q.endpoint, ms, later); from < 0 {
				return nil
			}
			if from > ms {
				c.seek(appendMilli(slices.Clone(prefix), from))
				if !c.valid() {
					return nil
				}
				ms, id = parse(c.key())
			}
		}
		if err := q.consider(ms, id, later); err != nil {
			return err
		}
		if err := q.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// consider appends the delivery if it is pending as the index says.
func (q *dueQuery) consider(ms int64, id storage.DeliveryID, later bool) error {
	at := time.UnixMilli(ms).UTC()
	if (storage.Position{At: at, ID: id}).Compare(q.after) <= 0 {
		return nil
	}
	if q.examined++; q.examined%giveWay == 0 {
		runtime.Gosched()
	}
	it, err := q.v.get(deliveryKey(id))
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	want := statusPending
	if later {
		want |= metaRescheduled
	}
	if it.meta() != want {
		return nil
	}
	return it.value(func(v []byte) error {
		h, err := decodeHead(v)
		if err != nil {
			return err
		}
		if h.due(id) == ms && string(h.endpoint()) == q.endpoint {
			q.found = append(q.found, storage.Due{ID: id, At: at, Attempts: h.attempts})
		}
		return nil
	})
}
