package badger

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// Records are written by hand: a version byte, the fields, and a CRC-32C over
// both. That costs no more than generated protobuf code, has no reflection,
// and a settlement can rewrite the head of a delivery's record while it
// copies the tail unread. The checksum is ours because Badger answers damage
// in its files with "key not found" or stale data rather than an error.

// recordVersion starts every record.
const recordVersion = 1

// errDamaged means that a record's checksum or form is wrong.
var errDamaged = errors.New("record is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const checksumSize = 4

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBytes(b, v []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// appendTime keeps microseconds since 1970; times before that, and the zero
// time, become zero.
func appendTime(b []byte, t time.Time) []byte {
	return binary.AppendUvarint(b, uint64(micro(t)))
}

func appendDuration(b []byte, d time.Duration) []byte {
	return binary.AppendUvarint(b, uint64(max(d, 0)/time.Microsecond))
}

func micro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(t.UnixMicro(), 0)
}

func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(t.UnixMilli(), 0)
}

func timeOfMicro(v int64) time.Time {
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMicro(v).UTC()
}

func timeOfMilli(v int64) time.Time {
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMilli(v).UTC()
}

// appendChecksum ends the record that starts at the given place.
func appendChecksum(b []byte, start int) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// reader takes a record apart. After the first mistake everything it answers
// is zero and bad is set.
type reader struct {
	b   []byte
	bad bool
}

// openRecord checks the checksum and the version.
func openRecord(b []byte) (reader, error) {
	n := len(b) - checksumSize
	if n < 1 || crc32.Checksum(b[:n], castagnoli) != binary.BigEndian.Uint32(b[n:]) {
		return reader{}, errDamaged
	}
	if b[0] != recordVersion {
		return reader{}, errDamaged
	}
	return reader{b: b[1:n]}, nil
}

func (r *reader) err() error {
	if r.bad {
		return errDamaged
	}
	return nil
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() byte {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes() []byte           { return r.take(r.uvarint()) }
func (r *reader) string() string          { return string(r.bytes()) }
func (r *reader) time() time.Time         { return timeOfMicro(int64(r.uvarint())) }
func (r *reader) duration() time.Duration { return time.Duration(r.uvarint()) * time.Microsecond }

// Statuses as they are kept, in a delivery's record and in the low bits of
// its user meta, which a scan of keys can read without the value.
const (
	statusPending byte = iota + 1
	statusDelivered
	statusFailed
	statusCancelled
)

// Bits of a delivery's user meta.
const (
	metaStatus      = 0x07
	metaRescheduled = 0x08
)

var statusNames = [...]storage.Status{
	statusPending:   storage.StatusPending,
	statusDelivered: storage.StatusDelivered,
	statusFailed:    storage.StatusFailed,
	statusCancelled: storage.StatusCancelled,
}

// statusByte answers 0 for a status that is not kept.
func statusByte(s storage.Status) byte {
	for i, name := range statusNames {
		if i > 0 && name == s {
			return byte(i)
		}
	}
	return 0
}

// Flags of records.
const (
	flagTest    = 0x01
	flagChunked = 0x02 // event: the body is in chunks of its own
	flagReplay  = 0x02 // delivery: the tail ends with the id it repeats

	flagTruncated  = 0x01 // attempt
	flagIncomplete = 0x02
)

// appendEvent writes the record of an event. A chunked body is kept apart
// and only its length stands here.
func appendEvent(b []byte, e *storage.Event, chunked bool) []byte {
	start := len(b)
	var flags byte
	if e.Test {
		flags |= flagTest
	}
	if chunked {
		flags |= flagChunked
	}
	b = append(b, recordVersion, flags)
	b = binary.AppendUvarint(b, uint64(e.Deliveries))
	b = appendString(b, e.ID)
	b = appendString(b, e.Type)
	b = appendString(b, e.TraceParent)
	b = appendString(b, e.TraceState)
	b = binary.AppendUvarint(b, uint64(len(e.Body)))
	if !chunked {
		b = append(b, e.Body...)
	}
	return appendChecksum(b, start)
}

// eventType reads the type alone of a record that was verified.
func eventType(b []byte) (string, error) {
	if len(b) < 2+checksumSize {
		return "", errDamaged
	}
	r := reader{b: b[2:]}
	r.uvarint()
	r.bytes()
	return r.string(), r.err()
}

// eventDeliveries reads the number of deliveries alone.
func eventDeliveries(b []byte) (int, error) {
	if len(b) < 2+checksumSize {
		return 0, errDamaged
	}
	r := reader{b: b[2:]}
	return int(r.uvarint()), r.err()
}

// decodeEvent reads an event; size is the length of a body that is in chunks.
func decodeEvent(key storage.EventKey, b []byte) (e *storage.Event, size int, err error) {
	r, err := openRecord(b)
	if err != nil {
		return nil, 0, err
	}
	flags := r.byte()
	e = &storage.Event{Key: key, AcceptedAt: key.Time().UTC(), Test: flags&flagTest != 0}
	e.Deliveries = int(r.uvarint())
	e.ID = r.string()
	e.Type = r.string()
	e.TraceParent = r.string()
	e.TraceState = r.string()
	n := r.uvarint()
	if flags&flagChunked != 0 {
		return e, int(n), r.err()
	}
	e.Body = append([]byte{}, r.take(n)...)
	return e, 0, r.err()
}

// head is the part of a delivery's record that settlements change; tail is
// the rest, which they copy.
type head struct {
	status     byte
	flags      byte
	attempts   int
	statusCode int
	next       int64 // milliseconds; zero unless rescheduled
	last       int64 // microseconds
	code       []byte
	attempt    []byte // the record of the attempt that ended the delivery, if one did
	tail       []byte
}

func appendDelivery(b []byte, h *head) []byte {
	start := len(b)
	b = append(b, recordVersion, h.status, h.flags)
	b = binary.AppendUvarint(b, uint64(h.attempts))
	b = binary.AppendUvarint(b, uint64(h.statusCode))
	b = binary.AppendUvarint(b, uint64(h.next))
	b = binary.AppendUvarint(b, uint64(h.last))
	b = appendBytes(b, h.code)
	b = appendBytes(b, h.attempt)
	b = append(b, h.tail...)
	return appendChecksum(b, start)
}

// appendTail writes what never changes about a delivery.
func appendTail(b []byte, endpoint, eventID, typ string, replayOf storage.DeliveryID) []byte {
	b = appendString(b, endpoint)
	b = appendString(b, eventID)
	b = appendString(b, typ)
	if !replayOf.IsZero() {
		b = append(b, replayOf[:]...)
	}
	return b
}

// decodeHead reads a delivery's record; its slices point into b.
func decodeHead(b []byte) (h head, err error) {
	r, err := openRecord(b)
	if err != nil {
		return h, err
	}
	h.status, h.flags = r.byte(), r.byte()
	h.attempts = int(r.uvarint())
	h.statusCode = int(r.uvarint())
	h.next = int64(r.uvarint())
	h.last = int64(r.uvarint())
	h.code = r.bytes()
	h.attempt = r.bytes()
	h.tail = r.b
	if h.status == 0 || int(h.status) >= len(statusNames) {
		return h, errDamaged
	}
	return h, r.err()
}

// endpoint returns the endpoint's name, or nil.
func (h *head) endpoint() []byte {
	r := reader{b: h.tail}
	return r.bytes()
}

// due is when the delivery is due, in milliseconds.
func (h *head) due(id storage.DeliveryID) int64 {
	if h.next != 0 {
		return h.next
	}
	return id.Event().Milli()
}

func (h *head) meta() byte {
	if h.status == statusPending && h.next != 0 {
		return h.status | metaRescheduled
	}
	return h.status
}

func (h *head) delivery(id storage.DeliveryID) (*storage.Delivery, error) {
	r := reader{b: h.tail}
	d := &storage.Delivery{
		ID:            id,
		Endpoint:      r.string(),
		EventID:       r.string(),
		Type:          r.string(),
		Status:        statusNames[h.status],
		Test:          h.flags&flagTest != 0,
		CreatedAt:     id.Time().UTC(),
		Attempts:      h.attempts,
		Code:          string(h.code),
		StatusCode:    h.statusCode,
		LastAttemptAt: timeOfMicro(h.last),
	}
	if h.status == statusPending {
		d.NextAttemptAt = timeOfMilli(h.due(id))
	}
	if h.flags&flagReplay != 0 {
		copy(d.ReplayOf[:], r.take(uint64(len(d.ReplayOf))))
	}
	return d, r.err()
}
