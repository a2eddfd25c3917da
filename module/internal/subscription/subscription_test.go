package subscription

import (
	"slices"
	"strings"
	"testing"
)

var catalogue = []string{
	"approval.completed", "approval.requested", "evaluation.completed", "evaluation.started",
	"prompt.created", "prompt.updated", "version.created", "version.promoted",
}

func TestParsePattern(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ in, want string }{
		{"prompt.created", ""},
		{"prompt.*", ""},
		{"*", ""},
		{"!prompt.*", ""},
		{"!prompt.created", ""},
		{"ping", ""},
		{"com.Example-1.a_b.*", ""},
		{strings.Repeat("a", 128), ""},
		{"", "is empty"},
		{"!", "is empty"},
		{"!*", "excludes every event"},
		{"!!a", `"!" only in front`},
		{"**", `"*" only alone`},
		{"prompt*", `"*" only alone`},
		{"*.created", `"*" only alone`},
		{"a.*.b", `"*" only alone`},
		{".*", "empty word"},
		{".a", "empty word before a dot"},
		{"a..b", "empty word before a dot"},
		{"a.", "ends with an empty word"},
		{"a..*", "ends with an empty word"},
		{"a b", `character ' '`},
		{"a,b", `character ','`},
		{strings.Repeat("a", 132), "longer"},
	} {
		t.Run(test.in, func(t *testing.T) {
			t.Parallel()
			p, err := ParsePattern(test.in)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("got error %v, want none", err)
			case test.want == "" && p.String() != test.in:
				t.Errorf("got %q, want %q", p, test.in)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestPatternCovers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern, eventType string
		want               bool
	}{
		{"*", "a", true},
		{"a.b", "a.b", true},
		{"a.b", "a.b.c", false},
		{"a.*", "a.b", true},
		{"a.*", "a.b.c", true},
		{"a.*", "a", false},
		{"a.*", "a.", false},
		{"a.*", "ab.c", false},
		{"!a.*", "a.b", true},
	} {
		p, err := ParsePattern(test.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Covers(test.eventType); got != test.want {
			t.Errorf("%q covers %q: got %v, want %v", test.pattern, test.eventType, got, test.want)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		sub  Subscription
		want string
	}{
		{"nothing", Subscription{}, ""},
		{"all forms", Subscription{Patterns: []string{"prompt.*", "version.promoted", "!prompt.updated"}}, ""},
		{"misspelt type", Subscription{Patterns: []string{"prompt.craeted"}}, `"prompt.craeted" matches no event type; there are approval.completed, `},
		{"misspelt prefix", Subscription{Patterns: []string{"*", "promt.*"}}, `"promt.*" matches no event type`},
		{"misspelt exclusion", Subscription{Patterns: []string{"!promt.*"}}, `"!promt.*" matches no event type`},
		{"nothing left", Subscription{Patterns: []string{"prompt.created", "!prompt.*"}}, "exclude every event type that they admit"},
		{"malformed", Subscription{Patterns: []string{"a..b"}}, "empty word"},
		{"filter", Subscription{Filters: []Filter{{"metadata.folderId", []string{"fld_1"}}}}, ""},
		{"filter on the id", Subscription{Filters: []Filter{{"id", []string{"1"}}}}, ""},
		{"filter without values", Subscription{Filters: []Filter{{"metadata.a", nil}}}, `filter on "metadata.a": has no values`},
		{"filter on an object", Subscription{Filters: []Filter{{"metadata", []string{"1"}}}}, "is an object"},
		{"filter below a string", Subscription{Filters: []Filter{{"type.a", []string{"1"}}}}, "type has no members"},
		{"filter on no field", Subscription{Filters: []Filter{{"folderId", []string{"1"}}}}, "only the fields id, type"},
		{"filter with a hole", Subscription{Filters: []Filter{{"data..a", []string{"1"}}}}, "empty word"},
		{"filter with nothing", Subscription{Filters: []Filter{{"", []string{"1"}}}}, "only the fields"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := test.sub.Check(catalogue)
			if test.want == "" {
				if err != nil {
					t.Errorf("got error %v, want none", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestCheckWithoutCatalogue(t *testing.T) {
	t.Parallel()
	if err := (Subscription{Patterns: []string{"anything.at_all"}}).Check(nil); err != nil {
		t.Errorf("got error %v, want none", err)
	}
}

func TestTypes(t *testing.T) {
	t.Parallel()
	got, err := Subscription{Patterns: []string{"prompt.*", "version.*", "!version.created"}}.Types(catalogue)
	if want := []string{"prompt.created", "prompt.updated", "version.promoted"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if _, err := (Subscription{Patterns: []string{"!*"}}).Types(catalogue); err == nil {
		t.Error("got no error for a malformed pattern")
	}
}

func TestShortenLongCatalogue(t *testing.T) {
	t.Parallel()
	names := strings.Split(strings.Repeat("a ", 29)+"a", " ")
	if got := shorten(names); !strings.HasSuffix(got, "a and 18 more") {
		t.Errorf("got %q, want a dozen and 18 more", got)
	}
}

func TestPatternExact(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"a.b": true, "a.*": false, "*": false, "!a.b": false} {
		p, err := ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		if eventType, got := p.Exact(); got != want || (got && eventType != text) {
			t.Errorf("%q: got %q, %v, want %v", text, eventType, got, want)
		}
	}
}
