package delivery

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
	"github.com/promptreports/caddy-webhooks/storage/storagetest"
)

func TestTestGoesOutsideTheQueue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(200, time.Second))
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a", func(ep *Endpoint) { ep.Paused = true })))
		d, a, err := r.engine.Test(t.Context(), "a", newEvent("t1", "test"))
		if err != nil {
			t.Fatal(err)
		}
		if !d.Test || d.Status != storage.StatusDelivered || a.Number != 1 || a.StatusCode != 200 {
			t.Errorf("test: got %+v, %+v, want a delivered test with its attempt", d, a)
		}
		r.want(d.ID, storage.StatusDelivered, "http_200", 1)
		var conflict *storage.ConflictError
		if _, _, err := r.engine.Test(t.Context(), "a", newEvent("t1", "test")); !errors.As(err, &conflict) {
			t.Errorf("testing with a known id: got %v, want a conflict", err)
		}
		if _, _, err := r.engine.Test(t.Context(), "b", newEvent("t2", "test")); !errors.Is(err, ErrUnknownEndpoint) {
			t.Errorf("testing an unknown endpoint: got %v, want ErrUnknownEndpoint", err)
		}
		r.setReply(always(500, 0))
		d, _, err = r.engine.Test(t.Context(), "a", newEvent("t3", "test"))
		if err != nil || d.Status != storage.StatusFailed || d.Code != "http_500" {
			t.Errorf("failing test: got %+v, %v, want it failed", d, err)
		}
		time.Sleep(24 * time.Hour)
		if got := len(r.log("")); got != 2 {
			t.Errorf("attempts: got %d, want 2, because tests are not repeated", got)
		}
	})
}

func TestRetryOfAPendingDelivery(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(500, 0))
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a")))
		id := r.publish("a")
		time.Sleep(time.Minute) // the third attempt is due in 4 minutes
		synctest.Wait()
		r.setReply(always(200, 0))
		d, err := r.engine.Retry(t.Context(), id)
		if err != nil || d.ID != id {
			t.Fatalf("retrying: got %+v, %v, want the same delivery", d, err)
		}
		synctest.Wait()
		r.want(id, storage.StatusDelivered, "http_200", 3)
	})
}

func TestRetryOfAFinishedDelivery(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(404, 0))
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a")))
		id := r.publish("a")
		time.Sleep(30 * 24 * time.Hour) // older than max_age
		r.setReply(always(503, 0))
		d, err := r.engine.Retry(t.Context(), id)
		if err != nil || d.ID == id || d.ReplayOf != id {
			t.Fatalf("retrying: got %+v, %v, want a replay", d, err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		r.want(id, storage.StatusFailed, "http_404", 1)
		r.want(d.ID, storage.StatusPending, "http_503", 1)
		r.setReply(always(200, 0))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		r.want(d.ID, storage.StatusDelivered, "http_200", 2)
		if _, err := r.engine.Retry(t.Context(), storage.DeliveryID{}); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("retrying nothing: got %v, want ErrNotFound", err)
		}
	})
}

func TestCancel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(500, time.Second))
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a", func(ep *Endpoint) { ep.MaxInFlight = 1 })))
		flying, waiting := r.publish("a"), r.publish("a")
		time.Sleep(100 * time.Millisecond)
		d, err := r.engine.Cancel(t.Context(), waiting)
		if err != nil || d.Status != storage.StatusCancelled {
			t.Errorf("cancelling: got %+v, %v, want it cancelled", d, err)
		}
		d, err = r.engine.Cancel(t.Context(), flying) // waits for the attempt
		if err != nil || d.Status != storage.StatusCancelled {
			t.Errorf("cancelling during an attempt: got %+v, %v, want it cancelled", d, err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		r.want(waiting, storage.StatusCancelled, CodeCancelled, 0)
		r.want(flying, storage.StatusCancelled, CodeCancelled, 1)

		r.setReply(always(200, time.Second))
		late := r.publish("a")
		time.Sleep(100 * time.Millisecond)
		if d, err = r.engine.Cancel(t.Context(), late); !errors.Is(err, ErrNotPending) || d.Status != storage.StatusDelivered {
			t.Errorf("cancelling what succeeds: got %+v, %v, want it delivered and ErrNotPending", d, err)
		}
	})
}

func TestCancelBeforeTheHandOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(200, 0))
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a")))
		committed := make(chan storage.DeliveryID, 1)
		r.fake.SetHooks(storagetest.FakeHooks{AfterAccept: func(accepted []storage.Accepted) error {
			committed <- accepted[0].Key.Delivery(0)
			time.Sleep(time.Second) // between the commit and the hand-over
			return nil
		}})
		go r.publish("a")
		id := <-committed
		if _, err := r.engine.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		r.want(id, storage.StatusCancelled, CodeCancelled, 0)
		if got := len(r.log("a")); got != 0 {
			t.Errorf("attempts: got %d, want 0", got)
		}
	})
}

func TestSettleFailures(t *testing.T) {
	t.Run("passing", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			r := newRig(t, always(200, 0))
			defer r.close()
			r.engine.Attach(r.snapshot(endpoint("a", func(ep *Endpoint) { ep.MaxInFlight = 1 })))
			full := errors.New("no room")
			r.fake.SetHooks(storagetest.FakeHooks{BeforeSettle: func([]storage.Settlement) error { return full }})
			first, second := r.publish("a"), r.publish("a")
			time.Sleep(time.Hour)
			synctest.Wait()
			if got := len(r.log("a")); got != 1 {
				t.Errorf("attempts while nothing can be recorded: got %d, want 1", got)
			}
			r.fake.SetHooks(storagetest.FakeHooks{})
			time.Sleep(settleSlowest)
			synctest.Wait()
			r.want(first, storage.StatusDelivered, "http_200", 1)
			r.want(second, storage.StatusDelivered, "http_200", 1)
		})
	})
	t.Run("final", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			r := newRig(t, always(200, time.Second))
			defer func() { r.close() }()
			s := r.snapshot(endpoint("a", func(ep *Endpoint) { ep.MaxInFlight = 1 }))
			r.engine.Attach(s)
			first, second := r.publish("a"), r.publish("a")
			synctest.Wait() // until the first attempt is under way
			r.fake.Poison(errors.New("input/output error"))
			time.Sleep(time.Hour)
			synctest.Wait()
			r.want(first, storage.StatusPending, "", 0)
			if got := len(r.log("a")); got != 1 {
				t.Errorf("attempts after the failure: got %d, want 1", got)
			}
			if st := r.engine.Status(); st.State != StateFailed || !errors.Is(st.Err, storage.ErrFailed) {
				t.Errorf("status: got %+v, want failed", st)
			}
			if _, err := r.engine.Publish(t.Context(), nil); !errors.Is(err, storage.ErrFailed) {
				t.Errorf("publishing: got %v, want ErrFailed", err)
			}
			r.restart()
			r.engine.Attach(s)
			time.Sleep(time.Minute)
			synctest.Wait()
			r.want(first, storage.StatusDelivered, "http_200", 1)
			r.want(second, storage.StatusDelivered, "http_200", 1)
		})
	})
	t.Run("claim lost", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			r := newRig(t, always(500, 0))
			defer r.close()
			r.engine.Attach(r.snapshot(endpoint("a")))
			r.fake.SetHooks(storagetest.FakeHooks{BeforeSettle: func([]storage.Settlement) error { return storage.ErrClaimLost }})
			r.publish("a")
			time.Sleep(24 * time.Hour)
			synctest.Wait()
			if got := len(r.log("a")); got != 1 {
				t.Errorf("attempts: got %d, want 1, because the delivery is somebody else's", got)
			}
		})
	})
}

func TestUnreadableEventIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(500, 0))
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a")))
		id := r.publish("a")
		synctest.Wait()
		r.fake.SetHooks(storagetest.FakeHooks{BeforeEvent: func(storage.EventKey) error { return errors.New("unreadable") }})
		r.setReply(always(200, 0))
		time.Sleep(time.Minute)
		synctest.Wait()
		r.want(id, storage.StatusPending, "http_500", 1)
		r.fake.SetHooks(storagetest.FakeHooks{})
		time.Sleep(loadAgain)
		synctest.Wait()
		r.want(id, storage.StatusDelivered, "http_200", 2)
	})
}

func TestPublishOfAKnownEvent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(200, 0))
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a")))
		batch := []Publication{{Event: newEvent("x", "a")}, {Event: newEvent("y", "a")}, {Event: newEvent("x", "a")}}
		for range 2 {
			accepted, err := r.engine.Publish(context.Background(), batch)
			if err != nil || !accepted[2].Duplicate {
				t.Errorf("publishing: got %+v, %v, want the third to be a duplicate", accepted, err)
			}
			synctest.Wait()
		}
		if got := len(r.log("a")); got != 2 {
			t.Errorf("attempts: got %d, want 2", got)
		}
	})
}
