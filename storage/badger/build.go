package badger

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/promptreports/caddy-webhooks/storage"
)

// builder encodes events into an op, without their keys.
type builder struct {
	op    *op
	apart bool // bodies go into chunks
}

// record closes what was appended to the op's buffer since start and returns
// it.
func (p *op) record(start int) []byte { return p.buf[start:len(p.buf):len(p.buf)] }

// blank appends a key of the kind with room for what stamp fills in.
func (b *builder) blank(kind byte, n int) []byte {
	start := len(b.op.buf)
	b.op.buf = append(append(b.op.buf, kind), make([]byte, n-1)...)
	return b.op.record(start)
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
	key := b.blank(kindEvent, eventKeyLen)
	start := len(b.op.buf)
	b.op.buf = appendEvent(b.op.buf, e, chunked)
	b.op.set(entry{key: key, value: b.op.record(start)})

	key = b.blank(kindID, idKeyLen)
	copy(key[1:], a.hash[:])
	start = len(b.op.buf)
	b.op.buf = appendID(b.op.buf, d, older)
	b.op.set(entry{key: key, value: b.op.record(start)})

	b.deliveries(a, e, replayOf)
	a.entries = b.op.entries[first:len(b.op.entries):len(b.op.entries)]
	a.chunks = b.op.chunks[firstChunk:len(b.op.chunks):len(b.op.chunks)]
}

func (b *builder) chunks(body []byte) {
	for part := range slices.Chunk(body, chunkSize) {
		key := b.blank(kindChunk, chunkKeyLen)
		start := len(b.op.buf)
		b.op.buf = append(append(b.op.buf, recordVersion), part...)
		b.op.buf = appendChecksum(b.op.buf, start)
		b.op.chunks = append(b.op.chunks, entry{key: key, value: b.op.record(start)})
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
		key := b.blank(kindDelivery, deliveryKeyLen)
		start := len(b.op.buf)
		b.op.buf = appendDelivery(b.op.buf, &h)
		b.op.set(entry{key: key, value: b.op.record(start), meta: h.meta()})
	}
}

// stamp writes the event's key wherever it belongs.
func (a *acceptance) stamp(key storage.EventKey) {
	a.key = key
	delivery := 0
	for i := range a.entries {
		e := &a.entries[i]
		switch e.key[0] {
		case kindEvent:
			copy(e.key[1:], key[:])
		case kindID:
			stampID(e.value, key)
		case kindDelivery:
			id := key.Delivery(delivery)
			copy(e.key[1:], id[:])
			delivery++
		}
	}
	for i := range a.chunks {
		copy(a.chunks[i].key[1:], key[:])
		binary.BigEndian.PutUint16(a.chunks[i].key[11:], uint16(i))
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
