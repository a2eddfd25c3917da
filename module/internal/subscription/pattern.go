package subscription

import (
	"errors"
	"fmt"
	"strings"
)

// maxPattern bounds a pattern in bytes: the longest event type has 128, and a
// pattern adds at most "!" and ".*".
const maxPattern = 131

// Pattern is one pattern over event types, parsed. It admits, or with Exclude
// refuses, the types that it covers.
type Pattern struct {
	// Exclude says that the pattern was written with a leading "!".
	Exclude bool

	// stem is the exact type, or for a wildcard the prefix with its trailing
	// dot, which is empty for "*".
	stem string

	// wild says that every type starting with stem is covered.
	wild bool
}

// ParsePattern reads an exact event type, "prefix.*" or "*", each with an
// optional leading "!". "prefix.*" covers every type below the prefix at any
// depth, but not the prefix itself. The error says what is wrong, in words for
// whoever wrote the pattern.
func ParsePattern(s string) (Pattern, error) {
	body, exclude := strings.CutPrefix(s, "!")
	p := Pattern{Exclude: exclude}
	if err := p.parse(body); err != nil {
		return Pattern{}, fmt.Errorf("event pattern %q: %w", s, err)
	}
	return p, nil
}

// parse reads a pattern after its "!".
func (p *Pattern) parse(body string) error {
	switch {
	case body == "":
		return errors.New("is empty")
	case len(body) > maxPattern-1:
		return errors.New("is longer than an event type may be, 128 bytes")
	case body == "*" && p.Exclude:
		return errors.New("excludes every event")
	case body == "*":
		p.wild = true
		return nil
	}
	name, wild := strings.CutSuffix(body, ".*")
	if err := checkType(name); err != nil {
		return err
	}
	p.stem, p.wild = name, wild
	if wild {
		p.stem = name + "."
	}
	return nil
}

// checkType refuses what cannot be an event type: words of letters, digits,
// "_" and "-" that are joined by dots.
func checkType(s string) error {
	word := 0
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '.' && word == 0:
			return errors.New("has an empty word before a dot")
		case c == '.':
			word = 0
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
			word++
		case c == '*':
			return errors.New(`may have "*" only alone or as the last word, as in "prompt.*"`)
		case c == '!':
			return errors.New(`may have "!" only in front`)
		default:
			return fmt.Errorf("has the character %q, which no event type has", rune(c))
		}
	}
	if word == 0 {
		return errors.New("ends with an empty word")
	}
	return nil
}

// Covers says whether the pattern speaks of the event type, whether to admit
// or to exclude it.
func (p Pattern) Covers(eventType string) bool {
	if p.wild {
		return len(eventType) > len(p.stem) && eventType[:len(p.stem)] == p.stem
	}
	return eventType == p.stem
}

// Exact returns the one event type that the pattern admits, and false where it
// admits several or excludes.
func (p Pattern) Exact() (string, bool) {
	return p.stem, !p.wild && !p.Exclude
}

// String returns the pattern as it is written.
func (p Pattern) String() string {
	s := p.stem
	if p.wild {
		s += "*"
	}
	if p.Exclude {
		s = "!" + s
	}
	return s
}

// within says whether every type that p covers is covered by q.
func (p Pattern) within(q Pattern) bool {
	if !q.wild {
		return !p.wild && p.stem == q.stem
	}
	return strings.HasPrefix(p.stem, q.stem) && (p.wild || len(p.stem) > len(q.stem))
}

// covered says whether any of the patterns speaks of the event type.
func covered(patterns []Pattern, eventType string) bool {
	for i := range patterns {
		if patterns[i].Covers(eventType) {
			return true
		}
	}
	return false
}
