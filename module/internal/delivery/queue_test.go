package delivery

import (
	"testing"
	"time"
)

// TestQueueLags shows when posts give way to what sends: not where that would
// not help, because the endpoint gets nothing now.
func TestQueueLags(t *testing.T) {
	t.Parallel()
	const now = time.Minute
	for _, test := range []struct {
		name   string
		change func(q *queue)
		want   bool
	}{
		{"more than is sent at a time", func(*queue) {}, true},
		{"no more than that", func(q *queue) { q.win.popReady() }, false},
		{"failing", func(q *queue) { q.health.failing = true }, false},
		{"paused", func(q *queue) { q.state.Paused = true }, false},
		{"paused by the configuration", func(q *queue) { q.config.Paused = true }, false},
		{"not configured any more", func(q *queue) { q.config = nil }, false},
		{"told to wait", func(q *queue) { q.holdUntil = now + 1 }, false},
		{"at its rate limit", func(q *queue) {
			q.config.RateLimit = RateLimit{Attempts: 1, Per: time.Second}
			q.starts.add(q.config.RateLimit, now)
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			q := &queue{config: &Endpoint{MaxInFlight: 2}}
			for range q.config.MaxInFlight + 1 {
				q.win.pushReady(item{})
			}
			test.change(q)
			if got := q.lags(now); got != test.want {
				t.Errorf("got %t, want %t", got, test.want)
			}
		})
	}
}
