package subscription

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	index, err := NewIndex([]Subscription{
		0: {},
		1: {Patterns: []string{"prompt.*"}},
		2: {Patterns: []string{"prompt.created"}},
		3: {Patterns: []string{"!prompt.*"}},
		4: {Patterns: []string{"!prompt.created", "prompt.*", "prompt.draft.*"}},
		5: {Filters: []Filter{{"metadata.folderId", []string{"f1", "f2"}}}},
		6: {Patterns: []string{"prompt.*", "*"}, Filters: []Filter{{"metadata.folderId", []string{"f1"}}, {"data.stage", []string{"prod"}}}},
		7: {Patterns: []string{"prompt.created", "prompt.created"}, Filters: []Filter{{"data.stage", []string{"prod", "prod"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, eventType string
		fields          map[string][]string
		want            []int
	}{
		{"by type", "prompt.created", nil, []int{0, 1, 2}},
		{"by prefix", "prompt.updated", nil, []int{0, 1, 4}},
		{"below a prefix", "prompt.draft.saved", nil, []int{0, 1, 4}},
		{"prefix itself", "prompt", nil, []int{0, 3}},
		{"other", "version.created", nil, []int{0, 3}},
		{"empty type", "", nil, []int{0, 3}},
		{"filter", "version.created", map[string][]string{"metadata.folderId": {"f2"}}, []int{0, 3, 5}},
		{"one filter of two", "version.created", map[string][]string{"metadata.folderId": {"f1"}}, []int{0, 3, 5}},
		{"both filters", "version.created", map[string][]string{"metadata.folderId": {"f1"}, "data.stage": {"dev", "prod"}}, []int{0, 3, 5, 6}},
		{"array with two values", "prompt.created", map[string][]string{"metadata.folderId": {"f1", "f2"}}, []int{0, 1, 2, 5}},
		{"all", "prompt.created", map[string][]string{"metadata.folderId": {"f1"}, "data.stage": {"prod"}}, []int{0, 1, 2, 5, 6, 7}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			asked := map[string]int{}
			got := index.Match([]int{99}, test.eventType, func(path string) []string {
				asked[path]++
				return test.fields[path]
			})
			if want := append([]int{99}, test.want...); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			for path, n := range asked {
				if n > 1 {
					t.Errorf("%s was looked up %d times, want once", path, n)
				}
			}
		})
	}
}

func TestMatchAsksForNoFieldWithoutNeed(t *testing.T) {
	t.Parallel()
	index, err := NewIndex([]Subscription{{Patterns: []string{"a.b"}, Filters: []Filter{{"data.x", []string{"1"}}}}, {}})
	if err != nil {
		t.Fatal(err)
	}
	got := index.Match(nil, "a.c", func(path string) []string {
		t.Errorf("%s was looked up", path)
		return nil
	})
	if !slices.Equal(got, []int{1}) {
		t.Errorf("got %v, want [1]", got)
	}
}

func TestMatchEmptyIndex(t *testing.T) {
	t.Parallel()
	if got := new(Index).Match(nil, "a.b", nil); len(got) != 0 {
		t.Errorf("got %v, want nothing", got)
	}
}

func TestMatchWithoutFields(t *testing.T) {
	t.Parallel()
	index, err := NewIndex([]Subscription{{Filters: []Filter{{"id", []string{""}}}}, {}})
	if err != nil {
		t.Fatal(err)
	}
	if got := index.Match(nil, "a", nil); !slices.Equal(got, []int{1}) {
		t.Errorf("got %v, want [1]", got)
	}
}

func TestMayMatch(t *testing.T) {
	t.Parallel()
	index, err := NewIndex([]Subscription{
		{Patterns: []string{"!b.*"}, Filters: []Filter{{"id", []string{"1", "2"}}}},
		{Patterns: []string{"a.b"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for eventType, want := range map[string][]int{"a.b": {0, 1}, "a.c": {0}, "b.c": nil} {
		if got := index.MayMatch(nil, eventType); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", eventType, got, want)
		}
	}
}

func TestNewIndexNamesTheSubscription(t *testing.T) {
	t.Parallel()
	_, err := NewIndex([]Subscription{{}, {Patterns: []string{"a*"}}})
	if err == nil || !strings.Contains(err.Error(), "subscription 1") {
		t.Errorf("got error %v, want one that names subscription 1", err)
	}
}

func TestMatchConcurrently(t *testing.T) {
	t.Parallel()
	index := folders(t, 100)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			value := []string{fmt.Sprintf("fld_%d", i)}
			for range 200 {
				if got := index.Match(nil, "a.b", func(string) []string { return value }); !slices.Equal(got, []int{i}) {
					t.Errorf("got %v, want [%d]", got, i)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestMatchDoesNotAllocate(t *testing.T) {
	if testing.CoverMode() != "" || raceEnabled {
		t.Skip("instrumented code allocates, and pools drop values at random")
	}
	index := folders(t, 1000)
	value := []string{"fld_7"}
	fields := func(string) []string { return value }
	dst := make([]int, 0, 8)
	if n := testing.AllocsPerRun(100, func() { dst = index.Match(dst[:0], "a.b", fields) }); n > 0 {
		t.Errorf("got %v allocations for a match, want 0", n)
	}
}

// folders makes an index of n subscriptions, each to a folder of its own.
func folders(tb testing.TB, n int) *Index {
	tb.Helper()
	subs := make([]Subscription, n)
	for i := range subs {
		subs[i].Filters = []Filter{{"metadata.folderId", []string{fmt.Sprintf("fld_%d", i)}}}
	}
	index, err := NewIndex(subs)
	if err != nil {
		tb.Fatal(err)
	}
	return index
}

// naive decides by trying every subscription.
func naive(subs []Subscription, eventType string, fields map[string][]string) []int {
	var got []int
next:
	for i, s := range subs {
		admitted, any := false, false
		for _, text := range s.Patterns {
			body, exclude := strings.CutPrefix(text, "!")
			hit := body == "*" || body == eventType
			if prefix, ok := strings.CutSuffix(body, "*"); ok && len(eventType) > len(prefix) {
				hit = hit || strings.HasPrefix(eventType, prefix)
			}
			if exclude && hit {
				continue next
			}
			any = any || !exclude
			admitted = admitted || (hit && !exclude)
		}
		if any && !admitted {
			continue
		}
		for _, f := range s.Filters {
			if !slices.ContainsFunc(f.Values, func(v string) bool { return slices.Contains(fields[f.Field], v) }) {
				continue next
			}
		}
		got = append(got, i)
	}
	return got
}

// world draws subscriptions and an event from a small vocabulary, so that
// they often meet.
func world(r *rand.Rand) (subs []Subscription, eventType string, fields map[string][]string) {
	word := func() string { return []string{"a", "b", "aa"}[r.IntN(3)] }
	name := func() string {
		words := make([]string, 1+r.IntN(3))
		for i := range words {
			words[i] = word()
		}
		return strings.Join(words, ".")
	}
	subs = make([]Subscription, r.IntN(20))
	for i := range subs {
		for range r.IntN(4) {
			p := name()
			switch r.IntN(6) {
			case 0:
				p = "*"
			case 1, 2:
				p += ".*"
			}
			if p != "*" && r.IntN(3) == 0 {
				p = "!" + p
			}
			subs[i].Patterns = append(subs[i].Patterns, p)
		}
		for range r.IntN(3) {
			f := Filter{Field: "data." + word()}
			for range 1 + r.IntN(3) {
				f.Values = append(f.Values, word())
			}
			subs[i].Filters = append(subs[i].Filters, f)
		}
	}
	fields = map[string][]string{}
	for range r.IntN(4) {
		fields["data."+word()] = []string{word(), word()}[:r.IntN(3)]
	}
	return subs, name(), fields
}

func FuzzMatch(f *testing.F) {
	for seed := range uint64(300) {
		f.Add(seed, "prompt.created", "metadata.a", "x")
	}
	f.Fuzz(func(t *testing.T, seed uint64, pattern, field, value string) {
		subs, eventType, fields := world(rand.New(rand.NewPCG(seed, 1)))
		extra := Subscription{Patterns: []string{pattern}, Filters: []Filter{{field, []string{value}}}}
		if extra.Check(nil) == nil {
			subs = append(subs, extra)
			fields[field] = append(fields[field], value)
		}
		index, err := NewIndex(subs)
		if err != nil {
			t.Fatal(err)
		}
		for _, eventType := range []string{eventType, pattern, strings.TrimSuffix(pattern, "*") + "x"} {
			got := index.Match(nil, eventType, func(path string) []string { return fields[path] })
			if want := naive(subs, eventType, fields); !slices.Equal(got, want) {
				t.Fatalf("%q with %v of %+v: got %v, want %v", eventType, fields, subs, got, want)
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	const n = 10_000
	miss := make([]Subscription, n)
	hit := make([]Subscription, n)
	mixed := make([]Subscription, n)
	for i := range n {
		miss[i].Patterns = []string{fmt.Sprintf("other%d.*", i)}
		mixed[i] = Subscription{
			Patterns: []string{[]string{"prompt.*", "version.promoted", "*", "!version.promoted"}[i%4]},
			Filters:  []Filter{{"data.newStage", []string{"production"}}, {"metadata.folderId", []string{fmt.Sprintf("fld_%d", i)}}},
		}
	}
	value := map[string][]string{"metadata.folderId": {"fld_42"}, "data.newStage": {"production"}}
	fields := func(path string) []string { return value[path] }
	for name, subs := range map[string][]Subscription{"miss": miss, "hit": hit, "mixed": mixed} {
		b.Run(name, func(b *testing.B) {
			index, err := NewIndex(subs)
			if err != nil {
				b.Fatal(err)
			}
			dst := make([]int, 0, n)
			b.ReportAllocs()
			for b.Loop() {
				dst = index.Match(dst[:0], "version.promoted", fields)
			}
		})
	}
	b.Run("folders", func(b *testing.B) {
		index := folders(b, n)
		dst := make([]int, 0, n)
		b.ReportAllocs()
		for b.Loop() {
			dst = index.Match(dst[:0], "version.promoted", fields)
		}
	})
}

func BenchmarkNewIndex(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		folders(b, 10_000)
	}
}
