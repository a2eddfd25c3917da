package event

import (
	"bytes"
	"mime"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

// cloudVersion is the version of CloudEvents that is understood.
const cloudVersion = "1.0"

// The attributes of a CloudEvent that are no members of an event, as further
// bits of envelope.seen.
const (
	seenSource = seenMetadata << (iota + 1)
	seenSubject
	seenDataSchema
	seenSpecVersion
	seenContentType
	seenBase64
	seenTraceParent
	seenTraceState
)

// cloudAttributes are the members with a meaning. All others are extension
// attributes; also "timestamp" and "metadata", which are not known there.
var cloudAttributes = [...]struct {
	name string
	bit  uint16
}{
	{"id", seenID},
	{"type", seenType},
	{"time", seenTimestamp},
	{"data", seenData},
	{"source", seenSource},
	{"subject", seenSubject},
	{"dataschema", seenDataSchema},
	{"specversion", seenSpecVersion},
	{"datacontenttype", seenContentType},
	{"data_base64", seenBase64},
	{"traceparent", seenTraceParent},
	{"tracestate", seenTraceState},
}

// attributes is what an envelope holds of a CloudEvent only.
type attributes struct {
	// null holds the attributes that are null, which is as if they were
	// absent, except that they must not come again.
	null uint16

	// source, subject and schema are where in the input these stand, or 0.
	source, subject, schema int

	traceParent, traceState string
}

// CloudEvent reads one CloudEvent from an application/cloudevents+json body,
// which is the structured mode. What is sent is an event: its timestamp is the
// CloudEvent's time, and its metadata holds source, subject, dataschema and
// the extension attributes, in this order.
func (p *Parser) CloudEvent(body []byte) (*Event, *problem.Problem) { return p.one(body, true) }

// CloudBatch reads 1 to MaxBatch CloudEvents from a body of
// application/cloudevents-batch+json, as Batch does events.
func (p *Parser) CloudBatch(body []byte) ([]*Event, *problem.Problem) { return p.array(body, true) }

// IsJSON says whether data of the content type is JSON in UTF-8: the subtype is
// json, or ends in +json (CloudEvents JSON format, section 3.1).
func IsJSON(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || !strings.HasSuffix(media, "/json") && !strings.HasSuffix(media, "+json") {
		return false
	}
	charset, ok := params["charset"]
	return !ok || strings.EqualFold(charset, "utf-8")
}

// attribute reads one member of a CloudEvent.
func (e *envelope) attribute(s *scanner) bool {
	mark, at := len(s.out), s.pos
	if !s.name() {
		return false
	}
	// The name stays in the output while its value is read, for pointers.
	key := s.out[mark:]
	name := key[1 : len(key)-1]
	bit := attributeBit(name)
	var ok bool
	switch {
	case bit == 0 && !validAttribute(name):
		refuseName(s, at, key)
		ok = s.discard()
	case (e.seen|e.attributes.null)&bit != 0:
		s.refuseMember(problem.DuplicateKey, at, key, "a member is given twice")
		ok = s.discard()
	case bit == seenData:
		s.out = s.out[:mark]
		e.seen |= bit
		return e.readObject(s, bit, "/data", dataPart)
	case s.space() == 'n':
		e.attributes.null |= bit
		ok = s.discard()
	case bit == 0:
		s.extensions = append(s.extensions, at)
		ok = s.extension(key)
	default:
		e.seen |= bit
		ok = e.readAttribute(s, bit, at, key)
	}
	s.out = s.out[:mark]
	return ok
}

func attributeBit(name []byte) uint16 {
	for i := range cloudAttributes {
		if string(name) == cloudAttributes[i].name {
			return cloudAttributes[i].bit
		}
	}
	return 0
}

// validAttribute says whether a name is one of an attribute.
func validAttribute(name []byte) bool {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return len(name) > 0
}

// refuseName refuses a name that no attribute has.
func refuseName(s *scanner, at int, key []byte) {
	if name := key[1 : len(key)-1]; len(name) < 2*len("datacontenttype") {
		for i := range cloudAttributes {
			if bytes.EqualFold(name, []byte(cloudAttributes[i].name)) {
				s.refuseMember(problem.DuplicateKey, at, key, "a member's name is in the wrong case")
				return
			}
		}
	}
	s.refuseMember(problem.UnknownField, at, key, "the name of an attribute is of a-z and 0-9 only")
}

// readAttribute reads the value of an attribute that is known.
func (e *envelope) readAttribute(s *scanner, bit uint16, at int, key []byte) bool {
	switch bit {
	case seenID:
		return e.readID(s)
	case seenType:
		return e.readType(s)
	case seenTimestamp:
		return e.readTimestamp(s, "/time")
	case seenBase64:
		s.refuseMember(problem.DataNotJSON, at, key, "data_base64 holds bytes; only data that is JSON can be sent")
		return s.discard()
	}
	if s.space() != '"' {
		s.refuseMember(problem.InvalidField, s.pos, key, "the attribute is not a string")
		return s.discard()
	}
	text, ok := s.attributeText(key)
	if !ok {
		return false
	}
	if len(text) == 0 {
		refuseEmpty(s, bit, at, key)
		return true
	}
	a := &e.attributes
	switch bit {
	case seenSource:
		a.source = at
	case seenSubject:
		a.subject = at
	case seenDataSchema:
		a.schema = at
	case seenSpecVersion:
		if string(text) != cloudVersion {
			s.refuseMember(problem.InvalidField, at, key, "version 1.0 of CloudEvents is understood, and no other")
		}
	case seenContentType:
		if !IsJSON(string(decode(nil, text))) {
			s.refuseMember(problem.DataNotJSON, at, key, "only data that is JSON in UTF-8 can be sent")
		}
	case seenTraceParent:
		a.traceParent = string(decode(nil, text))
	case seenTraceState:
		a.traceState = string(decode(nil, text))
	}
	return true
}

// refuseEmpty refuses an empty string where CloudEvents has none. There may be
// no trace context.
func refuseEmpty(s *scanner, bit uint16, at int, key []byte) {
	switch bit {
	case seenSource, seenSpecVersion:
		s.refuseMember(problem.MissingField, at, key, "the attribute is empty")
	case seenSubject, seenDataSchema, seenContentType:
		s.refuseMember(problem.InvalidField, at, key, "the attribute is empty; leave it out where there is none")
	}
}

// extension reads the value of an extension attribute. In JSON it may have
// three types (CloudEvents JSON format, section 2.2).
func (s *scanner) extension(key []byte) bool {
	const detail = "an extension attribute is a string, a boolean or an integer of 32 bits"
	c := s.space()
	at := s.pos
	switch {
	case c == '"':
		_, ok := s.attributeText(key)
		return ok
	case c == 't' || c == 'f':
		return s.value()
	case c == '-' || c >= '0' && c <= '9':
		_, ok := s.numberSyntax()
		if _, err := strconv.ParseInt(string(s.in[at:s.pos]), 10, 32); ok && err != nil {
			s.refuseMember(problem.InvalidField, at, key, detail)
		}
		return ok
	default:
		s.refuseMember(problem.InvalidField, at, key, detail)
		return s.discard()
	}
}

// attributeText reads a string and returns it as it is written, which it is
// until more is. It may not hold what CloudEvents excludes from strings.
func (s *scanner) attributeText(key []byte) ([]byte, bool) {
	at := s.pos
	_, text, ok := s.text()
	if ok && !allowedText(text) {
		s.refuseMember(problem.InvalidField, at, key, "the attribute holds a control character, or a code point that is no character")
		text = nil
	}
	return text, ok
}

// allowedText says whether a string, as it is written, is free of control
// characters, noncharacters and lone surrogates (CloudEvents, section "Type
// System").
func allowedText(text []byte) bool {
	for i := 0; i < len(text); {
		if text[i] == '\\' {
			// Other escapes are written for what is not allowed only.
			if c := text[i+1]; c != '"' && c != '\\' {
				return false
			}
			i += 2
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		if r >= 0x7f && r <= 0x9f || r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe {
			return false
		}
		i += n
	}
	return true
}

// completeAttributes looks for attributes that did not come, and writes the
// metadata.
func (e *envelope) completeAttributes(s *scanner) {
	e.need(s, seenSpecVersion, "/specversion", "a CloudEvent needs a specversion")
	e.need(s, seenID, "/id", "a CloudEvent needs an id")
	e.need(s, seenSource, "/source", "a CloudEvent needs a source")
	e.need(s, seenType, "/type", "a CloudEvent needs a type")
	e.need(s, seenData, "/data", "the event needs data, also where CloudEvents needs none; send an empty object")

	end, exact := s.pos, s.exact
	s.exact = false // as metadata was not sent, there is none to keep
	s.out = append(s.out, metadataPart+"{"...)
	first := len(s.members)
	order := keyOrder{last: -1}
	for _, at := range [...]int{e.attributes.source, e.attributes.subject, e.attributes.schema} {
		if at > 0 {
			s.memberAt(at, first, &order)
		}
	}
	for _, at := range s.extensions {
		s.memberAt(at, first, &order)
	}
	s.closeMetadata(first, order.broken)
	s.pos, s.exact = end, exact
	e.seen |= seenMetadata
}

// memberAt writes the member that stands at the position, which was read
// before, as one of the object whose members start with the first.
func (s *scanner) memberAt(at, first int, order *keyOrder) {
	if len(s.members) > first {
		s.out = append(s.out, ',')
	}
	s.pos = at
	s.member(order)
}

// closeMetadata ends the metadata as closeObject does an object, but for names
// given twice, which are members of the envelope here.
func (s *scanner) closeMetadata(first int, reorder bool) {
	members := s.members[first:]
	if second, ok := s.duplicate(members); ok {
		s.refuseMember(problem.DuplicateKey, int(second.at), s.key(second), "a member is given twice")
	}
	if reorder {
		s.reorder(members)
	}
	s.out = append(s.out, '}')
	s.members = s.members[:first]
}
