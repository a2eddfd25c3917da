// Package event reads, checks and writes the envelope of an event: the JSON
// object {"id","type","timestamp","data","metadata"} that an app posts and
// that every attempt sends.
//
// The bytes that are sent are made once, by [Parser], in one pass over the
// bytes that came in and without decoding them into values. By default they
// are JS-stable: JSON.stringify(JSON.parse(body)) === body, so that a receiver
// which checks a signature over the body it parsed and wrote again comes to
// the same bytes.
package event

import "crypto/sha256"

// Event is an event that passed every check. It is immutable.
type Event struct {
	// ID identifies the event, as it was sent or as it was generated.
	ID string

	// Type is the event type, for example "version.promoted".
	Type string

	// Timestamp is when the event occurred, as it was sent: RFC 3339. Where
	// none was sent it is the time of receipt in UTC with milliseconds.
	Timestamp string

	// Body is the exact payload of every attempt.
	Body []byte

	// TraceParent and TraceState are the trace context that a CloudEvent
	// brought along, unchecked, or empty.
	TraceParent, TraceState string

	// stampAt is where Body holds the time of receipt, or 0 where the
	// timestamp was sent.
	stampAt int

	// stable says that no name stands twice in one object of Body.
	stable bool
}

// Most events have a few hundred bytes. These have them beside the event, in
// one allocation.
type (
	smallEvent struct {
		Event
		bytes [256]byte
	}
	mediumEvent struct {
		Event
		bytes [512]byte
	}
)

// newEvent returns an event with a copy of the body.
func newEvent(body []byte) *Event {
	var ev *Event
	switch n := len(body); {
	case n <= len(smallEvent{}.bytes):
		e := new(smallEvent)
		ev, e.Body = &e.Event, e.bytes[:n:n]
	case n <= len(mediumEvent{}.bytes):
		e := new(mediumEvent)
		ev, e.Body = &e.Event, e.bytes[:n:n]
	default:
		ev = &Event{Body: make([]byte, n)}
	}
	copy(ev.Body, body)
	return ev
}

// Digest returns the SHA-256 of what two posts of the same event have in
// common: of Body, less a timestamp that was not sent. Without it, an app that
// leaves the timestamp to us could not post an event again after a lost answer.
func (e *Event) Digest() [32]byte {
	if e.stampAt == 0 {
		return sha256.Sum256(e.Body)
	}
	h := sha256.New()
	h.Write(e.Body[:e.stampAt])
	h.Write(e.Body[e.stampAt+len(e.Timestamp):])
	var sum [32]byte
	h.Sum(sum[:0])
	return sum
}
