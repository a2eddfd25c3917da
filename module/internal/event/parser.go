package event

import (
	"bytes"
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

	// CloudTypes admits the types that a CloudEvent may have for all events:
	// those with upper case and "-".
	CloudTypes bool

	// Now is the clock; nil is time.Now.
	Now func() time.Time

	// NewID makes ids for events that came without; nil is the package's
	// NewID. They must be ids that an app may send.
	NewID func(now time.Time) string
}

// Event reads one event from an application/json body.
func (p *Parser) Event(body []byte) (*Event, *problem.Problem) { return p.one(body, false) }

func (p *Parser) one(body []byte, cloud bool) (*Event, *problem.Problem) {
	if prob := checkText(body); prob != nil {
		return nil, prob
	}
	s := newScanner(body, p.Exact)
	defer s.release()
	ev, prob, ok := p.item(s, p.now(), len(body), cloud)
	if !ok {
		return nil, s.failure
	}
	if !s.end() {
		return nil, s.failure
	}
	return ev, prob
}

// item reads the event at the scanner's position, of about the size. It
// returns the event or why it is refused, and false where the scan failed.
func (p *Parser) item(s *scanner, now time.Time, size int, cloud bool) (*Event, *problem.Problem, bool) {
	s.reset()
	s.prepare(size)
	if s.space() != '{' {
		at := s.pos
		if !s.value() {
			return nil, nil, false
		}
		return nil, problem.NotAnObject.New("another value stands in its place").WithOffset(at).WithPointer(""), true
	}
	e := envelope{now: now, cloud: cloud, cloudType: cloud || p.CloudTypes}
	if !e.object(s) {
		return nil, nil, false
	}
	ev, prob := p.finish(s, &e)
	return ev, prob, true
}

// finish makes the event that was read, unless it is refused.
func (p *Parser) finish(s *scanner, e *envelope) (*Event, *problem.Problem) {
	if s.fault != nil {
		return nil, s.fault
	}
	newID := p.NewID
	if newID == nil {
		newID = NewID
	}
	ev := e.write(s, newID)
	if p.Types != nil && !p.Types(ev.Type) {
		return nil, problem.UnknownEventType.New("the catalogue of event types is part of the configuration").WithPointer("/type")
	}
	return ev, nil
}

func (p *Parser) now() time.Time {
	if p.Now == nil {
		return time.Now()
	}
	return p.Now()
}

// prepare empties the output, with room for an event of the size.
func (s *scanner) prepare(size int) {
	need := headroom + size + len(metadataPart+"{}}")
	if size <= keepScratch {
		need = headroom + 2<<10
	}
	if cap(s.out) < need {
		s.out = make([]byte, 0, need)
	}
	s.out = s.out[:headroom]
}

// end expects that nothing but white space is left.
func (s *scanner) end() bool {
	s.space()
	if s.pos < len(s.in) {
		return s.fail(problem.MalformedJSON, s.pos, "something follows the end of the JSON")
	}
	return true
}

// byteOrderMark is U+FEFF. RFC 8259, section 8.1, forbids it before JSON.
const byteOrderMark = "\xef\xbb\xbf"

// checkText refuses a body that cannot be JSON text whatever stands in it.
func checkText(body []byte) *problem.Problem {
	if prob := checkExtent(body); prob != nil {
		return prob
	}
	return checkUTF8(body, 0)
}

func checkExtent(body []byte) *problem.Problem {
	switch {
	case isBlank(body):
		return problem.EmptyBody.New("an event is a JSON object")
	case len(body) > maxInput:
		return problem.BodyTooLarge.New("no body may be larger than 512 MiB")
	case bytes.HasPrefix(body, []byte(byteOrderMark)):
		return problem.MalformedJSON.New("the text starts with a byte order mark (BOM)").WithOffset(0)
	}
	return nil
}

// isBlank says whether there is nothing but white space.
func isBlank(text []byte) bool { return skipSpace(text, 0) == len(text) }
