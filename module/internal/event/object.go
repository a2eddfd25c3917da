package event

import (
	"bytes"
	"cmp"
	"math"
	"slices"

	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

// fewMembers is the number of members up to which comparing every name with
// every other is faster than sorting.
const fewMembers = 16

// member is one member of an open object, by positions: its name with quotes
// is out[start:name], the whole of it out[start:end], and it came from at.
type member struct {
	start, name, end, at uint32
}

func (s *scanner) object() bool {
	first := len(s.members)
	if !s.open(first) {
		return false
	}
	s.out = append(s.out, '{')
	if s.space() == '}' {
		s.out = append(s.out, '}')
		s.pos++
		s.depth--
		return true
	}
	order := keyOrder{last: -1}
	for {
		if !s.member(&order) {
			return false
		}
		switch s.space() {
		case ',':
			s.out = append(s.out, ',')
			s.pos++
			s.space()
		case '}':
			if !s.exact {
				s.closeObject(first, order.broken)
			}
			s.out = append(s.out, '}')
			s.pos++
			s.depth--
			return true
		default:
			return s.malformed("a comma or a closing brace is expected")
		}
	}
}

// member reads one name and its value.
func (s *scanner) member(order *keyOrder) bool {
	m := member{start: uint32(len(s.out)), at: uint32(s.pos)}
	if !s.name() {
		return false
	}
	if s.exact {
		s.out = append(s.out, ':')
		return s.value()
	}
	m.name = uint32(len(s.out))
	order.add(s.out[m.start+1 : m.name-1])
	i := len(s.members)
	s.members = append(s.members, m)
	s.out = append(s.out, ':')
	if !s.value() {
		return false
	}
	s.members[i].end = uint32(len(s.out))
	return true
}

// name reads a member's name and the colon after it.
func (s *scanner) name() bool {
	if s.pos >= len(s.in) || s.in[s.pos] != '"' {
		return s.malformed("a member's name in double quotes is expected")
	}
	if !s.str() {
		return false
	}
	if s.space() != ':' {
		return s.malformed("a colon is expected")
	}
	s.pos++
	return true
}

// closeObject looks for names given twice, brings the members into the order
// of JavaScript, and forgets them.
func (s *scanner) closeObject(first int, reorder bool) {
	members := s.members[first:]
	if len(members) > 1 {
		if second, ok := s.duplicate(members); ok && s.refused(problem.NotJSStable) {
			s.refuse(problem.NotJSStable, int(second.at), s.pointer(s.depth-1, first, s.key(second)),
				"a name is given twice in one object")
		}
		if reorder {
			s.reorder(members)
		}
	}
	s.members = s.members[:first]
}

// duplicate finds a member whose name was given before. Names are compared as
// they are written: a string has one form only in the output.
func (s *scanner) duplicate(members []member) (member, bool) {
	if len(members) > fewMembers {
		return s.duplicateOfMany(members)
	}
	for i := 1; i < len(members); i++ {
		key := s.key(members[i])
		for _, m := range members[:i] {
			if string(key) == string(s.key(m)) {
				return members[i], true
			}
		}
	}
	return member{}, false
}

// duplicateOfMany sorts the members, so that an object with many costs no more
// than its bytes times the logarithm of their number.
func (s *scanner) duplicateOfMany(members []member) (member, bool) {
	slices.SortFunc(members, func(a, b member) int {
		return cmp.Or(bytes.Compare(s.key(a), s.key(b)), cmp.Compare(a.start, b.start))
	})
	found := member{at: math.MaxUint32}
	for i := 1; i < len(members); i++ {
		if members[i].at < found.at && bytes.Equal(s.key(members[i-1]), s.key(members[i])) {
			found = members[i]
		}
	}
	return found, found.at != math.MaxUint32
}

func (s *scanner) key(m member) []byte { return s.out[m.start:m.name] }

// reorder puts the members whose names are array indexes first, in ascending
// order: that is where OrdinaryOwnPropertyKeys (ECMA-262, section 10.1.11.1),
// and so JSON.stringify, has them. The others keep their order.
func (s *scanner) reorder(members []member) {
	start := len(s.out)
	for _, m := range members {
		start = min(start, int(m.start))
	}
	slices.SortFunc(members, func(a, b member) int {
		return cmp.Or(
			cmp.Compare(orderOf(s.key(a)), orderOf(s.key(b))),
			cmp.Compare(a.start, b.start),
		)
	})
	end := len(s.out)
	for i, m := range members {
		if i > 0 {
			s.out = append(s.out, ',')
		}
		s.out = append(s.out, s.out[m.start:m.end]...)
	}
	copy(s.out[start:], s.out[end:])
	s.out = s.out[:end]
}

// orderOf is the place of a name, in its quotes, among its siblings.
func orderOf(key []byte) int64 {
	if i := arrayIndex(key[1 : len(key)-1]); i >= 0 {
		return i
	}
	return math.MaxInt64
}

// keyOrder watches whether names come in the order of JavaScript.
type keyOrder struct {
	last   int64 // the last array index, or math.MaxInt64 after another name
	broken bool
}

func (o *keyOrder) add(key []byte) {
	i := arrayIndex(key)
	if i < 0 {
		o.last = math.MaxInt64
		return
	}
	if i < o.last {
		o.broken = true
		return
	}
	o.last = i
}

// arrayIndex returns the number that a name is the canonical form of, where
// it is an array index: 0 to 4294967294 (ECMA-262, section 6.1.7). Other names
// are -1.
func arrayIndex(key []byte) int64 {
	if len(key) == 0 || len(key) > 10 || key[0] == '0' && len(key) > 1 {
		return -1
	}
	var n int64
	for _, c := range key {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int64(c-'0')
	}
	if n >= math.MaxUint32 {
		return -1
	}
	return n
}
