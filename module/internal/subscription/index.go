package subscription

import (
	"slices"
	"sync"
)

// Index answers which subscriptions an event matches. It is immutable and
// safe for concurrent use.
//
// A subscription stands in one bucket for each pattern that admits events: by
// exact type, by prefix, or with all events. Within the bucket it stands in
// the group of those that exclude the same types, and there either plainly or
// under the values of its rarest filter. So an event costs one lookup for each
// word of its type, one for each field that is filtered on, and the matches.
type Index struct {
	exact  map[string]*bucket
	prefix map[string]*bucket // by prefix with the trailing dot
	all    *bucket

	// fields are the distinct fields of all filters; a field is known by its
	// position.
	fields []string

	// rest holds for each subscription the filters that its place in a group
	// does not decide.
	rest [][]test

	scratch sync.Pool // of *lookups
}

// bucket holds the subscriptions that one pattern admits.
type bucket struct{ groups []*group }

// group holds the subscriptions of a bucket that exclude the same types.
type group struct {
	exclude []Pattern
	plain   []int32
	byField []*postings
}

// postings hold the subscriptions that want one of the values in a field.
type postings struct {
	field   int32
	byValue map[string][]int32
}

// test is a filter of a candidate.
type test struct {
	field  int32
	values []string
}

// Match appends to dst the positions of the subscriptions that want an event
// of the type, in ascending order. fields is called at most once for each
// field, and only where a filter must be decided.
func (x *Index) Match(dst []int, eventType string, fields Fields) []int {
	start := len(dst)
	var l *lookups
	if len(x.fields) > 0 {
		l = x.scratch.Get().(*lookups)
		l.fields = fields
	}
	x.each(eventType, func(g *group) {
		dst = appendPositions(dst, g.plain)
		for _, p := range g.byField {
			for _, value := range l.get(x, p.field) {
				for _, sub := range p.byValue[value] {
					if x.holds(l, sub) {
						dst = append(dst, int(sub))
					}
				}
			}
		}
	})
	if l != nil {
		l.forget()
		x.scratch.Put(l)
	}
	return order(dst, start)
}

// MayMatch appends to dst the positions of the subscriptions whose patterns
// admit the event type, whatever their filters say, in ascending order.
func (x *Index) MayMatch(dst []int, eventType string) []int {
	start := len(dst)
	x.each(eventType, func(g *group) {
		dst = appendPositions(dst, g.plain)
		for _, p := range g.byField {
			for _, subs := range p.byValue {
				dst = appendPositions(dst, subs)
			}
		}
	})
	return order(dst, start)
}

// each calls visit for every group whose patterns admit the type.
func (x *Index) each(eventType string, visit func(*group)) {
	x.all.each(eventType, visit)
	if len(x.prefix) > 0 {
		for i := range len(eventType) - 1 { // a dot at the end has nothing below it
			if eventType[i] == '.' {
				x.prefix[eventType[:i+1]].each(eventType, visit)
			}
		}
	}
	x.exact[eventType].each(eventType, visit)
}

func (b *bucket) each(eventType string, visit func(*group)) {
	if b == nil {
		return
	}
	for _, g := range b.groups {
		if !covered(g.exclude, eventType) {
			visit(g)
		}
	}
}

// holds decides the filters of a candidate that its place does not decide.
func (x *Index) holds(l *lookups, sub int32) bool {
	for _, t := range x.rest[sub] {
		if !slices.ContainsFunc(l.get(x, t.field), func(v string) bool { return slices.Contains(t.values, v) }) {
			return false
		}
	}
	return true
}

// order sorts dst from start on and drops what stands there twice, as a
// subscription does that finds two of its values in one array.
func order(dst []int, start int) []int {
	tail := dst[start:]
	slices.Sort(tail)
	return dst[:start+len(slices.Compact(tail))]
}

func appendPositions(dst []int, subs []int32) []int {
	for _, sub := range subs {
		dst = append(dst, int(sub))
	}
	return dst
}

// lookups remembers the fields of one event.
type lookups struct {
	fields  Fields
	known   []bool
	values  [][]string
	touched []int32
}

func (l *lookups) get(x *Index, field int32) []string {
	if !l.known[field] {
		l.known[field] = true
		l.touched = append(l.touched, field)
		if l.fields != nil {
			l.values[field] = l.fields(x.fields[field])
		}
	}
	return l.values[field]
}

// forget makes the lookups ready for another event, and keeps nothing of this
// one alive.
func (l *lookups) forget() {
	for _, field := range l.touched {
		l.known[field], l.values[field] = false, nil
	}
	l.touched, l.fields = l.touched[:0], nil
}
