package event

import (
	"time"

	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

// Limits of what is accepted.
const (
	// MaxBatch is the greatest number of events in one batch.
	MaxBatch = 1000

	// MaxDepth is how deep objects and arrays may nest in an event. The
	// event itself is the first level; the array of a batch does not count.
	MaxDepth = 64

	// MaxID and MaxType bound an id and a type, in bytes.
	MaxID   = 128
	MaxType = 128

	// MaxFuture is how far ahead of the receipt a timestamp may be.
	MaxFuture = 24 * time.Hour
)

// Parser turns what apps post into events. Its zero value is ready for use. It
// is safe for concurrent use as long as its functions are.
//
// The caller bounds the size of bodies. Bodies are not kept.
type Parser struct {
	// Exact keeps data and metadata byte for byte and checks their syntax
	// only. Otherwise the event is made JS-stable.
	Exact bool

	// Types says whether an event type is in the catalogue; nil admits all.
	Types func(eventType string) bool

	// Now is the clock; nil is time.Now.
	Now func() time.Time

	// NewID makes ids for events that came without; nil is NewID.
	NewID func(now time.Time) string
}

// Event reads one event from an application/json body.
func (p *Parser) Event(body []byte) (*Event, *problem.Problem) {
	return nil, problem.EmptyBody.New("")
}

// IsBatch says whether an application/json body is one for Batch, which is
// when it starts with a bracket, and not for Event.
func IsBatch(body []byte) bool { return false }

// Batch reads 1 to MaxBatch events from an application/json body that is an
// array. It is all or nothing: where an event is refused, the problem lists
// the problems of all events that are, each with its index. Pointers are
// relative to the event, offsets to the body.
func (p *Parser) Batch(body []byte) ([]*Event, *problem.Problem) {
	return nil, problem.EmptyBody.New("")
}

// Lines reads 1 to MaxBatch events from an application/x-ndjson body, one
// event a line. Blank lines are passed over, and do not count in the indexes.
// It is all or nothing as Batch is.
func (p *Parser) Lines(body []byte) ([]*Event, *problem.Problem) {
	return nil, problem.EmptyBody.New("")
}
