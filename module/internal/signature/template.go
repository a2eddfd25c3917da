package signature

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// part is one piece of a template: a name, or where that is none, literal
// text.
type part struct {
	name, text string
}

// parseTemplate splits a template at its {names}, which must be among the
// allowed ones. Braces have no other use.
func parseTemplate(template string, allowed ...string) ([]part, error) {
	var parts []part
	for rest := template; rest != ""; {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			return append(parts, part{text: rest}), nil
		}
		if i > 0 {
			parts = append(parts, part{text: rest[:i]})
		}
		name, after, ok := strings.Cut(rest[i+1:], "}")
		if rest[i] == '}' || !ok {
			return nil, errors.New("has a brace without its partner")
		}
		if !slices.Contains(allowed, name) {
			return nil, fmt.Errorf("has the unknown name {%s}; it may have {%s}", name, strings.Join(allowed, "}, {"))
		}
		parts = append(parts, part{name: name})
		rest = after
	}
	return parts, nil
}

// count returns how often the template has the name.
func count(parts []part, name string) int {
	n := 0
	for _, p := range parts {
		if p.name == name {
			n++
		}
	}
	return n
}
