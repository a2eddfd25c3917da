package delivery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/promptreports/caddy-webhooks/storage"
)

func TestHangingEndpointsDelayNobody(t *testing.T) {
	for name, hanging := range map[string]int{"one": 1, "half of 64 slots' worth": 32, "as many as slots": 63} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, func(ctx context.Context, m *Message) Outcome {
					if m.Endpoint.Name == "good" {
						return always(200, 5*time.Millisecond)(ctx, m)
					}
					return always(0, 30*time.Second)(ctx, m)
				})
				defer r.close()
				endpoints := []*Endpoint{endpoint("good")}
				for i := range hanging {
					endpoints = append(endpoints, endpoint(fmt.Sprintf("bad%02d", i)))
				}
				s := r.snapshot(endpoints...)
				s.MaxInFlight = 64
				r.engine.Attach(s)
				var worst time.Duration
				for range 500 {
					id := r.publish("all") // every endpoint is busy at any time
					_ = id
					at := r.publish("good")
					time.Sleep(20 * time.Millisecond)
					synctest.Wait()
					d, _ := r.delivery(at)
					if d.Status != storage.StatusDelivered {
						worst = time.Hour
					} else {
						worst = max(worst, d.LastAttemptAt.Sub(d.CreatedAt))
					}
				}
				if worst > 10*time.Millisecond {
					t.Errorf("a delivery to the good endpoint waited %v, want 10ms at most", worst)
				}
			})
		})
	}
}

func TestEndpointsShareTheSlots(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(200, 10*time.Millisecond))
		defer r.close()
		s := r.snapshot(endpoint("a"), endpoint("b"), endpoint("c"))
		s.MaxInFlight = 12
		r.engine.Attach(s)
		for range 3000 {
			r.publish("a")
		}
		for range 300 {
			r.publish("b")
			r.publish("c")
		}
		began := time.Now()
		for len(r.log("b")) < 300 || len(r.log("c")) < 300 {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
		}
		// Three busy endpoints get 12 slots: 300 deliveries by 3 slots or
		// more take 1 s, whatever the noisy one has waiting.
		if got := time.Since(began); got > 1100*time.Millisecond {
			t.Errorf("300 deliveries beside a noisy endpoint took %v, want 1.1s at most", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := r.fake.Usage().Pending; got != 0 {
			t.Errorf("pending: got %d, want 0", got)
		}
		if got := r.peaks["a"] + r.peaks["b"] + r.peaks["c"]; got > 3*12 {
			t.Errorf("attempts at once: got %d", got)
		}
	})
}

func TestBacklogStaysOnDisk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const backlog = 100_000
		r := newRig(t, always(200, 0))
		defer func() { r.close() }()
		s := r.snapshot(endpoint("a"))
		lease := r.engine.Attach(s)
		lease.Release()
		for i := range backlog / 1000 {
			batch := make([]Publication, 1000)
			for k := range batch {
				batch[k].Event = newEvent(fmt.Sprintf("evt_%d_%d", i, k), "a")
			}
			if _, err := r.engine.Publish(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
		}
		if n, pinned := r.memory("a"); n > leastWindow || pinned > leastWindow*1024 {
			t.Errorf("memory: got %d deliveries and %d bytes, want %d deliveries at most", n, pinned, leastWindow)
		}
		r.restart()
		var most atomic.Int64
		r.setReply(func(context.Context, *Message) Outcome {
			n, _ := r.memory("a")
			most.Store(max(most.Load(), int64(n)))
			return outcomeOf(200)
		})
		r.engine.Attach(s)
		synctest.Wait() // without a timer, all of it goes out at once
		if got := r.fake.Usage().Pending; got != 0 {
			t.Errorf("pending: got %d, want 0", got)
		}
		if got := len(r.log("a")); got != backlog {
			t.Errorf("attempts: got %d, want %d", got, backlog)
		}
		if most.Load() > leastWindow {
			t.Errorf("deliveries in memory: got %d, want %d at most", most.Load(), leastWindow)
		}
		if _, p := r.memory("a"); p != 0 {
			t.Errorf("pinned bytes after all was sent: got %d, want 0", p)
		}
	})
}

func TestWorkersAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(200, time.Second))
		defer r.close()
		var endpoints []*Endpoint
		for i := range 2000 {
			endpoints = append(endpoints, endpoint(fmt.Sprintf("e%04d", i)))
		}
		s := r.snapshot(endpoints...)
		s.MaxInFlight = 50
		r.engine.Attach(s)
		r.publish("all")
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		r.engine.mu.Lock()
		if d := &r.engine.dispatch; d.workers != 50 || d.inFlight != 50 {
			t.Errorf("got %d workers and %d attempts, want 50 of both", d.workers, d.inFlight)
		}
		r.engine.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		r.engine.mu.Lock()
		defer r.engine.mu.Unlock()
		if d := &r.engine.dispatch; d.workers > maxParked || d.workers != d.parked {
			t.Errorf("idle: got %d workers, %d of them parked, want %d at most", d.workers, d.parked, maxParked)
		}
	})
}

func TestOutage(t *testing.T) {
	for _, test := range []struct {
		perSecond int
		took      time.Duration // by an attempt when the receiver works again
	}{
		{10, 50 * time.Millisecond},
		{50, 20 * time.Millisecond},
	} {
		t.Run(fmt.Sprint(test.perSecond, " events a second"), func(t *testing.T) {
			outage(t, test.perSecond, test.took)
		})
	}
}

func outage(t *testing.T, perSecond int, took time.Duration) {
	bubble(t, func(t *testing.T) {
		const outage = 2 * time.Hour
		r := newRig(t, always(0, 10*time.Millisecond))
		defer r.close()
		core, logs := observer.New(zapcore.DebugLevel)
		s := r.snapshot(endpoint("a", func(ep *Endpoint) { ep.Retry.Jitter = 0.2 }))
		s.Logger = zap.New(core)
		r.engine.rand = rand.New(rand.NewPCG(1, 2)).Float64
		r.engine.Attach(s)
		published := 0
		run := func(until time.Duration, stop func() bool) {
			for time.Since(r.epoch) < until && (stop == nil || !stop()) {
				r.publish("a")
				published++
				time.Sleep(time.Second / time.Duration(perSecond))
			}
		}
		run(outage, nil)
		down := len(r.log("a"))
		if down > 60 {
			t.Errorf("attempts during the outage: got %d, want 60 at most", down)
		}
		if logs.Len() > 200 {
			t.Errorf("log lines in two hours: got %d, want 200 at most", logs.Len())
		}
		if st, _ := r.engine.Endpoint("a"); st.Health != Failing || st.NextProbe.IsZero() || st.Limit != 1 {
			t.Errorf("status: got %+v, want failing with a next probe", st)
		}
		r.setReply(always(200, took))
		run(outage+15*time.Minute, nil)
		synctest.Wait()
		log := r.log("a")[down:]
		if first := log[0].at - outage; first > 6*time.Minute {
			t.Errorf("first attempt after the recovery: got %v, want 6m at most", first)
		}
		checkRamp(t, log, took)
		if pending := r.fake.Usage().Pending; pending > published/100 {
			t.Errorf("pending 15 minutes after the recovery: got %d of %d, want 1%% at most", pending, published)
		}
		if r.peaks["a"] > 16 {
			t.Errorf("attempts at once: got %d, want 16 at most", r.peaks["a"])
		}
		for _, d := range r.watch.done {
			if d.Status != string(storage.StatusDelivered) {
				t.Errorf("delivery %s: got %s %s, want delivered", d.DeliveryID, d.Status, d.Code)
				break
			}
		}
	})
}

// checkRamp checks that the rate of a recovering endpoint, which takes so long
// for an attempt, doubles every 5 s at most.
func checkRamp(t *testing.T, log []sent, took time.Duration) {
	t.Helper()
	perSlot := int(5 * time.Second / took)
	for step := range 4 {
		from := log[0].at + time.Duration(step)*5*time.Second
		count := 0
		for _, s := range log {
			if s.at >= from && s.at < from+5*time.Second {
				count++
			}
		}
		if most := perSlot<<step + 2<<step; count > most {
			t.Errorf("attempts in step %d of the ramp: got %d, want %d at most", step, count, most)
		}
		if count < perSlot<<step*8/10 {
			t.Errorf("attempts in step %d of the ramp: got %d, want about %d", step, count, perSlot<<step)
		}
	}
}
