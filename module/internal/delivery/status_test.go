package delivery

import (
	"slices"
	"testing"
)

func TestStatusSet(t *testing.T) {
	t.Parallel()
	tests := []struct {
		items     []string
		in, notIn []int
	}{
		{nil, nil, []int{100, 200, 300, 404, 599}},
		{[]string{"503"}, []int{503}, []int{502, 504, 403, 439}},
		{[]string{"5xx", "408"}, []int{408, 500, 563, 564, 599}, []int{407, 409, 499, 600, 436}},
		{[]string{"3XX", "4xx"}, []int{300, 399, 400, 499}, []int{299, 500, 200}},
	}
	for _, test := range tests {
		s, err := ParseStatusSet(test.items)
		if err != nil {
			t.Errorf("set %q: got %v, want no error", test.items, err)
		}
		for _, code := range test.in {
			if !s.Contains(code) {
				t.Errorf("set %q: got %d outside, want it inside", test.items, code)
			}
		}
		for _, code := range append(test.notIn, -1, 0, 99, 600, 1000) {
			if s.Contains(code) {
				t.Errorf("set %q: got %d inside, want it outside", test.items, code)
			}
		}
		if got, want := s.IsEmpty(), len(test.in) == 0; got != want {
			t.Errorf("set %q: got empty %t, want %t", test.items, got, want)
		}
	}
	for _, item := range []string{"", "2xx", "200", "1xx", "6xx", "xx", "5x", "5xxx", "600", "299", "0503", "+503", "abc", "-5xx", "５xx"} {
		if _, err := ParseStatusSet([]string{"503", item}); err == nil {
			t.Errorf("item %q: got no error, want one", item)
		}
	}
}

func TestDefaultOnStatus(t *testing.T) {
	t.Parallel()
	s := DefaultOnStatus()
	for code := 100; code <= 599; code++ {
		want := code >= 300 && code < 400 || code >= 500 || slices.Contains([]int{408, 425, 429}, code)
		if got := s.Contains(code); got != want {
			t.Errorf("status %d: got %t, want %t", code, got, want)
		}
	}
}
