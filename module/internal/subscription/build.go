package subscription

import (
	"fmt"
	"slices"
	"strings"
)

// NewIndex compiles subscriptions. Match answers with positions in subs. The
// error is that of Subscription.Check without a catalogue, with the position.
func NewIndex(subs []Subscription) (*Index, error) {
	b := builder{
		index:  &Index{exact: map[string]*bucket{}, prefix: map[string]*bucket{}, all: &bucket{}, rest: make([][]test, len(subs))},
		fields: map[string]int32{},
		places: map[place]*group{},
		rarity: map[[2]string]int{},
	}
	all := make([]compiled, len(subs))
	for i, s := range subs {
		c, err := s.compile()
		if err != nil {
			return nil, fmt.Errorf("subscription %d: %w", i, err)
		}
		all[i] = c
		b.count(c.filters)
	}
	for i, c := range all {
		b.add(int32(i), c)
	}
	x := b.index
	x.scratch.New = func() any {
		return &lookups{known: make([]bool, len(x.fields)), values: make([][]string, len(x.fields))}
	}
	return x, nil
}

// builder makes an Index.
type builder struct {
	index  *Index
	fields map[string]int32
	places map[place]*group

	// rarity counts the subscriptions that want a value in a field.
	rarity map[[2]string]int
}

// place names a group: a pattern, and the exclusions as one text.
type place struct {
	pattern Pattern
	exclude string
}

func (b *builder) count(filters []Filter) {
	for _, f := range filters {
		for _, v := range f.Values {
			b.rarity[[2]string{f.Field, v}]++
		}
	}
}

// add puts a subscription in its places. Positions come in ascending order,
// so that every list stays sorted.
func (b *builder) add(sub int32, c compiled) {
	key := b.rarest(c.filters)
	for i, f := range c.filters {
		if i != key {
			b.index.rest[sub] = append(b.index.rest[sub], test{b.field(f.Field), slices.Clone(f.Values)})
		}
	}
	for _, p := range c.admit {
		g := b.group(p, c.exclude)
		if key < 0 {
			g.plain = append(g.plain, sub)
			continue
		}
		f := c.filters[key]
		byValue := g.postings(b.field(f.Field)).byValue
		for i, v := range f.Values {
			if !slices.Contains(f.Values[:i], v) {
				byValue[v] = append(byValue[v], sub)
			}
		}
	}
}

// rarest returns the position of the filter whose values the fewest
// subscriptions want, or -1 where there is none.
func (b *builder) rarest(filters []Filter) int {
	best, least := -1, 0
	for i, f := range filters {
		n := 0
		for _, v := range f.Values {
			n += b.rarity[[2]string{f.Field, v}]
		}
		if best < 0 || n < least {
			best, least = i, n
		}
	}
	return best
}

func (b *builder) field(path string) int32 {
	id, ok := b.fields[path]
	if !ok {
		id = int32(len(b.index.fields))
		b.fields[path] = id
		b.index.fields = append(b.index.fields, path)
	}
	return id
}

// group returns the group of the pattern and the exclusions.
func (b *builder) group(p Pattern, exclude []Pattern) *group {
	var text strings.Builder
	for _, e := range exclude {
		text.WriteString(e.String())
	}
	at := place{p, text.String()}
	g := b.places[at]
	if g == nil {
		g = &group{exclude: exclude}
		b.places[at] = g
		into := b.bucket(p)
		into.groups = append(into.groups, g)
	}
	return g
}

func (b *builder) bucket(p Pattern) *bucket {
	if p.wild && p.stem == "" {
		return b.index.all
	}
	in := b.index.exact
	if p.wild {
		in = b.index.prefix
	}
	if in[p.stem] == nil {
		in[p.stem] = &bucket{}
	}
	return in[p.stem]
}

func (g *group) postings(field int32) *postings {
	for _, p := range g.byField {
		if p.field == field {
			return p
		}
	}
	p := &postings{field: field, byValue: map[string][]int32{}}
	g.byField = append(g.byField, p)
	return p
}
