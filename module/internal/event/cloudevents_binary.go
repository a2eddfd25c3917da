package event

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

// cloudHeader starts the header of each attribute in binary mode, in the
// canonical form of net/http.
const cloudHeader = "Ce-"

// HasCloudHeaders says whether a request that does not say so by its content
// type holds a CloudEvent. One of the required attributes is enough, so that
// the lack of another is told.
func HasCloudHeaders(header http.Header) bool {
	for _, name := range [...]string{"Ce-Specversion", "Ce-Id", "Ce-Source", "Ce-Type"} {
		if _, ok := header[name]; ok {
			return true
		}
	}
	return false
}

// BinaryCloudEvent reads a CloudEvent whose attributes are in headers, and
// whose data, which the caller knows to be JSON, is the body. Extension
// attributes are sorted by name, because headers have no order, and are all
// strings, because headers have no types. Pointers are those of the event,
// offsets those of the body.
func (p *Parser) BinaryCloudEvent(header http.Header, body []byte) (*Event, *problem.Problem) {
	s := newScanner(body, p.Exact)
	defer s.release()
	s.prepare(len(body))
	e := envelope{now: p.now(), cloud: true, cloudType: true}
	if !isBlank(body) {
		if prob := checkText(body); prob != nil {
			return nil, prob
		}
		s.frames[0] = frame{first: -1}
		s.depth = 1
		e.seen |= seenData
		if !e.readObject(s, seenData, "/data", dataPart) || !s.end() {
			return nil, s.failure
		}
	}
	fault := s.fault
	text, prob := attributesOf(header)
	if prob != nil {
		return nil, prob
	}
	s.in, s.pos = text, 0
	if !e.object(s) {
		return nil, s.failure
	}
	if s.fault != fault {
		s.fault.Offset = nil
	}
	return p.finish(s, &e)
}

// attributesOf returns the attributes in headers as a JSON object, as if the
// CloudEvent had come in structured mode.
func attributesOf(header http.Header) ([]byte, *problem.Problem) {
	var names []string
	for name := range header {
		if strings.HasPrefix(name, cloudHeader) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	text := append(make([]byte, 0, 1<<10), '{')
	for i, name := range names {
		if i > 0 {
			text = append(text, ',')
		}
		mark := len(text)
		attribute := []byte(strings.ToLower(name[len(cloudHeader):]))
		text = appendString(text, attribute)
		refuse := func(kind problem.Kind, detail string) ([]byte, *problem.Problem) {
			pointer, _ := appendToken(nil, text[mark:])
			return nil, kind.New(detail).WithPointer(string(pointer))
		}
		if !validAttribute(attribute) || string(attribute) == "data" {
			return refuse(problem.UnknownField, "a header that starts with ce- goes on with the name of an attribute, of a-z and 0-9")
		}
		if len(header[name]) != 1 {
			return refuse(problem.DuplicateKey, "the header of an attribute is given twice")
		}
		value, ok := headerText(header[name][0])
		if !ok {
			return refuse(problem.InvalidField, "the header of an attribute is not percent-encoded UTF-8, or a quote in it does not end")
		}
		text = appendString(append(text, ':'), value)
	}
	return append(text, '}'), nil
}

// appendString writes a string of JSON.
func appendString(dst, text []byte) []byte {
	dst = append(dst, '"')
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		dst = appendQuoted(dst, r)
		text = text[n:]
	}
	return append(dst, '"')
}

// headerText decodes the header of an attribute: a quoted string is unquoted,
// and percent-encoding resolved once (CloudEvents HTTP protocol binding,
// section 3.1.3.2).
func headerText(value string) (text []byte, ok bool) {
	text = []byte(value)
	if strings.HasPrefix(value, `"`) {
		if text, ok = unquote(text); !ok {
			return nil, false
		}
	}
	decoded := text[:0]
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '%' {
			n, err := strconv.ParseUint(string(text[i+1:min(i+3, len(text))]), 16, 8)
			if err != nil || i+2 >= len(text) {
				return nil, false
			}
			c = byte(n)
			i += 2
		}
		decoded = append(decoded, c)
	}
	return decoded, utf8.Valid(decoded)
}

// unquote resolves a quoted-string (RFC 9110, section 5.6.4) that is the whole
// value.
func unquote(quoted []byte) (text []byte, ok bool) {
	text = quoted[:0]
	for i := 1; i < len(quoted); i++ {
		switch quoted[i] {
		case '"':
			return text, i == len(quoted)-1
		case '\\':
			if i++; i == len(quoted) {
				return nil, false
			}
		}
		text = append(text, quoted[i])
	}
	return nil, false
}
