package event

import (
	"sync"
	"unicode/utf8"

	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

const (
	// keepScratch is the largest output buffer that is kept for reuse; bigger
	// ones are handed out as bodies themselves.
	keepScratch = 32 << 10

	// keepMembers bounds the lists of members that are kept for reuse.
	keepMembers = 1 << 10

	// maxInput keeps positions in the output within 32 bits: a value is
	// written with at most 4.4 times its bytes ("1e20," to 22 bytes).
	maxInput = 512 << 20
)

// scanner reads JSON from in and appends it to out in the form that the
// parser asks for.
//
// It tells two kinds of trouble apart. Where in is not JSON nothing after it
// means anything, so methods return false and failure says why. What is JSON
// but is refused all the same goes to fault, and the scan goes on: that way
// bad syntax anywhere has precedence.
type scanner struct {
	in    []byte
	pos   int
	out   []byte
	exact bool

	// depth counts the open objects and arrays; frames describes those
	// within data or metadata, for pointers. members holds the members so
	// far of every open object, the innermost last.
	depth   int
	frames  [MaxDepth + 1]frame
	members []member

	// extensions holds where in the input the extension attributes of a
	// CloudEvent start.
	extensions []int

	// root is the pointer of the envelope's member that is being read.
	root string

	failure, fault *problem.Problem
}

// frame describes an open object or array.
type frame struct {
	// first is the index of an object's first member in scanner.members, or
	// -1 for an array.
	first int

	// index is the index of an array's current element.
	index int
}

var scanners = sync.Pool{New: func() any { return new(scanner) }}

// newScanner takes a scanner for the bytes. It must be released.
func newScanner(in []byte, exact bool) *scanner {
	s := scanners.Get().(*scanner)
	s.in, s.pos, s.exact = in, 0, exact
	return s
}

func (s *scanner) release() {
	s.in, s.out = nil, s.out[:0]
	s.reset()
	if cap(s.out) > keepScratch {
		s.out = nil
	}
	if cap(s.members) > keepMembers {
		s.members = nil
	}
	if cap(s.extensions) > keepMembers {
		s.extensions = nil
	}
	scanners.Put(s)
}

// reset forgets the event that was read, and stays where it is.
func (s *scanner) reset() {
	s.depth, s.root, s.members, s.extensions = 0, "", s.members[:0], s.extensions[:0]
	s.failure, s.fault = nil, nil
}

// fail ends the scan. Details never hold payload.
func (s *scanner) fail(kind problem.Kind, offset int, detail string) bool {
	s.failure = kind.New(detail).WithOffset(offset)
	return false
}

func (s *scanner) malformed(detail string) bool {
	if s.pos >= len(s.in) {
		detail = "the JSON ends too early"
	}
	return s.fail(problem.MalformedJSON, s.pos, detail)
}

// refuse notes that what stands at the offset makes the event unacceptable.
// The first of the lowest status counts, so that an envelope which is broken
// has precedence over values that are.
func (s *scanner) refuse(kind problem.Kind, offset int, pointer, detail string) {
	if s.refused(kind) {
		s.fault = kind.New(detail).WithOffset(offset).WithPointer(pointer)
	}
}

// refused says whether a refusal of this kind would count.
func (s *scanner) refused(kind problem.Kind) bool {
	return s.fault == nil || kind.Status < s.fault.Status
}

// space passes over white space and returns the next byte, or 0 at the end,
// which is no byte that JSON has outside of strings.
func (s *scanner) space() byte {
	s.pos = skipSpace(s.in, s.pos)
	if s.pos < len(s.in) {
		return s.in[s.pos]
	}
	return 0
}

// skipSpace returns the position of the next byte that is not white space.
func skipSpace(in []byte, pos int) int {
	for pos < len(in) && in[pos] <= ' ' && (in[pos] == ' ' || in[pos] == '\n' || in[pos] == '\r' || in[pos] == '\t') {
		pos++
	}
	return pos
}

// value reads one value of any kind.
func (s *scanner) value() bool {
	switch c := s.space(); c {
	case '{':
		return s.object()
	case '[':
		return s.array()
	case '"':
		return s.str()
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		if c == '-' || c >= '0' && c <= '9' {
			return s.number()
		}
		return s.malformed("a value is expected")
	}
}

// discard reads one value and writes nothing.
func (s *scanner) discard() bool {
	mark := len(s.out)
	ok := s.value()
	s.out = s.out[:mark]
	return ok
}

func (s *scanner) literal(word string) bool {
	for i := range len(word) {
		if s.pos >= len(s.in) || s.in[s.pos] != word[i] {
			return s.malformed("a value is expected")
		}
		s.pos++
	}
	s.out = append(s.out, word...)
	return true
}

// open notes an object or array and passes over its bracket.
func (s *scanner) open(first int) bool {
	if s.depth == MaxDepth {
		return s.fail(problem.TooDeep, s.pos, "more than 64 levels of objects and arrays")
	}
	s.frames[s.depth] = frame{first: first}
	s.depth++
	s.pos++
	return true
}

func (s *scanner) array() bool {
	if !s.open(-1) {
		return false
	}
	s.out = append(s.out, '[')
	if s.space() == ']' {
		s.out = append(s.out, ']')
		s.pos++
		s.depth--
		return true
	}
	for f := &s.frames[s.depth-1]; ; f.index++ {
		if !s.value() {
			return false
		}
		switch s.space() {
		case ',':
			s.out = append(s.out, ',')
			s.pos++
		case ']':
			s.out = append(s.out, ']')
			s.pos++
			s.depth--
			return true
		default:
			return s.malformed("a comma or a closing bracket is expected")
		}
	}
}

// checkUTF8 refuses bytes that are not UTF-8, among them those of the wider
// encodings, which put a zero byte beside the first character.
func checkUTF8(in []byte, base int) *problem.Problem {
	for i := 0; i < 2 && i < len(in); i++ {
		if in[i] == 0 {
			return problem.InvalidUTF8.New("the text starts like UTF-16 or UTF-32").WithOffset(base)
		}
	}
	if utf8.Valid(in) {
		return nil
	}
	at := 0
	for at < len(in) {
		r, n := utf8.DecodeRune(in[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	return problem.InvalidUTF8.New("a byte does not belong to UTF-8").WithOffset(base + at)
}
