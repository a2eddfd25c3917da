// Package subscription decides which endpoints get an event: patterns over
// event types and filters over fields of the envelope, in an index whose cost
// does not grow with the endpoints that do not match.
package subscription

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Filter is one condition on a field of the event's envelope.
type Filter struct {
	// Field is a dotted path, for example "metadata.folderId".
	Field string

	// Values are the values any of which the field must have.
	Values []string
}

// Subscription is what one endpoint wants.
type Subscription struct {
	// Patterns are exact types, "prefix.*" or "*"; a leading "!" excludes.
	// An exclusion wins wherever it stands. Where no pattern admits anything,
	// because there are none or only exclusions, "*" is understood.
	Patterns []string

	// Filters must all hold.
	Filters []Filter
}

// Fields looks up a field of an event by its dotted path, and answers the
// values that a filter may compare with: none where the field is missing, one
// for a scalar, one for each scalar element of an array.
type Fields func(path string) []string

// Check reports what is wrong with the subscription, in words for whoever
// wrote it: a malformed pattern or filter, a pattern that covers none of the
// catalogued event types, or patterns that exclude all that they admit. An
// empty catalogue admits all event types.
func (s Subscription) Check(catalogue []string) error {
	c, err := s.compile()
	if err != nil || len(catalogue) == 0 {
		return err
	}
	for _, text := range s.Patterns {
		p, err := ParsePattern(text)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(catalogue, p.Covers) {
			return fmt.Errorf("event pattern %q matches no event type; there are %s", text, shorten(catalogue))
		}
	}
	if !slices.ContainsFunc(catalogue, c.wants) {
		return fmt.Errorf("event patterns %q exclude every event type that they admit", s.Patterns)
	}
	return nil
}

// Types returns those of the catalogued event types that the patterns admit,
// in the catalogue's order, whatever the filters say.
func (s Subscription) Types(catalogue []string) ([]string, error) {
	c, err := s.compile()
	if err != nil {
		return nil, err
	}
	var types []string
	for _, t := range catalogue {
		if c.wants(t) {
			types = append(types, t)
		}
	}
	return types, nil
}

// shorten lists the first dozen names.
func shorten(names []string) string {
	const most = 12
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// compiled is a subscription with its patterns parsed and reduced.
type compiled struct {
	// admit covers no type twice: a pattern within another is left out.
	admit   []Pattern
	exclude []Pattern
	filters []Filter
}

// compile checks and reduces the subscription.
func (s Subscription) compile() (compiled, error) {
	var c compiled
	for _, text := range s.Patterns {
		p, err := ParsePattern(text)
		if err != nil {
			return c, err
		}
		if p.Exclude {
			c.exclude = reduce(c.exclude, p)
		} else {
			c.admit = reduce(c.admit, p)
		}
	}
	if len(c.admit) == 0 {
		c.admit = []Pattern{{wild: true}}
	}
	slices.SortFunc(c.exclude, func(a, b Pattern) int { return strings.Compare(a.String(), b.String()) })
	for _, f := range s.Filters {
		if err := f.check(); err != nil {
			return c, err
		}
	}
	c.filters = s.Filters
	return c, nil
}

// wants says whether the patterns admit the event type.
func (c compiled) wants(eventType string) bool {
	return covered(c.admit, eventType) && !covered(c.exclude, eventType)
}

// reduce adds p to patterns and drops what another pattern covers anyway.
func reduce(patterns []Pattern, p Pattern) []Pattern {
	if slices.ContainsFunc(patterns, p.within) {
		return patterns
	}
	patterns = slices.DeleteFunc(patterns, func(q Pattern) bool { return q.within(p) })
	return append(patterns, p)
}

// check refuses a filter that no event can pass.
func (f Filter) check() error {
	if err := checkField(f.Field); err != nil {
		return fmt.Errorf("filter on %q: %w", f.Field, err)
	}
	if len(f.Values) == 0 {
		return fmt.Errorf("filter on %q: has no values", f.Field)
	}
	return nil
}

// checkField refuses a path that leads to no scalar of an event.
func checkField(path string) error {
	first, rest, deeper := strings.Cut(path, ".")
	switch first {
	case "id", "type", "timestamp":
		if deeper {
			return fmt.Errorf("%s has no members", first)
		}
		return nil
	case "data", "metadata":
		if !deeper {
			return fmt.Errorf("%s is an object; name a member of it, as in %q", first, first+".folderId")
		}
		if slices.Contains(strings.Split(rest, "."), "") {
			return errors.New("has an empty word between dots")
		}
		return nil
	default:
		return errors.New("an event has only the fields id, type, timestamp, data.… and metadata.…")
	}
}
