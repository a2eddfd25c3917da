package delivery

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/promptreports/caddy-webhooks/storage"
)

const day = 24 * time.Hour

// probeSlack is how long after its time a failing endpoint may be disabled:
// the longest wait for a probe.
const probeSlack = lastProbe + lastProbe/5

// disabling makes an endpoint that is disabled after 5 days, and whose
// deliveries never grow too old.
func disabling(name string, edits ...func(*Endpoint)) *Endpoint {
	return endpoint(name, append([]func(*Endpoint){func(ep *Endpoint) {
		ep.DisableAfter, ep.Retry.MaxAge = 5*day, 0
	}}, edits...)...)
}

// breakDown publishes so much to a broken endpoint that it turns failing.
func breakDown(r *rig) {
	r.t.Helper()
	for range failingEvents {
		r.publish("a")
	}
	synctest.Wait()
	if st, _ := r.engine.Endpoint("a"); st.Health != Failing {
		r.t.Fatalf("status: got %+v, want failing", st)
	}
}

func (r *rig) state(name string) storage.EndpointState {
	r.t.Helper()
	states, err := r.fake.EndpointStates(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	return states[name]
}

func TestLongFailureDisables(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(503, 0))
		defer func() { r.close() }()
		core, logs := observer.New(zapcore.DebugLevel)
		s := r.snapshot(disabling("a"), disabling("b"))
		s.Logger = zap.New(core)
		r.engine.Attach(s)
		breakDown(r)
		began := time.Now()
		published := failingEvents
		for time.Since(began) < 5*day-time.Hour {
			r.publish("a")
			published++
			time.Sleep(time.Hour)
		}
		st, _ := r.engine.Endpoint("a")
		if st.Health != Failing || !st.FailingSince.Equal(began) || !st.DisableAt.Equal(began.Add(5*day)) {
			t.Errorf("status: got %+v, want it failing since %v, and disabled 5 days later", st, began)
		}
		time.Sleep(time.Until(began.Add(5*day)) - time.Second)
		if st, _ = r.engine.Endpoint("a"); st.Health != Failing {
			t.Errorf("status just before: got %s, want failing", st.Health)
		}
		time.Sleep(time.Second + probeSlack)
		synctest.Wait()
		st, _ = r.engine.Endpoint("a")
		if st.Health != Paused || st.Reason != "disabled" || !st.FailingSince.Equal(began) || !st.DisableAt.IsZero() || st.Limit != 0 {
			t.Errorf("status: got %+v, want it paused, disabled and still failing since %v", st, began)
		}
		if late := st.Since.Sub(began.Add(5 * day)); late < 0 || late > probeSlack {
			t.Errorf("disabled: got %v after its time, want at most %v", late, probeSlack)
		}
		if got := r.state("a"); !got.Paused || got.Reason != "disabled" || !got.Since.Equal(st.Since) || !got.FailingSince.Equal(began) {
			t.Errorf("state: got %+v, want it to be what the status says", got)
		}
		want := []string{"a: healthy to failing (http_503)", "a: failing to paused (disabled)"}
		if got := r.watch.changes; !slices.Equal(got, want) {
			t.Errorf("changes: got %q, want %q", got, want)
		}
		lines := logs.FilterField(zap.String("reason", "disabled")).All()
		if len(lines) != 1 || lines[0].ContextMap()["endpoint"] != "a" || lines[0].ContextMap()["failing_since"] == nil {
			t.Errorf("log: got %v, want one line", lines)
		}

		if n, bytes := r.memory("a"); n != 0 || bytes != 0 {
			t.Errorf("memory: got %d deliveries and %d bytes, want none", n, bytes)
		}

		// Nothing is sent, and nothing is lost, over a restart too.
		attempts := len(r.log("a"))
		r.restart()
		r.engine.Attach(s)
		r.publish("a")
		published++
		time.Sleep(10 * day)
		synctest.Wait()
		if got := len(r.log("a")); got != attempts {
			t.Errorf("attempts to the disabled endpoint: got %d more, want none", got-attempts)
		}
		if st, _ = r.engine.Endpoint("a"); st.Health != Paused || st.Reason != "disabled" || st.Pending != published {
			t.Errorf("status after the restart: got %+v, want it disabled with %d pending", st, published)
		}
		r.setReply(always(200, 0))
		if err := r.engine.Resume(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if st, _ = r.engine.Endpoint("a"); st.Health != Healthy || st.Pending != 0 || !st.FailingSince.IsZero() {
			t.Errorf("status after the repair: got %+v, want it healthy with nothing pending", st)
		}
		if got := r.state("a"); got != (storage.EndpointState{}) {
			t.Errorf("state after the repair: got %+v, want none", got)
		}
	})
}

func TestOutageOverARestartDisables(t *testing.T) {
	for name, test := range map[string]struct {
		up, down time.Duration
		want     time.Duration // from the beginning
	}{
		"short downtime": {3 * day, time.Hour, 5 * day},
		"long downtime":  {day, 10 * day, 11 * day}, // when an attempt has shown that it still fails
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, always(0, 0))
				defer func() { r.close() }()
				s := r.snapshot(disabling("a"))
				r.engine.Attach(s)
				breakDown(r)
				began := time.Now()
				time.Sleep(test.up)
				r.restart()
				time.Sleep(test.down)
				attempts := len(r.log("a"))
				r.engine.Attach(s)
				synctest.Wait()
				if st, _ := r.engine.Endpoint("a"); st.Health != Failing || !st.FailingSince.Equal(began) || len(r.log("a")) != attempts {
					t.Errorf("status after the restart: got %+v, want it failing since %v before there is an attempt", st, began)
				}
				time.Sleep(time.Until(began.Add(test.want)) + probeSlack)
				synctest.Wait()
				st, _ := r.engine.Endpoint("a")
				if late := st.Since.Sub(began.Add(test.want)); st.Reason != "disabled" || late < 0 || late > probeSlack {
					t.Errorf("status: got %+v, want it disabled after %v", st, test.want)
				}
				if st.Pending != failingEvents {
					t.Errorf("pending: got %d, want %d", st.Pending, failingEvents)
				}
			})
		})
	}
}

// Who lets an endpoint go on wants it tried, however long it failed before.
func TestResumingBeginsTheTimeAnew(t *testing.T) {
	configured := func(r *rig, edits ...func(*Endpoint)) { r.engine.Attach(r.snapshot(disabling("a", edits...))) }
	paused := func(ep *Endpoint) { ep.Paused = true }
	for name, test := range map[string]struct {
		pause, resume func(r *rig) error
		atOnce        bool // recorded before there is an attempt
	}{
		"disabled": {
			func(*rig) error { time.Sleep(5*day + probeSlack); return nil },
			func(r *rig) error { return r.engine.Resume(context.Background(), "a") },
			true,
		},
		"operator": {
			func(r *rig) error { return r.engine.Pause(context.Background(), "a", "operator") },
			func(r *rig) error { return r.engine.Resume(context.Background(), "a") },
			true,
		},
		"configuration": {
			func(r *rig) error { configured(r, paused); return nil },
			func(r *rig) error { configured(r); return nil },
			false,
		},
		"removed": {
			func(r *rig) error { r.engine.Attach(r.snapshot()); return nil },
			func(r *rig) error { configured(r); return nil },
			false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, always(0, 0))
				defer func() { r.close() }()
				configured(r)
				breakDown(r)
				time.Sleep(time.Hour)
				if err := test.pause(r); err != nil {
					t.Fatal(err)
				}
				if st, ok := r.engine.Endpoint("a"); ok && st.Health != Paused {
					t.Fatalf("status: got %+v, want paused", st)
				}
				time.Sleep(8 * day)
				attempts := len(r.log("a"))
				if err := test.resume(r); err != nil {
					t.Fatal(err)
				}
				again := time.Now()
				if got := r.state("a").FailingSince; test.atOnce && !got.Equal(again) {
					t.Errorf("state: got it failing since %v, want %v", got, again)
				}
				time.Sleep(probeSlack)
				synctest.Wait()
				if st, _ := r.engine.Endpoint("a"); st.Health != Failing || !st.FailingSince.Equal(again) || len(r.log("a")) == attempts {
					t.Fatalf("status: got %+v after %d attempts, want it failing since %v", st, len(r.log("a"))-attempts, again)
				}
				if got := r.state("a"); got.Paused || !got.FailingSince.Equal(again) {
					t.Errorf("state: got %+v, want it failing since %v", got, again)
				}
				time.Sleep(time.Until(again.Add(5 * day)))
				if st, _ := r.engine.Endpoint("a"); st.Health != Failing {
					t.Errorf("status 5 days later: got %+v, want failing", st)
				}
				time.Sleep(probeSlack)
				synctest.Wait()
				if st, _ := r.engine.Endpoint("a"); st.Reason != "disabled" {
					t.Errorf("status after that: got %+v, want it disabled", st)
				}
			})
		})
	}
}

func TestReloadsDoNotResumeTheDisabled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(0, 0))
		defer r.close()
		r.engine.Attach(r.snapshot(disabling("a")))
		breakDown(r)
		began := time.Now()
		for range 48 { // nor do they begin the time anew
			time.Sleep(2*time.Hour + 30*time.Minute)
			r.engine.Attach(r.snapshot(disabling("a")))
		}
		time.Sleep(probeSlack)
		for range 3 {
			synctest.Wait()
			st, _ := r.engine.Endpoint("a")
			if st.Health != Paused || st.Reason != "disabled" || !st.FailingSince.Equal(began) {
				t.Errorf("status: got %+v, want it disabled", st)
			}
			r.engine.Attach(r.snapshot(disabling("a")))
			time.Sleep(day)
		}
	})
}

func TestWhatDoesNotDisable(t *testing.T) {
	for name, test := range map[string]struct {
		edit func(*Endpoint)
		live func(r *rig)
	}{
		"off":              {func(ep *Endpoint) { ep.DisableAfter = 0 }, func(*rig) { time.Sleep(60 * day) }},
		"the time alone":   {func(*Endpoint) {}, func(*rig) { time.Sleep(5*day - time.Second) }},
		"a jump of clocks": {func(*Endpoint) {}, func(*rig) { time.Sleep(4 * day) }}, // see below
		"a break": {func(*Endpoint) {}, func(r *rig) {
			for range 4 {
				time.Sleep(3 * day)
				r.setReply(always(200, 0))
				time.Sleep(probeSlack)
				r.setReply(always(0, 0))
				for range failingEvents {
					r.publish("a")
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, always(0, 0))
				defer func() { r.close() }()
				if name == "a jump of clocks" {
					began := time.Now()
					r.opts.Now = func() time.Time {
						if time.Since(began) > day {
							return time.Now().Add(30 * day)
						}
						return time.Now()
					}
					r.restart()
				}
				r.engine.Attach(r.snapshot(disabling("a", test.edit)))
				breakDown(r)
				test.live(r)
				synctest.Wait()
				if st, _ := r.engine.Endpoint("a"); st.Health != Failing {
					t.Errorf("status: got %+v, want failing", st)
				}
			})
		})
	}
}

// An endpoint without traffic is disabled by its next failure, however rare
// failures are.
func TestRareFailuresDisable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(500, 0))
		defer r.close()
		r.engine.Attach(r.snapshot(disabling("a", func(ep *Endpoint) { ep.Retry.MaxAttempts = 1 })))
		for range failingEvents {
			r.publish("a")
			time.Sleep(3 * day)
		}
		synctest.Wait()
		if st, _ := r.engine.Endpoint("a"); st.Reason != "disabled" {
			t.Errorf("status: got %+v, want it disabled", st)
		}
		if got := fmt.Sprint(r.watch.changes); got != "[a: healthy to paused (disabled)]" {
			t.Errorf("changes: got %s, want one", got)
		}
	})
}

// Failures before a pause say nothing about the time after it.
func TestResumingForgetsSingleFailures(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(500, 0))
		defer r.close()
		r.engine.Attach(r.snapshot(disabling("a", func(ep *Endpoint) { ep.Retry.MaxAttempts = 1 })))
		for range failingEvents - 1 {
			r.publish("a")
		}
		synctest.Wait()
		if err := r.engine.Pause(t.Context(), "a", "operator"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(8 * day)
		if err := r.engine.Resume(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		breakDown(r)
		if st, _ := r.engine.Endpoint("a"); !st.FailingSince.Equal(began) {
			t.Errorf("failing: got since %v, want since %v", st.FailingSince, began)
		}
	})
}

// What somebody must end is logged, however much was logged before.
func TestDisablingIsLogged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(500, 0))
		defer r.close()
		core, logs := observer.New(zapcore.DebugLevel)
		s := r.snapshot(disabling("a", func(ep *Endpoint) { ep.DisableAfter = time.Minute }))
		s.Logger = zap.New(core)
		r.engine.Attach(s)
		breakDown(r)
		r.engine.mu.Lock()
		q := r.engine.queues["a"]
		for q.recent.logs.takeChange(r.engine.clock()) {
		}
		r.engine.mu.Unlock()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got := logs.FilterField(zap.String("reason", "disabled")).Len(); got != 1 {
			t.Errorf("lines: got %d, want 1", got)
		}
	})
}

// A pause that was ordered stands, and what the last attempt showed is kept.
func TestAttemptsUnderWayOfThePaused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(0, 0))
		defer func() { r.close() }()
		s := r.snapshot(disabling("a"))
		r.engine.Attach(s)
		breakDown(r)
		for _, status := range []int{0, 200} {
			r.setReply(always(status, 10*day))
			time.Sleep(probeSlack) // until a probe is under way
			if err := r.engine.Pause(t.Context(), "a", "operator"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(11 * day)
			synctest.Wait()
			if got := r.state("a"); got.Reason != "operator" || got.FailingSince.IsZero() != (status == 200) {
				t.Errorf("state after an answer of %d: got %+v", status, got)
			}
			if err := r.engine.Resume(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
		}
	})
}
