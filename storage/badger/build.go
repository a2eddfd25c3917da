package badger

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/promptreports/caddy-webhooks/storage"
)

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
