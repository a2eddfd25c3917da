package delivery

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// densest returns the greatest number of times in any period, whose end does
// not belong to it. The times are in order.
func densest(times []time.Duration, per time.Duration) int {
	most, from := 0, 0
	for i, at := range times {
		for at-times[from] >= per {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

func times(log []sent) []time.Duration {
	var at []time.Duration
	for _, s := range log {
		at = append(at, s.at)
	}
	slices.Sort(at)
	return at
}

func limited(attempts int, per time.Duration) func(*Endpoint) {
	return func(ep *Endpoint) { ep.RateLimit = RateLimit{attempts, per} }
}

// TestStarts runs a limit against the plain reading of it: a start is late
// where fewer than the limit's attempts stand in the period before.
func TestStarts(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]RateLimit{
		"one":          {1, time.Second},
		"few":          {7, time.Minute},
		"as remember":  {mostMarks, time.Minute},
		"many":         {50_000, time.Minute},
		"short period": {5000, 100}, // in nanoseconds
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(1, uint64(limit.Attempts)))
			grain := time.Duration(0)
			if limit.Attempts > mostMarks {
				grain = limit.Per / mostMarks
			}
			var s starts
			var log []time.Duration
			now := time.Duration(0)
			for range 4*limit.Attempts + 100 {
				// Bursts, trickles near the limit, and pauses.
				switch random.IntN(2 * limit.Attempts) {
				case 0:
					now += time.Duration(random.Int64N(int64(limit.Per)))
				default:
					if random.IntN(2) == 0 {
						now += time.Duration(random.Int64N(int64(limit.Per)/int64(limit.Attempts) + 1))
					}
				}
				at := max(s.next(limit), now)
				soonest := now
				if n := len(log) - limit.Attempts; n >= 0 {
					soonest = max(now, log[n]+limit.Per)
				}
				if at < soonest || at > soonest+grain {
					t.Fatalf("start %d: got %v, want %v", len(log), at, soonest)
				}
				now = at
				s.add(limit, now)
				log = append(log, now)
				if n := len(s.marks) - s.head; n > mostMarks+2 {
					t.Fatalf("marks: got %d, want about %d at most", n, mostMarks)
				}
			}
			if got := densest(log, limit.Per); got != limit.Attempts {
				t.Errorf("most starts in a period: got %d, want %d", got, limit.Attempts)
			}
			if got := cap(s.marks); got > 4*mostMarks {
				t.Errorf("memory: got room for %d marks, want about %d", got, 2*mostMarks)
			}
		})
	}
}

func TestStartsOfALimitThatChanges(t *testing.T) {
	t.Parallel()
	var s starts
	for i := range 10 {
		s.add(RateLimit{10, time.Minute}, time.Duration(i)*time.Second)
	}
	for limit, want := range map[RateLimit]time.Duration{
		{10, time.Minute}:      60 * time.Second, // when the first one is a minute ago
		{11, time.Minute}:      0,
		{4, time.Minute}:       66 * time.Second, // when three are left
		{10, 2 * time.Minute}:  120 * time.Second,
		{10, math.MaxInt64}:    math.MaxInt64 * time.Nanosecond,
		{9, math.MaxInt64 - 1}: math.MaxInt64 * time.Nanosecond,
	} {
		if got := s.next(limit); got != want && (limit.Per < math.MaxInt64-1 || got < math.MaxInt64-time.Second) {
			t.Errorf("limit %v: got %v, want %v", limit, got, want)
		}
	}
	s = starts{}
	for i := range 6 { // remembered as two
		s.add(RateLimit{6, time.Minute}, time.Duration(1+i/3)*time.Second)
	}
	if got, want := s.next(RateLimit{4, time.Minute}), 61*time.Second; got != want {
		t.Errorf("limit below what started at once: got %v, want %v", got, want)
	}
}

func TestRateLimitIsExact(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(200, 1500*time.Millisecond))
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a", limited(3, 10*time.Second)), endpoint("b")))
		for range 10 {
			r.publish("all")
		}
		time.Sleep(time.Second)
		st, _ := r.engine.Endpoint("a")
		if got := time.Until(st.RateLimitedUntil); got != 9*time.Second {
			t.Errorf("limited: got %v from now, want 9s", got)
		}
		if st, _ := r.engine.Endpoint("b"); !st.RateLimitedUntil.IsZero() {
			t.Errorf("limited: got %v of an endpoint without a limit, want never", st.RateLimitedUntil)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		var want []time.Duration
		for i := range 10 {
			want = append(want, time.Duration(i/3*10)*time.Second)
		}
		if got := times(r.log("a")); !slices.Equal(got, want) {
			t.Errorf("starts: got %v, want %v", got, want)
		}
		if got := times(r.log("b")); len(got) != 10 || got[9] != 0 {
			t.Errorf("starts of the endpoint without a limit: got %v, want all at once", got)
		}
		if st, _ := r.engine.Endpoint("a"); !st.RateLimitedUntil.IsZero() {
			t.Errorf("limited: got %v after an hour of quiet, want never", st.RateLimitedUntil)
		}
	})
}

// Whatever is sent, and why: first attempts, retries, probes, what an operator
// wants at once and what comes with a reload.
func TestRateLimitHoldsForEveryAttempt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(3, 4))
		r := newRig(t, nil)
		defer r.close()
		const n, per = 5, 7 * time.Second
		reload := func() {
			r.engine.Attach(r.snapshot(endpoint("a", limited(n, per), func(ep *Endpoint) { ep.Retry.MaxAge = 0 })))
		}
		statuses := []int{200, 200, 503, 0, 404, 429}
		r.setReply(func(ctx context.Context, _ *Message) Outcome {
			r.mu.Lock()
			status := statuses[random.IntN(len(statuses))]
			took := time.Duration(random.IntN(3000)) * time.Millisecond
			r.mu.Unlock()
			return always(status, took)(ctx, nil)
		})
		reload()
		for i := range 600 {
			id := r.publish("a")
			r.mu.Lock()
			dice, wait := random.IntN(20), time.Duration(random.IntN(3000))*time.Millisecond
			if i%100 == 99 {
				statuses = [][]int{{0}, {200, 503}}[i/100%2]
				wait = time.Hour // of outage, so that there are probes
			}
			r.mu.Unlock()
			switch dice {
			case 0:
				reload()
			case 1:
				if _, err := r.engine.Retry(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(wait)
		}
		r.setReply(always(200, 0))
		time.Sleep(4 * 24 * time.Hour)
		synctest.Wait()
		log := r.log("a")
		retries := 0
		for _, s := range log {
			if s.number > 1 {
				retries++
			}
		}
		if got := densest(times(log), per); got != n {
			t.Errorf("most starts in a period: got %d, want %d", got, n)
		}
		if retries < 50 {
			t.Errorf("retries: got %d, want more, or the test shows little", retries)
		}
		if got := r.fake.Usage().Pending; got != 0 {
			t.Errorf("pending: got %d, want 0", got)
		}
	})
}

func TestReloadsKeepTheRate(t *testing.T) {
	for name, test := range map[string]struct {
		second func(*Endpoint)
		want   int // starts right after the reload
	}{
		"unchanged": {limited(4, time.Minute), 0},
		"less":      {limited(2, time.Minute), 0},
		"more":      {limited(6, time.Minute), 2},
		"removed":   {func(*Endpoint) {}, 16},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, always(200, time.Second))
				defer r.close()
				old := r.engine.Attach(r.snapshot(endpoint("a", limited(4, time.Minute))))
				for range 100 {
					r.publish("a")
				}
				time.Sleep(30 * time.Second)
				before := len(r.log("a"))
				r.engine.Attach(r.snapshot(endpoint("a", test.second)))
				old.Release()
				synctest.Wait()
				if got := len(r.log("a")); before != 4 || got != before+test.want {
					t.Errorf("attempts: got %d and %d after the reload, want 4 and %d", before, got, 4+test.want)
				}
			})
		})
	}
}

func TestTestsPassTheRateLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(200, 0))
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a", limited(2, time.Minute))))
		test := func(id string) {
			t.Helper()
			if _, _, err := r.engine.Test(t.Context(), "a", newEvent(id, "test")); err != nil {
				t.Fatal(err)
			}
		}
		test("t1")
		test("t2")
		for range 3 {
			r.publish("a")
		}
		synctest.Wait()
		if got := len(r.log("a")); got != 4 {
			t.Errorf("attempts: got %d, want two tests and two deliveries", got)
		}
		test("t3")
		if got := len(r.log("a")); got != 5 {
			t.Errorf("attempts: got %d, want a test also where the limit is reached", got)
		}
	})
}

// What ends a delivery that is too old is no attempt.
func TestExpiryPassesTheRateLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(0, 0))
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a", limited(1, 24*time.Hour), func(ep *Endpoint) { ep.Retry.MaxAge = 80 * time.Hour })))
		for range 20 {
			r.publish("a")
		}
		time.Sleep(81 * time.Hour)
		synctest.Wait()
		attempts := len(r.log("a"))
		if got := r.fake.Usage().Pending; got != 0 {
			t.Errorf("pending: got %d, want all ended by their age", got)
		}
		if got := densest(times(r.log("a")), 24*time.Hour); got != 1 {
			t.Errorf("most starts in a day: got %d, want 1", got)
		}
		r.publish("a")
		time.Sleep(24 * time.Hour)
		log := r.log("a")
		if len(log) == attempts || log[attempts].at-log[attempts-1].at != 24*time.Hour {
			t.Errorf("attempts: got %v, want one a day after the last one before", log)
		}
	})
}
