package event

import (
	"bytes"
	"slices"
	"time"

	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

// The members of an event, as bits of envelope.seen.
const (
	seenID = 1 << iota
	seenType
	seenTimestamp
	seenData
	seenMetadata
)

// The fixed parts of an event's bytes.
const (
	idPart        = `{"id":"`
	typePart      = `","type":"`
	timestampPart = `","timestamp":"`
	dataPart      = `,"data":`
	metadataPart  = `,"metadata":`
)

// headroom is kept free in the output before data, for what stands before it
// but may come after it. Generated ids are at most MaxID long as well.
const headroom = len(idPart) + MaxID + len(typePart) + MaxType + len(timestampPart) + maxTimestamp + len(`"`)

// envelope is an event that is being read.
type envelope struct {
	now time.Time

	// seen holds the members that came.
	seen uint16

	// cloud says that the members are those of a CloudEvent, and attributes
	// is what is known of them; cloudType, that the type may be one of its.
	cloud, cloudType bool
	attributes       attributes

	// id and eventType are parts of the input.
	id, eventType []byte

	// timestamp is a copy: escapes are resolved in it.
	timestamp  [maxTimestamp]byte
	nTimestamp int

	// metadataFirst says that metadata came before data; split is where the
	// second of the two starts in the output.
	metadataFirst bool
	split         int
}

// object reads an event, whose brace is the next byte.
func (e *envelope) object(s *scanner) bool {
	s.frames[0] = frame{first: -1}
	s.depth = 1
	s.pos++
	if s.space() == '}' {
		s.pos++
		e.complete(s)
		return true
	}
	for {
		if !e.member(s) {
			return false
		}
		switch s.space() {
		case ',':
			s.pos++
			s.space()
		case '}':
			s.pos++
			e.complete(s)
			return true
		default:
			return s.malformed("a comma or a closing brace is expected")
		}
	}
}

// member reads one member of the event.
func (e *envelope) member(s *scanner) bool {
	if e.cloud {
		return e.attribute(s)
	}
	mark, at := len(s.out), s.pos
	if !s.name() {
		return false
	}
	key := s.out[mark:]
	s.out = s.out[:mark]
	bit, exactCase := memberBit(key[1 : len(key)-1])
	switch {
	case bit == 0:
		s.refuseMember(problem.UnknownField, at, key, "an event has id, type, timestamp, data and metadata only")
		return s.discard()
	case !exactCase:
		s.refuseMember(problem.DuplicateKey, at, key, "a member's name is in the wrong case")
		return s.discard()
	case e.seen&bit != 0:
		s.refuseMember(problem.DuplicateKey, at, key, "a member is given twice")
		return s.discard()
	}
	e.seen |= bit
	switch bit {
	case seenID:
		return e.readID(s)
	case seenType:
		return e.readType(s)
	case seenTimestamp:
		return e.readTimestamp(s, "/timestamp")
	case seenData:
		return e.readObject(s, bit, "/data", dataPart)
	default:
		return e.readObject(s, bit, "/metadata", metadataPart)
	}
}

// memberBit finds the member of a name, also where the name is in another
// case: a receiver that decodes without regard to case would take it.
func memberBit(name []byte) (bit uint16, exactCase bool) {
	switch string(name) {
	case "id":
		return seenID, true
	case "type":
		return seenType, true
	case "timestamp":
		return seenTimestamp, true
	case "data":
		return seenData, true
	case "metadata":
		return seenMetadata, true
	}
	if len(name) > 2*len("timestamp") {
		return 0, false
	}
	for i, known := range [...]string{"id", "type", "timestamp", "data", "metadata"} {
		if bytes.EqualFold(name, []byte(known)) {
			return 1 << i, false
		}
	}
	return 0, false
}

func (s *scanner) refuseMember(kind problem.Kind, at int, key []byte, detail string) {
	if s.refused(kind) {
		pointer, _ := appendToken(nil, key)
		s.refuse(kind, at, string(pointer), detail)
	}
}

// text reads a string of the envelope. It returns the characters as they were
// sent and, until more is written, as they are written.
func (s *scanner) text() (sent, written []byte, ok bool) {
	from, mark := s.pos+1, len(s.out)
	if !s.str() {
		return nil, nil, false
	}
	written = s.out[mark+1 : len(s.out)-1]
	s.out = s.out[:mark]
	return s.in[from : s.pos-1], written, true
}

func (e *envelope) readID(s *scanner) bool {
	if s.space() != '"' {
		s.refuse(problem.InvalidID, s.pos, "/id", "the id is not a string")
		return s.discard()
	}
	at := s.pos
	id, _, ok := s.text()
	switch {
	case ok && e.cloud && len(id) == 0:
		s.refuse(problem.MissingField, at, "/id", "the id is empty")
	case ok && !validID(id):
		s.refuse(problem.InvalidID, at, "/id", "an id is 1 to 128 of A-Z a-z 0-9 _ ~ : - without escapes")
	}
	e.id = id
	return ok
}

func (e *envelope) readType(s *scanner) bool {
	if s.space() != '"' {
		s.refuse(problem.MissingField, s.pos, "/type", "the type is not a string")
		return s.discard()
	}
	at := s.pos
	eventType, _, ok := s.text()
	switch {
	case ok && len(eventType) == 0:
		s.refuse(problem.MissingField, at, "/type", "the type is empty")
	case ok && e.cloudType && !validType(eventType, &cloudTypeByte):
		s.refuse(problem.InvalidType, at, "/type",
			"a type is at most 128 bytes of A-Z a-z 0-9 _ - in parts with single dots between them, without escapes")
	case ok && !e.cloudType && !validType(eventType, &typeByte):
		s.refuse(problem.InvalidType, at, "/type",
			"a type is at most 128 bytes of a-z 0-9 _ in parts with single dots between them, without escapes")
	}
	e.eventType = eventType
	return ok
}

func (e *envelope) readTimestamp(s *scanner, pointer string) bool {
	if s.space() != '"' {
		s.refuse(problem.InvalidTimestamp, s.pos, pointer, "the timestamp is not a string")
		return s.discard()
	}
	at := s.pos
	_, text, ok := s.text()
	if !ok {
		return false
	}
	switch t, ok := parseTimestamp(text); {
	case !ok:
		s.refuse(problem.InvalidTimestamp, at, pointer, "the timestamp is not a date-time of RFC 3339")
	case t.Sub(e.now) > MaxFuture:
		s.refuse(problem.TimestampInFuture, at, pointer, "the timestamp is more than 24 hours ahead")
	default:
		e.nTimestamp = copy(e.timestamp[:], text)
	}
	return true
}

// readObject reads data or metadata, and writes it with its name.
func (e *envelope) readObject(s *scanner, bit uint16, root, part string) bool {
	if s.space() != '{' {
		s.refuse(problem.InvalidField, s.pos, root, "the member is not an object")
		return s.discard()
	}
	e.split = len(s.out)
	e.metadataFirst = bit == seenData && e.seen&seenMetadata != 0
	s.root = root
	s.out = append(s.out, part...)
	mark, from := len(s.out), s.pos
	ok := s.object()
	if ok && s.exact {
		s.out = append(s.out[:mark], s.in[from:s.pos]...)
	}
	return ok
}

// complete looks for what did not come.
func (e *envelope) complete(s *scanner) {
	if e.cloud {
		e.completeAttributes(s)
		return
	}
	e.need(s, seenType, "/type", "an event needs a type")
	e.need(s, seenData, "/data", "an event needs data")
}

func (e *envelope) need(s *scanner, bit uint16, pointer, detail string) {
	if e.seen&bit == 0 && s.refused(problem.MissingField) {
		s.fault = problem.MissingField.New(detail).WithPointer(pointer)
	}
}

// write completes the output and makes the event, which had no fault.
func (e *envelope) write(s *scanner, newID func(time.Time) string) *Event {
	if e.seen&seenMetadata == 0 {
		s.out = append(s.out, metadataPart+"{}"...)
	} else if e.metadataFirst {
		swap(s.out[headroom:], e.split-headroom)
	}
	s.out = append(s.out, '}')
	if e.seen&seenTimestamp == 0 {
		e.nTimestamp = len(e.now.UTC().AppendFormat(e.timestamp[:0], receiptFormat))
	}
	idLen, generated := len(e.id), ""
	if e.seen&seenID == 0 {
		generated = newID(e.now)
		idLen = len(generated)
	}
	typeAt := len(idPart) + idLen + len(typePart)
	timestampAt := typeAt + len(e.eventType) + len(timestampPart)
	start := headroom - timestampAt - e.nTimestamp - len(`"`)

	head := append(s.out[start:start], idPart...)
	head = append(head, e.id...)
	head = append(head, generated...)
	head = append(head, typePart...)
	head = append(head, e.eventType...)
	head = append(head, timestampPart...)
	head = append(head, e.timestamp[:e.nTimestamp]...)
	head = append(head, '"')

	text := string(head)
	ev := s.take(start)
	ev.ID = text[len(idPart) : len(idPart)+idLen]
	ev.Type = text[typeAt : typeAt+len(e.eventType)]
	ev.Timestamp = text[timestampAt : timestampAt+e.nTimestamp]
	ev.stable = !s.exact
	ev.TraceParent, ev.TraceState = e.attributes.traceParent, e.attributes.traceState
	if e.seen&seenTimestamp == 0 {
		ev.stampAt = timestampAt
	}
	return ev
}

// swap exchanges the parts of b before and from the position.
func swap(b []byte, at int) {
	slices.Reverse(b[:at])
	slices.Reverse(b[at:])
	slices.Reverse(b)
}

// take returns an event with what was written from the position on as a body
// of its own. Small bodies are copied, so that the buffer is used again and no
// body holds more memory than it needs.
func (s *scanner) take(start int) *Event {
	b := s.out[start:]
	if len(b) <= keepScratch || cap(b)-len(b) > len(b)/4 {
		return newEvent(b)
	}
	s.out = nil
	return &Event{Body: slices.Clip(b)}
}

func validID(id []byte) bool {
	if len(id) == 0 || len(id) > MaxID {
		return false
	}
	for _, c := range id {
		if !idByte[c] {
			return false
		}
	}
	return true
}

const (
	lowerCase = "abcdefghijklmnopqrstuvwxyz"
	upperCase = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits    = "0123456789"
)

// The bytes of ids, and of types between their dots.
var (
	idByte        = setOf(upperCase + lowerCase + digits + "_~:-")
	typeByte      = setOf(lowerCase + digits + "_")
	cloudTypeByte = setOf(upperCase + lowerCase + digits + "_-")
)

func setOf(chars string) (t [256]bool) {
	for _, c := range []byte(chars) {
		t[c] = true
	}
	return t
}

// IsType says whether an event, or a CloudEvent, may have the type.
func IsType(eventType string) bool { return validType([]byte(eventType), &cloudTypeByte) }

func validType(eventType []byte, of *[256]bool) bool {
	if len(eventType) == 0 || len(eventType) > MaxType {
		return false
	}
	part := 0
	for _, c := range eventType {
		switch {
		case of[c]:
			part++
		case c == '.' && part > 0:
			part = 0
		default:
			return false
		}
	}
	return part > 0
}
