package badger

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/promptreports/caddy-webhooks/storage"
)

const (
	// inlineBody is the greatest body that stands in its event's record, and
	// inlineTotal what the bodies of one call may come to there. Others are
	// cut into chunks, so that a table's value is never longer.
	inlineBody  = 256 << 10
	inlineTotal = 1 << 20
	chunkSize   = 256 << 10
)

// digestSize is the part kept of the SHA-256 that tells payloads apart.
const digestSize = 16

type digest [digestSize]byte

func hashID(id string) idHash {
	sum := sha256.Sum256([]byte(id))
	return idHash(sum[:16])
}

func digestOf(e *storage.NewEvent) digest {
	if e.Digest != ([32]byte{}) {
		return digest(e.Digest[:digestSize])
	}
	sum := sha256.Sum256(e.Body)
	return digest(sum[:digestSize])
}

// call is an Accept call: its events that have ids of their own, and for the
// others which event they repeat.
type call struct {
	events  []storage.NewEvent
	hashes  []idHash // of the events in unique
	digests []digest // of all events
	unique  []int
	same    []int // for each event, the place in unique
	kept    []*keptEvent
}

// single is a call with one event, in one piece.
type single struct {
	call
	hashes  [1]idHash
	digests [1]digest
	unique  [1]int
	same    [1]int
	kept    [1]*keptEvent
}

// keptEvent is what deduplication finds.
type keptEvent struct {
	key    storage.EventKey
	digest digest
	count  int
}

func newCall(events []storage.NewEvent) (*call, error) {
	var c *call
	var seen map[idHash]int
	if n := len(events); n == 1 {
		one := new(single)
		c = &one.call
		*c = call{hashes: one.hashes[:0], digests: one.digests[:], unique: one.unique[:0], same: one.same[:], kept: one.kept[:]}
	} else {
		seen = make(map[idHash]int, n)
		c = &call{
			hashes: make([]idHash, 0, n), digests: make([]digest, n), unique: make([]int, 0, n), same: make([]int, n),
			kept: make([]*keptEvent, n),
		}
	}
	c.events = events
	var conflict []int
	for i := range events {
		e := &events[i]
		if len(e.Endpoints) > storage.MaxDeliveries {
			return nil, fmt.Errorf("accepting an event for %d endpoints: %w", len(e.Endpoints), storage.ErrTooLarge)
		}
		h := hashID(e.ID)
		c.digests[i] = digestOf(e)
		if at, ok := seen[h]; ok {
			c.same[i] = at
			if c.digests[c.unique[at]] != c.digests[i] {
				conflict = append(conflict, i)
			}
			continue
		}
		c.same[i] = len(c.unique)
		if seen != nil {
			seen[h] = len(c.unique)
		}
		c.unique = append(c.unique, i)
		c.hashes = append(c.hashes, h)
	}
	if conflict != nil {
		return nil, &storage.ConflictError{Indexes: conflict}
	}
	return c, nil
}

// Accept implements storage.Outbox.
func (o *Outbox) Accept(ctx context.Context, events []storage.NewEvent) ([]storage.Accepted, error) {
	if err := o.enter(); err != nil {
		return nil, err
	}
	defer o.gate.RUnlock()
	if err := o.ready(ctx); err != nil {
		return nil, err
	}
	if len(events) == 0 {
		return nil, nil
	}
	c, err := newCall(events)
	if err != nil {
		return nil, err
	}
	if err := o.ids.wait(ctx, c.hashes); err != nil {
		return nil, err
	}
	fresh, err := o.findKept(c)
	if err != nil || fresh == 0 {
		o.ids.release(c.hashes)
		if err != nil {
			return nil, err
		}
		return c.answer(nil), nil
	}
	p := c.op()
	if err := o.admit(p); err != nil {
		o.ids.release(c.hashes)
		return nil, err
	}
	if err := o.commitEvents(ctx, p); err != nil {
		return nil, err
	}
	defer p.recycle()
	return c.answer(p), nil
}

// ready refuses a write before any work is done for it.
func (o *Outbox) ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return o.failure()
}

// commitEvents hands the op to whichever segment is active.
func (o *Outbox) commitEvents(ctx context.Context, p *op) error {
	for {
		s := o.active.Load()
		if err := s.acquire(); err != nil {
			o.giveBack(p)
			return err
		}
		err := o.submit(ctx, s, p)
		s.use.RUnlock()
		if !errors.Is(err, errSealed) {
			return err
		}
		p.left.Store(0)
	}
}

// findKept looks up the call's ids and returns how many are new.
func (o *Outbox) findKept(c *call) (fresh int, err error) {
	var conflict []int
	for u, i := range c.unique {
		kept, err := o.lookup(c.hashes[u], nil)
		if err != nil {
			return 0, err
		}
		if kept == nil {
			fresh++
			continue
		}
		c.kept[u] = kept
		if kept.digest != c.digests[i] {
			conflict = append(conflict, i)
		}
	}
	if conflict != nil {
		return 0, &storage.ConflictError{Indexes: conflict}
	}
	return fresh, nil
}

// lookup finds the oldest event that is kept under the id, in the segments
// other than the one that the caller holds, if any.
func (o *Outbox) lookup(h idHash, held *segment) (*keptEvent, error) {
	for segs := range slices.Chunk(*o.segments.Load(), sieveWidth) {
		var few [sieveWidth]*segment
		for _, s := range sieve(&few, segs, h) {
			if s == held || !s.mayHold(h) {
				continue
			}
			kept, err := s.lookup(h)
			if kept != nil || err != nil && !errors.Is(err, storage.ErrNotFound) {
				return kept, err
			}
		}
	}
	return nil, nil
}

func (s *segment) lookup(h idHash) (kept *keptEvent, err error) {
	err = s.view(func(v view) error {
		d, keys, err := readID(v, h)
		if err != nil || len(keys) == 0 {
			return err
		}
		e, _, err := readEventRecord(v, keys[0])
		if err == nil {
			kept = &keptEvent{key: keys[0], digest: d, count: e.Deliveries}
		}
		return err
	})
	return kept, err
}

// answer puts the call's result together; p is nil when all were kept.
func (c *call) answer(p *op) []storage.Accepted {
	all := make([]storage.Accepted, len(c.events))
	n := 0
	for u, i := range c.unique {
		if k := c.kept[u]; k != nil {
			all[i] = storage.Accepted{Key: k.key, AcceptedAt: k.key.Time().UTC(), Deliveries: k.count, Duplicate: true}
			continue
		}
		a := &p.events[n]
		n++
		all[i] = storage.Accepted{Key: a.key, AcceptedAt: a.key.Time().UTC(), Deliveries: len(a.endpoints)}
	}
	for i, u := range c.same {
		if first := c.unique[u]; first != i {
			all[i] = all[first]
			all[i].Duplicate = true
		}
	}
	return all
}

// op encodes the call's new events.
func (c *call) op() *op {
	entries, total, size := 0, 0, 0
	for u, i := range c.unique {
		if c.kept[u] == nil {
			e := &c.events[i]
			entries += 2 + len(e.Endpoints)
			total += len(e.Body)
			size += 256 + len(e.Body) + len(e.Endpoints)*(deliveryKeyLen+160)
		}
	}
	p := newOp(entries, size)
	p.ids = c.hashes
	b := builder{op: p, apart: total > inlineTotal}
	for u, i := range c.unique {
		if c.kept[u] != nil {
			continue
		}
		e := &c.events[i]
		status := statusPending
		if e.Test {
			status = statusFailed
		}
		p.accept(c.hashes[u], e.Type, e.Endpoints, status)
		b.event(&storage.Event{
			ID: e.ID, Type: e.Type, Body: e.Body, TraceParent: e.TraceParent, TraceState: e.TraceState,
			Deliveries: len(e.Endpoints), Test: e.Test,
		}, c.digests[i], nil, storage.DeliveryID{})
	}
	return p
}

// admit refuses events for which there is no room. The others have their place
// among the pending deliveries kept until giveBack.
func (o *Outbox) admit(p *op) error {
	if err := o.room(p.queued); err != nil {
		return err
	}
	n := int64(0)
	for i := range p.events {
		if p.events[i].status == statusPending {
			n += int64(len(p.events[i].endpoints))
		}
	}
	// What is being committed is for a moment in both numbers, and never in
	// none: it leaves admitted after it has become pending.
	admitted := o.admitted.Add(n)
	if n > 0 && admitted+o.pending.Load() > int64(o.bounds.Load().maxPending) {
		o.admitted.Add(-n)
		return storage.ErrBacklogFull
	}
	p.admitted = n
	return nil
}
