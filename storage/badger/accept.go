package badger

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/promptreports/caddy-webhooks/storage"
)

const (
	// inlineBody is the greatest body that stands in its event's record, and
	// inlineTotal what the bodies of one call may come to there. Others are
	// cut into chunks, which are committed before the records.
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

// keptEvent is what deduplication finds.
type keptEvent struct {
	key    storage.EventKey
	digest digest
	count  int
}

func newCall(events []storage.NewEvent) (*call, error) {
	c := &call{
		events:  events,
		hashes:  make([]idHash, 0, len(events)),
		digests: make([]digest, len(events)),
		unique:  make([]int, 0, len(events)),
		same:    make([]int, len(events)),
	}
	var seen map[idHash]int
	if len(events) > 1 {
		seen = make(map[idHash]int, len(events))
	}
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
	if err := o.claimIDs(ctx, c.hashes); err != nil {
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
	return c.answer(p), nil
}

// ready refuses a write before any work is done for it.
func (o *Outbox) ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return o.failure()
}

// claimIDs waits until no other call under way concerns the ids.
func (o *Outbox) claimIDs(ctx context.Context, ids []idHash) error {
	for {
		wait := o.ids.claim(ids)
		if wait == nil {
			return nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// commitEvents hands the op to whichever segment is active.
func (o *Outbox) commitEvents(ctx context.Context, p *op) error {
	for {
		s := o.active.Load()
		if _, err := s.acquire(); err != nil {
			o.ids.release(p.ids)
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
	c.kept = make([]*keptEvent, len(c.unique))
	var conflict []int
	for u, i := range c.unique {
		kept, err := o.lookup(c.hashes[u])
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

// lookup finds the oldest event that is kept under the id.
func (o *Outbox) lookup(h idHash) (*keptEvent, error) {
	for _, s := range *o.segments.Load() {
		if !s.mayHold(h) {
			continue
		}
		kept, err := s.lookup(h)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return nil, err
		}
		if kept != nil {
			return kept, nil
		}
	}
	return nil, nil
}

func (s *segment) mayHold(h idHash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first != (storage.EventKey{}) && s.ids.has(h)
}

func (s *segment) lookup(h idHash) (*keptEvent, error) {
	db, err := s.acquire()
	if err != nil {
		return nil, err
	}
	defer s.use.RUnlock()
	txn := db.NewTransaction(false)
	defer txn.Discard()
	d, keys, err := readID(txn, h)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	e, _, err := readEventRecord(txn, keys[0])
	if err != nil {
		return nil, err
	}
	return &keptEvent{key: keys[0], digest: d, count: e.Deliveries}, nil
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
			entries += 3 + 2*len(e.Endpoints)
			total += len(e.Body)
			size += 256 + len(e.Body) + len(e.Endpoints)*(endpointKeyLen+deliveryKeyLen+160)
		}
	}
	p := newOp(entries)
	p.ids = c.hashes
	b := builder{op: p, buf: make([]byte, 0, size), apart: total > inlineTotal}
	for u, i := range c.unique {
		if c.kept[u] != nil {
			continue
		}
		e := &c.events[i]
		p.events = append(p.events, acceptance{
			hash: c.hashes[u], endpoints: slices.Clone(e.Endpoints), status: statusPending,
		})
		if e.Test {
			p.events[len(p.events)-1].status = statusFailed
		}
		b.event(&storage.Event{
			ID: e.ID, Type: e.Type, Body: e.Body, TraceParent: e.TraceParent, TraceState: e.TraceState,
			Deliveries: len(e.Endpoints), Test: e.Test,
		}, c.digests[i], nil, storage.DeliveryID{})
	}
	return p
}

// builder encodes events into an op, without their keys.
type builder struct {
	op    *op
	buf   []byte
	apart bool // bodies go into chunks
}

// record closes what was appended to buf since start and returns it.
func (b *builder) record(start int) []byte { return b.buf[start:len(b.buf):len(b.buf)] }

// blank appends a key of the kind with room for what stamp fills in.
func (b *builder) blank(kind byte, hash []byte, n int) []byte {
	start := len(b.buf)
	b.buf = append(append(b.buf, kind), hash...)
	b.buf = append(b.buf, make([]byte, n-1-len(hash))...)
	return b.record(start)
}

// event encodes the newest acceptance of the op. older are the events of the
// segment that share its id.
func (b *builder) event(e *storage.Event, d digest, older []storage.EventKey, replayOf storage.DeliveryID) {
	a := &b.op.events[len(b.op.events)-1]
	first, firstChunk := len(b.op.entries), len(b.op.chunks)
	chunked := len(e.Body) > inlineBody || b.apart
	if chunked {
		b.chunks(e.Body)
	}
	key := b.blank(kindEvent, nil, eventKeyLen)
	start := len(b.buf)
	b.buf = appendEvent(b.buf, e, chunked)
	b.op.set(badgerdb.Entry{Key: key, Value: b.record(start)})

	hash := hash4(e.Type)
	key = b.blank(kindType, hash[:], typeKeyLen)
	start = len(b.buf)
	b.buf = binary.BigEndian.AppendUint32(b.buf, uint32(len(a.endpoints)))
	b.op.set(badgerdb.Entry{Key: key, Value: b.record(start)})

	key = b.blank(kindID, a.hash[:], idKeyLen)
	start = len(b.buf)
	b.buf = appendID(b.buf, d, older)
	b.op.set(badgerdb.Entry{Key: key, Value: b.record(start)})

	b.deliveries(a, e, replayOf)
	a.entries = b.op.entries[first:len(b.op.entries):len(b.op.entries)]
	a.chunks = b.op.chunks[firstChunk:len(b.op.chunks):len(b.op.chunks)]
}

func (b *builder) chunks(body []byte) {
	for part := range slices.Chunk(body, chunkSize) {
		key := b.blank(kindChunk, nil, chunkKeyLen)
		start := len(b.buf)
		b.buf = append(append(b.buf, recordVersion), part...)
		b.buf = appendChecksum(b.buf, start)
		b.op.chunks = append(b.op.chunks, badgerdb.Entry{Key: key, Value: b.record(start)})
		b.op.queued += int64(len(part))
	}
}

func (b *builder) deliveries(a *acceptance, e *storage.Event, replayOf storage.DeliveryID) {
	h := head{status: a.status}
	if e.Test {
		h.flags |= flagTest
	}
	if a.status == statusFailed {
		h.code = []byte(storage.CodeInterrupted)
	}
	if !replayOf.IsZero() {
		h.flags |= flagReplay
	}
	var tail []byte
	for _, name := range a.endpoints {
		tail = appendTail(tail[:0], name, e.ID, e.Type, replayOf)
		h.tail = tail
		key := b.blank(kindDelivery, nil, deliveryKeyLen)
		start := len(b.buf)
		b.buf = appendDelivery(b.buf, &h)
		b.op.set(badgerdb.Entry{Key: key, Value: b.record(start), UserMeta: h.meta()})

		hash := hash4(name)
		b.op.set(badgerdb.Entry{Key: b.blank(kindEndpoint, hash[:], endpointKeyLen)})
		if a.status == statusFailed {
			b.op.set(badgerdb.Entry{Key: b.blank(kindFailed, hash[:], endpointKeyLen)})
		}
	}
}

// stamp writes the event's key wherever it belongs.
func (a *acceptance) stamp(key storage.EventKey) {
	a.key = key
	delivery, endpoint := 0, 0
	for i := range a.entries {
		e := &a.entries[i]
		switch e.Key[0] {
		case kindEvent:
			copy(e.Key[1:], key[:])
		case kindType:
			copy(e.Key[5:], key[:])
		case kindID:
			stampID(e.Value, key)
		case kindDelivery:
			id := key.Delivery(delivery)
			copy(e.Key[1:], id[:])
			delivery++
		case kindEndpoint:
			id := key.Delivery(endpoint)
			copy(e.Key[5:], id[:])
			endpoint++
		case kindFailed:
			id := key.Delivery(endpoint - 1)
			copy(e.Key[5:], id[:])
		}
	}
	for i := range a.chunks {
		copy(a.chunks[i].Key[1:], key[:])
		binary.BigEndian.PutUint16(a.chunks[i].Key[11:], uint16(i))
	}
}

// appendID writes the record of a public id with room for one more key.
func appendID(b []byte, d digest, older []storage.EventKey) []byte {
	b = append(append(b, recordVersion), d[:]...)
	for _, k := range older {
		b = append(b, k[:]...)
	}
	return append(b, make([]byte, len(storage.EventKey{})+checksumSize)...)
}

// stampID fills the room.
func stampID(b []byte, key storage.EventKey) {
	n := len(b) - checksumSize
	copy(b[n-len(key):], key[:])
	binary.BigEndian.PutUint32(b[n:], crc32.Checksum(b[:n], castagnoli))
}

func decodeID(b []byte) (d digest, keys []storage.EventKey, err error) {
	r, err := openRecord(b)
	if err != nil {
		return d, nil, err
	}
	copy(d[:], r.take(digestSize))
	for len(r.b) >= len(storage.EventKey{}) {
		keys = append(keys, storage.EventKey(r.take(uint64(len(storage.EventKey{})))))
	}
	if len(r.b) != 0 || len(keys) == 0 {
		r.bad = true
	}
	return d, keys, r.err()
}

// Replay implements storage.Outbox.
//
// The new delivery belongs to a copy of the event under a key of its own, in
// the active segment: so ids go on sorting by creation, and retention can
// remove the old segment.
func (o *Outbox) Replay(ctx context.Context, of storage.DeliveryID) (*storage.Delivery, error) {
	if err := o.enter(); err != nil {
		return nil, err
	}
	defer o.gate.RUnlock()
	if err := o.ready(ctx); err != nil {
		return nil, err
	}
	d, _, err := o.delivery(of, false)
	if err != nil {
		return nil, err
	}
	e, err := o.event(of.Event())
	if err != nil {
		return nil, err
	}
	hash := hashID(e.ID)
	for {
		if err := o.claimIDs(ctx, []idHash{hash}); err != nil {
			return nil, err
		}
		p, err := o.replay(ctx, e, d, hash)
		if errors.Is(err, errSealed) {
			o.ids.release([]idHash{hash})
			continue
		}
		if err != nil {
			return nil, err
		}
		id := p.events[0].key.Delivery(0)
		return &storage.Delivery{
			ID: id, EventID: d.EventID, Type: d.Type, Endpoint: d.Endpoint, Status: storage.StatusPending,
			Test: d.Test, CreatedAt: id.Time().UTC(), NextAttemptAt: id.Time().UTC(), ReplayOf: of,
		}, nil
	}
}

// replay commits the copy; the claim on the id is given back unless the
// error is errSealed.
func (o *Outbox) replay(ctx context.Context, e *storage.Event, d *storage.Delivery, hash idHash) (*op, error) {
	s := o.active.Load()
	db, err := s.acquire()
	if err != nil {
		o.ids.release([]idHash{hash})
		return nil, err
	}
	defer s.use.RUnlock()
	txn := db.NewTransaction(false)
	sum, older, err := readID(txn, hash)
	txn.Discard()
	if err == nil && len(older) == 0 {
		var kept *keptEvent
		if kept, err = o.lookupElsewhere(s, hash); kept != nil {
			sum = kept.digest
		} else if err == nil {
			full := sha256.Sum256(e.Body)
			sum = digest(full[:digestSize])
		}
	}
	copyOf := *e
	copyOf.Deliveries = 1
	p := newOp(5)
	p.ids = []idHash{hash}
	p.events = append(p.events, acceptance{hash: hash, endpoints: []string{d.Endpoint}, status: statusPending})
	b := builder{op: p, buf: make([]byte, 0, 512+len(e.Body))}
	b.event(&copyOf, sum, older, d.ID)
	if err == nil {
		err = o.admit(p)
	}
	if err != nil {
		o.ids.release(p.ids)
		return nil, err
	}
	return p, o.submit(ctx, s, p)
}

// lookupElsewhere is lookup without the segment that the caller holds.
func (o *Outbox) lookupElsewhere(held *segment, h idHash) (*keptEvent, error) {
	for _, s := range *o.segments.Load() {
		if s == held || !s.mayHold(h) {
			continue
		}
		kept, err := s.lookup(h)
		if kept != nil || err != nil && !errors.Is(err, storage.ErrNotFound) {
			return kept, err
		}
	}
	return nil, nil
}

// admit refuses events for which there is no room.
func (o *Outbox) admit(p *op) error {
	n := 0
	for i := range p.events {
		if p.events[i].status == statusPending {
			n += len(p.events[i].endpoints)
		}
	}
	if n > 0 && o.pending.Load()+int64(n) > int64(o.bounds.Load().maxPending) {
		return storage.ErrBacklogFull
	}
	return o.room(p.queued)
}
