package event

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestParseTimestamp(t *testing.T) {
	t.Parallel()
	// An empty want is a refusal.
	for _, tc := range []struct{ in, want string }{
		{"2024-01-15T10:30:00Z", "2024-01-15T10:30:00Z"},
		{"2024-01-15T10:30:00.1Z", "2024-01-15T10:30:00Z"},
		{"2024-01-15T10:30:00.123456789012Z", "2024-01-15T10:30:00Z"},
		{"2024-01-15T10:30:00+02:00", "2024-01-15T08:30:00Z"},
		{"2024-01-15T10:30:00.5-23:59", "2024-01-16T10:29:00Z"},
		{"2024-01-15T10:30:00-00:00", "2024-01-15T10:30:00Z"},
		{"2024-01-15t10:30:00z", "2024-01-15T10:30:00Z"},
		{"2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"},
		{"2000-02-29T00:00:00Z", "2000-02-29T00:00:00Z"},
		{"2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"},
		{"0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"},
		{"9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"},
		{"", ""},
		{"2024-01-15", ""},
		{"2024-01-15T10:30Z", ""},
		{"2024-01-15T10:30:00", ""},
		{"2024-01-15 10:30:00Z", ""},
		{"2024-01-15T10:30:00,5Z", ""},
		{"2024-01-15T10:30:00.Z", ""},
		{"2024-01-15T10:30:00ZZ", ""},
		{"2024-01-15T10:30:00Z ", ""},
		{" 2024-01-15T10:30:00Z", ""},
		{"2024-01-15T10:30:00+0200", ""},
		{"2024-01-15T10:30:00+02", ""},
		{"2024-01-15T10:30:00+24:00", ""},
		{"2024-01-15T10:30:00+02:60", ""},
		{"2024-01-15T24:00:00Z", ""},
		{"2024-01-15T10:60:00Z", ""},
		{"2024-01-15T10:30:61Z", ""},
		{"2024-13-15T10:30:00Z", ""},
		{"2024-00-15T10:30:00Z", ""},
		{"2024-01-00T10:30:00Z", ""},
		{"2024-01-32T10:30:00Z", ""},
		{"2024-04-31T10:30:00Z", ""},
		{"2023-02-29T10:30:00Z", ""},
		{"1900-02-29T10:30:00Z", ""},
		{"24-01-15T10:30:00.000Z", ""},
		{"12024-01-15T10:30:00Z", ""},
		{"+2024-01-15T10:30:00Z", ""},
		{"2024-1-15T10:30:00.00Z", ""},
		{"2024/01/15T10:30:00Z", ""},
		{"2024-01-15T10-30-00Z", ""},
		{"Mon, 15 Jan 2024 10:30:00 GMT", ""},
		{"1705314600000000000000", ""},
		{"２024-01-15T10:30:00Z", ""},
		{"2024-01-15T10:30:00." + strings.Repeat("1", 43) + "Z", "2024-01-15T10:30:00Z"},
		{"2024-01-15T10:30:00." + strings.Repeat("1", 44) + "Z", ""},
	} {
		at, ok := parseTimestamp([]byte(tc.in))
		got := ""
		if ok {
			got = at.UTC().Format(time.RFC3339)
		}
		if got != tc.want {
			t.Errorf("%q: got %q, want %q", tc.in, got, tc.want)
		}
	}
}

// dateTime is the grammar of RFC 3339 with the numbers that it names.
var dateTime = regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// FuzzTimestamp compares with the grammar and, for the calendar, with the time
// package. That has neither leap seconds nor lower case, and takes more than
// the grammar has.
func FuzzTimestamp(f *testing.F) {
	f.Add("2024-01-15T10:30:00.5+02:00")
	f.Add("2016-12-31T23:59:60z")
	f.Add("0000-01-01T0:00:00-00:00")
	f.Fuzz(func(t *testing.T, in string) {
		got, ok := parseTimestamp([]byte(in))
		if !dateTime.MatchString(in) || len(in) > maxTimestamp {
			if ok {
				t.Errorf("%q: got it accepted, want only the grammar", in)
			}
			return
		}
		whole := strings.ToUpper(in)
		leap := whole[17:19] == "60"
		if leap {
			whole = whole[:17] + "59" + whole[19:]
		}
		want, err := time.Parse(time.RFC3339, whole)
		want = want.Truncate(time.Second)
		if leap {
			want = want.Add(time.Second)
		}
		if ok != (err == nil) || ok && !got.Equal(want) {
			t.Errorf("%q: got %v, %v, want %v (%v)", in, got, ok, want, err)
		}
	})
}
