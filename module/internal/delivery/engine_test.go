package delivery

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
	"github.com/promptreports/caddy-webhooks/storage/storagetest"
)

// TestNothingIsSentFromAFailedOutbox starts on an outbox of which something is
// missing: what is sent could not be recorded, and endpoints that were paused
// may be unknown.
func TestNothingIsSentFromAFailedOutbox(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fake := storagetest.NewFake(storagetest.FakeOptions{})
		_, err := fake.Accept(t.Context(), []storage.NewEvent{{ID: "e", Type: "a", Endpoints: []string{"a"}}})
		if err != nil {
			t.Fatal(err)
		}
		fake.Poison(errors.New("data is missing"))
		r := newRigOn(t, fake, always(200, 0))
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a")))
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := len(r.log("")); got != 0 {
			t.Errorf("attempts: got %d, want none", got)
		}
		if s := r.engine.Status(); s.State != StateFailed || !errors.Is(s.Err, storage.ErrFailed) {
			t.Errorf("status: got %s, %v, want failed", s.State, s.Err)
		}
	})
}

func TestFirstAttemptIsImmediate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(200, 0))
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a"), endpoint("b")))
		one, both := r.publish("a"), r.publish("all")
		synctest.Wait() // no time passes
		r.want(one, storage.StatusDelivered, "http_200", 1)
		r.want(both, storage.StatusDelivered, "http_200", 1)
		r.want(both.Event().Delivery(1), storage.StatusDelivered, "http_200", 1)
		if got := len(r.log("")); got != 3 {
			t.Errorf("attempts: got %d, want 3", got)
		}
		if len(r.watch.done) != 3 || r.watch.attempts != 3 {
			t.Errorf("observer: got %d deliveries and %d attempts, want 3 and 3", len(r.watch.done), r.watch.attempts)
		}
	})
}

func TestOrderOfFirstAttempts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(200, time.Millisecond))
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a", func(ep *Endpoint) { ep.MaxInFlight = 1 })))
		var want []string
		for range 700 { // more than a window holds
			r.publish("a")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		var got []string
		for i, s := range r.log("a") {
			got = append(got, s.event)
			want = append(want, newEventID(i+1))
		}
		if len(got) != 700 || !slices.Equal(got, want) {
			t.Errorf("order of %d attempts is not that of acceptance", len(got))
		}
		if r.peaks["a"] != 1 {
			t.Errorf("attempts at once: got %d, want 1", r.peaks["a"])
		}
	})
}

func TestDefaultSchedule(t *testing.T) {
	for name, random := range map[string]float64{"least": 0, "middle": 0.5, "most": 0.999999} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, always(500, 0))
				defer r.close()
				r.engine.rand = func() float64 { return random }
				ep := endpoint("a", func(ep *Endpoint) { ep.Retry.Jitter = 0.2 })
				r.engine.Attach(r.snapshot(ep))
				id := r.publish("a")
				time.Sleep(5 * 24 * time.Hour)
				synctest.Wait()
				r.want(id, storage.StatusFailed, "http_500", 10)
				at := time.Duration(0)
				for i, s := range r.log("a") {
					if i > 0 {
						at += time.Duration(float64(ep.Retry.Schedule[i-1]) * (0.8 + 0.4*random))
					}
					if late := s.at - at; late < -10*time.Millisecond || late > 10*time.Millisecond {
						t.Errorf("attempt %d: got at %v, want at %v", i+1, s.at, at)
					}
					if s.number != i+1 {
						t.Errorf("attempt number: got %d, want %d", s.number, i+1)
					}
				}
			})
		})
	}
}

func TestBackoffAndNoRetry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(503, 0))
		defer r.close()
		r.engine.Attach(r.snapshot(
			endpoint("off", func(ep *Endpoint) { ep.Retry.MaxAttempts = 1 }),
			endpoint("backoff", func(ep *Endpoint) {
				ep.Retry.Schedule, ep.Retry.MaxAttempts = nil, 5
				ep.Retry.Backoff = Backoff{Initial: time.Second, Max: 5 * time.Second, Factor: 2}
			})))
		off, backoff := r.publish("off"), r.publish("backoff")
		time.Sleep(time.Hour)
		synctest.Wait()
		r.want(off, storage.StatusFailed, "http_503", 1)
		r.want(backoff, storage.StatusFailed, "http_503", 5)
		want := []int{0, 1, 3, 7, 12}
		for i, s := range r.log("backoff") {
			if got := s.at.Round(time.Second); got != time.Duration(want[i])*time.Second {
				t.Errorf("attempt %d: got at %v, want at %ds", i+1, got, want[i])
			}
		}
	})
}

func TestPermanentFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(404, 0))
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a")))
		for range 5 {
			id := r.publish("a")
			synctest.Wait()
			r.want(id, storage.StatusFailed, "http_404", 1)
		}
		if s, _ := r.engine.Endpoint("a"); s.Health != Healthy {
			t.Errorf("health: got %s, want healthy, because the receiver answers", s.Health)
		}
	})
}

func TestRetryAfterHoldsTheEndpoint(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first := true
		r := newRig(t, func(_ context.Context, m *Message) Outcome {
			if first {
				first = false
				out := outcomeOf(429)
				out.RetryAfter = 2 * time.Minute
				return out
			}
			return outcomeOf(200)
		})
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a"), endpoint("b")))
		limited := r.publish("a")
		synctest.Wait()
		held, free := r.publish("a"), r.publish("b")
		time.Sleep(2*time.Minute - time.Millisecond)
		synctest.Wait()
		r.want(free, storage.StatusDelivered, "http_200", 1)
		r.want(held, storage.StatusPending, "", 0)
		r.want(limited, storage.StatusPending, "http_429", 1)
		if s, _ := r.engine.Endpoint("a"); s.HeldUntil.IsZero() {
			t.Error("the status does not tell until when the endpoint is held")
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		r.want(held, storage.StatusDelivered, "http_200", 1)
		r.want(limited, storage.StatusDelivered, "http_200", 2)
	})
}

func TestRetryAfterNeverShortens(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *Message) Outcome {
			out := outcomeOf(503)
			out.RetryAfter = time.Second
			return out
		})
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a")))
		r.publish("a")
		time.Sleep(5*time.Second - time.Millisecond)
		synctest.Wait()
		if got := len(r.log("a")); got != 1 {
			t.Errorf("attempts before the scheduled wait is over: got %d, want 1", got)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if got := len(r.log("a")); got != 2 {
			t.Errorf("attempts after the scheduled wait: got %d, want 2", got)
		}
	})
}

func TestMaxAgeEndsDeliveries(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(500, 0))
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a", func(ep *Endpoint) { ep.Retry.MaxAge = 10 * time.Minute })))
		id := r.publish("a")
		time.Sleep(time.Hour)
		synctest.Wait()
		r.want(id, storage.StatusFailed, CodeExpired, 3) // at 0 s, 5 s and 5 min; the next would be at 35 min
		if got := r.fake.Usage().Pending; got != 0 {
			t.Errorf("pending: got %d, want 0", got)
		}
	})
}

func TestMaxAgeEndsDeliveriesOfAFailingEndpoint(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(0, 0))
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a", func(ep *Endpoint) { ep.Retry.MaxAge = time.Hour })))
		for range 2000 {
			r.publish("a")
		}
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if got := r.fake.Usage().Pending; got != 2000 {
			t.Errorf("pending before max_age: got %d, want 2000", got)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := r.fake.Usage().Pending; got != 0 {
			t.Errorf("pending after max_age: got %d, want 0", got)
		}
	})
}

func TestPanicIsAFailedAttempt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(_ context.Context, m *Message) Outcome {
			if m.EventID == newEventID(1) {
				panic("a fault")
			}
			return outcomeOf(200)
		})
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a")))
		poison, good := r.publish("a"), r.publish("a")
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		r.want(poison, storage.StatusFailed, CodePanic, 3)
		r.want(good, storage.StatusDelivered, "http_200", 1)
	})
}

func TestGonePausesTheEndpoint(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(410, 0))
		defer func() { r.close() }()
		s := r.snapshot(endpoint("a"))
		r.engine.Attach(s)
		gone := r.publish("a")
		synctest.Wait()
		held := r.publish("a")
		r.restart()
		r.engine.Attach(s)
		time.Sleep(time.Hour)
		synctest.Wait()
		r.want(gone, storage.StatusFailed, CodeGone, 1)
		r.want(held, storage.StatusPending, "", 0)
		if st, _ := r.engine.Endpoint("a"); st.Health != Paused || st.Reason != "gone" || st.Pending != 1 {
			t.Errorf("status: got %+v, want one delivery pending and the endpoint paused, because gone", st)
		}
		r.setReply(always(200, 0))
		if err := r.engine.Resume(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.want(held, storage.StatusDelivered, "http_200", 1)
	})
}

func TestPauseAndResume(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(200, 0))
		defer func() { r.close() }()
		s := r.snapshot(endpoint("a"), endpoint("b", func(ep *Endpoint) { ep.Paused = true }))
		r.engine.Attach(s)
		if err := r.engine.Pause(t.Context(), "a", "operator"); err != nil {
			t.Fatal(err)
		}
		id := r.publish("all")
		r.restart()
		r.engine.Attach(s)
		time.Sleep(10 * 24 * time.Hour)
		synctest.Wait()
		if got := len(r.log("")); got != 0 {
			t.Fatalf("attempts to paused endpoints: got %d, want 0", got)
		}
		for name, reason := range map[string]string{"a": "operator", "b": "configuration"} {
			if st, _ := r.engine.Endpoint(name); st.Health != Paused || st.Reason != reason || st.Limit != 0 {
				t.Errorf("status of %s: got %+v, want paused by %s", name, st, reason)
			}
			if err := r.engine.Resume(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		r.want(id, storage.StatusDelivered, "http_200", 1) // although older than max_age
		r.want(id.Event().Delivery(1), storage.StatusPending, "", 0)
		if err := r.engine.Pause(t.Context(), "nobody", "operator"); !errors.Is(err, ErrUnknownEndpoint) {
			t.Errorf("pausing an unknown endpoint: got %v, want ErrUnknownEndpoint", err)
		}
	})
}

func newEventID(n int) string { return "evt_" + strconv.Itoa(n) }
