package event

import (
	"testing"
	"time"
)

func TestDigest(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	p := &Parser{Now: func() time.Time {
		now = now.Add(time.Millisecond)
		return now
	}}
	digest := func(body string) [32]byte {
		t.Helper()
		e, refusal := p.Event([]byte(body))
		if refusal != nil {
			t.Fatal(refusal)
		}
		return e.Digest()
	}
	first := digest(`{"id":"a","type":"t","data":{"n":1}}`)
	tests := []struct {
		name, body string
		same       bool
	}{
		{"again, later", `{"id":"a","type":"t","data":{"n":1}}`, true},
		{"again, written otherwise", ` {"data":{ "n":1.0},"type":"t","id":"a","metadata":{}}`, true},
		{"other data", `{"id":"a","type":"t","data":{"n":2}}`, false},
		{"other type", `{"id":"a","type":"u","data":{"n":1}}`, false},
		{"with a timestamp", `{"id":"a","type":"t","timestamp":"2026-01-02T03:04:05.001Z","data":{"n":1}}`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := digest(tt.body) == first; got != tt.same {
				t.Errorf("got the same digest: %t, want %t", got, tt.same)
			}
		})
	}
	if digest(`{"id":"a","type":"t","timestamp":"2026-01-02T03:04:05Z","data":{}}`) ==
		digest(`{"id":"a","type":"t","timestamp":"2026-01-02T03:04:06Z","data":{}}`) {
		t.Error("got the same digest of events with different timestamps, want two")
	}
}
