package delivery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/promptreports/caddy-webhooks/storage"
	"github.com/promptreports/caddy-webhooks/storage/storagetest"
)

func key(n uint32) storage.EventKey { return storage.NewEventKey(1, n) }

func TestHealthTurnsFailing(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		events []uint32 // 0 is an answer
		want   bool
	}{
		"one event, often":        {[]uint32{1, 1, 1, 1, 1, 1}, false},
		"two events, often":       {[]uint32{1, 2, 1, 2, 1, 2}, false},
		"three events":            {[]uint32{1, 2, 3}, true},
		"three events, one twice": {[]uint32{1, 2, 2, 1, 3}, true},
		"three with an answer":    {[]uint32{1, 2, 0, 3}, false},
		"no longer than usual":    {[]uint32{1, 2, 0, 1, 2, 3}, false},
		"much longer than usual":  {[]uint32{1, 2, 0, 1, 2, 3, 4, 5, 6, 7}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var h health
			for _, n := range test.events {
				if n == 0 {
					h.answered(0, 16)
				} else {
					h.failed(0, time.Unix(0, 0), false, key(n), 0.5)
				}
			}
			if h.failing != test.want {
				t.Errorf("failing: got %v, want %v", h.failing, test.want)
			}
		})
	}
}

func failing(now time.Duration) *health {
	h := new(health)
	for n := range uint32(failingEvents) {
		h.failed(now, time.Unix(0, 0), false, key(n), 0.5)
	}
	return h
}

// TestHealthOfSometimesFailing gives an endpoint that fails some of the time
// so many attempts that rows of three failures are certain.
func TestHealthOfSometimesFailing(t *testing.T) {
	t.Parallel()
	for _, share := range []float64{0.01, 0.05, 0.2, 0.5} {
		t.Run(fmt.Sprint(share), func(t *testing.T) {
			t.Parallel()
			var h health
			random := rand.New(rand.NewPCG(1, 2))
			for range 2 * rowMemory {
				h.answered(0, 16) // it worked for a while
			}
			n := uint32(0)
			for range 1_000_000 {
				n++
				if random.Float64() >= share {
					h.answered(0, 16)
				} else if h.failed(0, time.Unix(0, 0), false, key(n), 0.5) {
					t.Fatalf("turned failing at attempt %d", n)
				}
			}
			row := 0
			for !h.failing {
				h.failed(0, time.Unix(0, 0), false, key(n+uint32(row)), 0.5)
				row++
			}
			if row < failingEvents || row > longestRow {
				t.Errorf("failures until it turned failing: got %d, want %d to %d", row, failingEvents, longestRow)
			}
		})
	}
}

func TestHealthProbesBackOff(t *testing.T) {
	t.Parallel()
	now := time.Duration(0)
	h := failing(now)
	for i, want := range []int{5, 10, 20, 40, 80, 160, 300, 300} {
		if got := h.nextProbe - now; got != time.Duration(want)*time.Second {
			t.Errorf("wait for probe %d: got %v, want %ds", i+1, got, want)
		}
		now = h.nextProbe
		h.failed(now, time.Unix(0, 0), true, key(9), 0.5)
	}
	for _, random := range []float64{0, 0.999999} {
		h = failing(0)
		h.failed(0, time.Unix(0, 0), true, key(9), random)
		if got, want := h.nextProbe, time.Duration((0.8+0.4*random)*float64(10*time.Second)); got-want > time.Millisecond || want-got > time.Millisecond {
			t.Errorf("jittered wait: got %v, want %v", got, want)
		}
	}
}

func TestHealthRamps(t *testing.T) {
	t.Parallel()
	h := failing(0)
	now := time.Hour
	if !h.answered(now, 16) || h.failing {
		t.Fatal("an answer did not turn the endpoint healthy")
	}
	for _, want := range []int{1, 2, 4, 8, 16} {
		if got := h.limit(16); got != want {
			t.Errorf("limit: got %d, want %d", got, want)
		}
		h.answered(now+rampStep-1, 16)
		if got := h.limit(16); got != want {
			t.Errorf("limit before the step is over: got %d, want %d", got, want)
		}
		now += rampStep
		h.answered(now, 16)
	}

	// One that fails again while it ramps goes on with its backoff.
	h = failing(0)
	for range 5 {
		h.failed(h.nextProbe, time.Unix(0, 0), true, key(1), 0.5)
	}
	h.answered(now, 16)
	for n := range uint32(failingEvents) {
		h.failed(now, time.Unix(0, 0), false, key(n), 0.5)
	}
	if got := h.nextProbe - now; got < time.Minute {
		t.Errorf("wait for a probe after a relapse: got %v, want that of the backoff before", got)
	}
}

func TestFailingOutlivesARestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(0, 0))
		defer func() { r.close() }()
		s := r.snapshot(endpoint("a"))
		r.engine.Attach(s)
		for range 100 {
			r.publish("a")
		}
		time.Sleep(time.Minute)
		states, err := r.fake.EndpointStates(t.Context())
		if err != nil || states["a"].FailingSince.IsZero() {
			t.Fatalf("state: got %+v, %v, want when it began to fail", states, err)
		}
		r.opts.Rand = func() float64 { return 0.5 }
		r.restart()
		before := len(r.log("a"))
		r.engine.Attach(s)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := len(r.log("a")) - before; got != 1 {
			t.Errorf("attempts within 5s of the restart: got %d, want one probe", got)
		}
		r.setReply(always(200, 0))
		time.Sleep(time.Minute)
		synctest.Wait()
		if states, _ = r.fake.EndpointStates(t.Context()); len(states) != 0 {
			t.Errorf("states after the recovery: got %+v, want none", states)
		}
		if got := r.fake.Usage().Pending; got != 0 {
			t.Errorf("pending: got %d, want 0", got)
		}
		want := []string{"a: healthy to failing (connection_refused)", "a: failing to healthy ()"}
		if got := fmt.Sprint(r.watch.changes); got != fmt.Sprint(want) {
			t.Errorf("changes: got %s, want %s", got, want)
		}
	})
}

func TestProbesUseUpNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(503, 0))
		defer func() { r.close() }()
		s := r.snapshot(endpoint("a"))
		r.engine.Attach(s)
		var ids []storage.DeliveryID
		for range 3 {
			ids = append(ids, r.publish("a"))
		}
		time.Sleep(3 * 24 * time.Hour)
		r.restart()
		r.engine.Attach(s)
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		total := 0
		for _, id := range ids {
			d, _ := r.delivery(id)
			if d.Status != storage.StatusPending {
				t.Errorf("delivery: got %s after %d attempts, want pending", d.Status, d.Attempts)
			}
			total += d.Attempts
		}
		if total < 3*10 {
			t.Errorf("attempts: got %d, want more than the schedule has, or the test shows nothing", total)
		}
		r.setReply(always(200, 0))
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		for _, id := range ids {
			if d, _ := r.delivery(id); d.Status != storage.StatusDelivered {
				t.Errorf("delivery: got %s, want delivered", d.Status)
			}
		}
	})
}

func TestPoisonDoesNotKeepAnEndpointFailing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(500, 0))
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a", func(ep *Endpoint) { ep.MaxInFlight = 1 })))
		for range failingEvents {
			r.publish("a")
		}
		poison := r.publish("a") // the first that waits when the endpoint turns failing
		for range 20 {
			r.publish("a")
		}
		time.Sleep(time.Minute)
		r.setReply(func(_ context.Context, m *Message) Outcome {
			if m.Delivery == poison {
				return outcomeOf(500)
			}
			return outcomeOf(200)
		})
		time.Sleep(time.Hour)
		synctest.Wait()
		if st, _ := r.engine.Endpoint("a"); st.Health != Healthy || st.Pending > 1 {
			t.Errorf("status: got %+v, want it healthy with at most the poison pending", st)
		}
	})
}

func TestADeadEndpointIsQuietInTheLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(0, 0))
		defer r.close()
		core, logs := observer.New(zapcore.DebugLevel)
		s := r.snapshot(endpoint("dead"), endpoint("poor"))
		s.Logger = zap.New(core)
		r.engine.Attach(s)
		var n atomic.Int64
		r.setReply(func(_ context.Context, m *Message) Outcome {
			if n.Add(1)%2 == 0 && m.Endpoint.Name == "poor" {
				return outcomeOf(200)
			}
			return outcomeOf(500)
		})
		for range 50 * 3600 / 10 { // 5 events a second for an hour
			r.publish("all")
			time.Sleep(200 * time.Millisecond)
		}
		lines := map[string]int{}
		for _, l := range logs.All() {
			lines[fmt.Sprint(l.ContextMap()["endpoint"])]++
		}
		for name, count := range lines {
			if count > 100 {
				t.Errorf("lines about %s in an hour: got %d, want 100 at most", name, count)
			}
		}
		if lines["dead"] == 0 {
			t.Error("the log says nothing about the dead endpoint")
		}
	})
}

// TestOnlySuccessHeals answers the probes of a failing endpoint with what is
// neither success nor failure of the receiver: a gateway in front of it does so.
func TestOnlySuccessHeals(t *testing.T) {
	for status, want := range map[int]struct {
		status storage.Status // of the first delivery
		most   int            // probes in ten minutes
	}{
		404: {storage.StatusFailed, 200},
		302: {storage.StatusPending, 12},
		408: {storage.StatusPending, 12},
	} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, always(503, 0))
				defer r.close()
				r.engine.Attach(r.snapshot(endpoint("a", func(ep *Endpoint) { ep.MaxInFlight = 1 })))
				for range failingEvents {
					r.publish("a")
				}
				first := r.publish("a")
				for range 500 {
					r.publish("a")
				}
				time.Sleep(time.Second)
				synctest.Wait()
				r.setReply(always(status, 0))
				before := len(r.log("a"))
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				probes := len(r.log("a")) - before
				if st, _ := r.engine.Endpoint("a"); st.Health != Failing || probes == 0 || probes > want.most {
					t.Errorf("got %s after %d probes, want failing and %d probes at most", st.Health, probes, want.most)
				}
				if d, _ := r.delivery(first); d.Status != want.status {
					t.Errorf("the first that waited: got %s, want %s", d.Status, want.status)
				}
				r.setReply(always(200, 0))
				time.Sleep(6 * time.Minute)
				synctest.Wait()
				if st, _ := r.engine.Endpoint("a"); st.Health != Healthy {
					t.Errorf("after a success: got %s, want healthy", st.Health)
				}
			})
		})
	}
}

// TestUnsavedStateIsTriedAgain fails the first writes of what a restart must
// know.
func TestUnsavedStateIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(503, time.Second))
		defer r.close()
		failures := 2
		r.fake.SetHooks(storagetest.FakeHooks{BeforeSetEndpointState: func(string, storage.EndpointState) error {
			if failures--; failures >= 0 {
				return storage.ErrFull
			}
			return nil
		}})
		r.engine.Attach(r.snapshot(endpoint("a")))
		for range 20 {
			r.publish("a")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		states, err := r.fake.EndpointStates(t.Context())
		if err != nil || states["a"].FailingSince.IsZero() || failures >= 0 {
			t.Errorf("got %+v, %v, %d failures left, want when it began to fail", states, err, failures)
		}
	})
}
