package delivery

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

func TestReloadHandsOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(500, time.Second))
		defer r.close()
		before, after := endpoint("a"), endpoint("a")
		old := r.engine.Attach(r.snapshot(before))
		id := r.publish("a")
		time.Sleep(time.Millisecond)
		r.engine.Attach(r.snapshot(after))
		old.Release()
		old.Release()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		log := r.log("a")
		if len(log) != 2 || log[0].config != before || log[1].config != after {
			t.Fatalf("attempts: got %+v, want one with each configuration", log)
		}
		r.want(id, storage.StatusPending, "http_500", 2)
	})
}

func TestRollbackMakesTheOldConfigurationCurrent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(200, 0))
		defer r.close()
		first, second := r.snapshot(endpoint("a")), r.snapshot(endpoint("a"), endpoint("b"))
		r.engine.Attach(first)
		failed := r.engine.Attach(second)
		orphan := r.publish("all").Event().Delivery(1)
		synctest.Wait()
		failed.Release()
		if got := r.engine.Snapshot(); got != first {
			t.Error("the current snapshot is not that of the older lease")
		}
		r.want(orphan, storage.StatusDelivered, "http_200", 1)
		id := r.publish("all")
		synctest.Wait()
		r.want(id, storage.StatusDelivered, "http_200", 1)
		if _, attempts, err := r.fake.Delivery(t.Context(), id.Event().Delivery(1)); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("delivery of an endpoint that is not configured: got %v, %v, want none", attempts, err)
		}
	})
}

func TestReleaseOfAnOlderLeaseChangesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(200, 0))
		defer r.close()
		old := r.engine.Attach(r.snapshot(endpoint("a")))
		second := r.snapshot(endpoint("a"))
		r.engine.Attach(second)
		old.Release()
		(*Lease)(nil).Release()
		if got := r.engine.Snapshot(); got != second {
			t.Error("the current snapshot is not that of the newest lease")
		}
	})
}

func TestWithoutALeaseEventsWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(200, 0))
		defer r.close()
		if _, err := r.engine.Publish(t.Context(), nil); !errors.Is(err, ErrNotStarted) {
			t.Errorf("publishing before Attach: got %v, want ErrNotStarted", err)
		}
		s := r.snapshot(endpoint("a"))
		lease := r.engine.Attach(s)
		lease.Release()
		id := r.publish("a")
		time.Sleep(time.Hour)
		synctest.Wait()
		r.want(id, storage.StatusPending, "", 0)
		if got := r.engine.Status().State; got != StateIdle {
			t.Errorf("state: got %s, want idle", got)
		}
		r.engine.Attach(s)
		synctest.Wait()
		r.want(id, storage.StatusDelivered, "http_200", 1)
	})
}

func TestOrphanedDeliveriesResume(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(500, time.Second))
		defer r.close()
		with, without := r.snapshot(endpoint("a"), endpoint("b")), r.snapshot(endpoint("b"))
		r.engine.Attach(with)
		flying := r.publish("a")
		time.Sleep(time.Millisecond)
		r.engine.Attach(without) // while the attempt is under way
		time.Sleep(time.Hour)
		synctest.Wait()
		r.want(flying, storage.StatusPending, "http_500", 1)
		if got := r.engine.Status().Orphaned; got != 1 {
			t.Errorf("orphaned: got %d, want 1", got)
		}
		if n, _ := r.memory("a"); n != 0 {
			t.Errorf("orphaned deliveries in memory: got %d, want 0", n)
		}
		r.setReply(always(200, 0))
		r.engine.Attach(with)
		synctest.Wait()
		r.want(flying, storage.StatusDelivered, "http_200", 2)
	})
}

func TestQuiesceLetsAttemptsEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(200, 3*time.Second))
		defer func() { r.close() }()
		s := r.snapshot(endpoint("a", func(ep *Endpoint) { ep.MaxInFlight = 1 }))
		r.engine.Attach(s)
		flying, waiting := r.publish("a"), r.publish("a")
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		if err := r.engine.Quiesce(ctx); err != nil {
			t.Errorf("quiescing: got %v, want nil", err)
		}
		if got := time.Since(began); got != 2*time.Second {
			t.Errorf("quiescing took %v, want 2s", got)
		}
		r.want(flying, storage.StatusDelivered, "http_200", 1)
		r.want(waiting, storage.StatusPending, "", 0)
		late := r.publish("a") // accepting goes on
		r.restart()
		r.engine.Attach(s)
		time.Sleep(time.Minute)
		synctest.Wait()
		r.want(waiting, storage.StatusDelivered, "http_200", 1)
		r.want(late, storage.StatusDelivered, "http_200", 1)
	})
}

func TestQuiesceCutsAttemptsOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(200, time.Hour))
		defer func() { r.close() }()
		s := r.snapshot(endpoint("a"))
		r.engine.Attach(s)
		id := r.publish("a")
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := r.engine.Quiesce(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("quiescing: got %v, want DeadlineExceeded", err)
		}
		r.want(id, storage.StatusPending, CodeInterrupted, 1)
		if _, _, err := r.engine.Test(t.Context(), "a", newEvent("test", "test")); !errors.Is(err, ErrStopping) {
			t.Errorf("testing while stopping: got %v, want ErrStopping", err)
		}

		// The interrupted attempt used up nothing: nine more follow the
		// schedule from its start, and the tenth failure is the last.
		r.restart()
		r.setReply(always(500, 0))
		began := time.Since(r.epoch)
		r.engine.Attach(s)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		log := r.log("a")
		if len(log) != 3 || log[1].at != began || (log[2].at-began).Round(time.Second) != 5*time.Second {
			t.Errorf("attempts after the restart: got %+v, want at once and 5 s later", log[1:])
		}
		time.Sleep(6 * 24 * time.Hour)
		synctest.Wait()
		r.want(id, storage.StatusFailed, "http_500", 11)
	})
}

func TestCrashLosesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(200, 3*time.Second))
		defer func() { r.close() }()
		s := r.snapshot(endpoint("a"))
		r.engine.Attach(s)
		var ids []storage.DeliveryID
		for range 40 {
			ids = append(ids, r.publish("a"))
		}
		time.Sleep(4 * time.Second) // 16 are done, 16 under way
		r.restart()
		r.engine.Attach(s)
		time.Sleep(time.Minute)
		synctest.Wait()
		doubled := len(r.log("a")) - len(ids)
		for _, id := range ids {
			if d, _ := r.delivery(id); d.Status != storage.StatusDelivered {
				t.Errorf("delivery: got %s, want delivered", d.Status)
			}
		}
		if doubled != 16 {
			t.Errorf("attempts made twice: got %d, want the 16 that were under way", doubled)
		}
	})
}

func TestCloseIsFinal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(200, 0))
		r.engine.Attach(r.snapshot(endpoint("a")))
		r.publish("a")
		r.close()
		r.close()
		if _, err := r.engine.Publish(t.Context(), nil); !errors.Is(err, storage.ErrClosed) {
			t.Errorf("publishing after Close: got %v, want ErrClosed", err)
		}
		if got := r.engine.Status().State; got != StateClosed {
			t.Errorf("state: got %s, want closed", got)
		}
	})
}
