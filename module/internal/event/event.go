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

	// stable says that no name stands twice in one object of Body.
	stable bool
}
