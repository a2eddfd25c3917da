package delivery

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
	"github.com/promptreports/caddy-webhooks/storage/storagetest"
)

func TestPositionPrevious(t *testing.T) {
	t.Parallel()
	id := func(b ...byte) (id storage.DeliveryID) {
		copy(id[len(id)-len(b):], b)
		return id
	}
	full := storage.DeliveryID(slices.Repeat([]byte{0xff}, 12))
	for name, test := range map[string]struct{ p, want position }{
		"last byte": {position{7, id(5)}, position{7, id(4)}},
		"borrow":    {position{7, id(1, 0)}, position{7, id(0, 0xff)}},
		"milli":     {position{7, id()}, position{6, full}},
		"start":     {position{0, id()}, start},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := test.p.previous(); got != test.want || !got.before(test.p) {
				t.Errorf("previous: got %v, want %v", got, test.want)
			}
		})
	}
	if start.storage() != (storage.Position{}) {
		t.Errorf("start: got %v, want the zero position", start.storage())
	}
}

func TestWindowKeepsOrder(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	var w window
	for round := range 200 {
		var dues []time.Duration
		for range random.IntN(50) {
			it := item{due: time.Duration(1 + random.IntN(1000)), id: key(random.Uint32()).Delivery(0)}
			dues = append(dues, it.due)
			w.add(it, 0)
			if random.IntN(5) == 0 {
				if got, ok := w.remove(it.id); !ok || got.due != it.due {
					t.Fatalf("removing: got %v, %v, want it", got, ok)
				}
				dues = dues[:len(dues)-1]
			}
		}
		slices.Sort(dues)
		w.promote(2000)
		for i, want := range dues {
			if got := w.popReady(); got.due != want {
				t.Fatalf("round %d: delivery %d is due at %v, want %v", round, i, got.due, want)
			}
		}
		if w.len() != 0 {
			t.Fatalf("round %d: %d deliveries are left", round, w.len())
		}
	}
}

func TestWindowTruncateKeepsTheEarliest(t *testing.T) {
	t.Parallel()
	w := window{complete: true}
	for i := range 100 {
		at := int64((i * 37) % 100)
		w.add(item{at: at, due: time.Duration(at), id: key(1).Delivery(int(at))}, 30)
	}
	dropped := 0
	w.truncate(60, func(it *item) {
		dropped++
		if it.at < 60 {
			t.Errorf("dropped the delivery at %d", it.at)
		}
		if w.covers(it.position()) && !w.complete {
			t.Errorf("the window covers what it dropped, at %d", it.at)
		}
	})
	if dropped != 40 || w.len() != 60 || w.complete || w.covers(position{60, key(1).Delivery(60)}) || !w.covers(position{59, key(1).Delivery(59)}) {
		t.Errorf("got %d dropped, %d kept, cursor %v, want 40, 60 and a cursor between 59 and 60", dropped, w.len(), w.cursor)
	}
}

// A window that is full of retries for later must not keep new events out.
func TestNewEventsPassRetries(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(303, 0)) // is tried again, but the receiver answers
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a")))
		for range 3 * leastWindow {
			r.publish("a")
		}
		time.Sleep(time.Minute) // all of them wait for their third attempt
		r.setReply(always(200, 0))
		for range leastWindow + 10 {
			id := r.publish("a")
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			r.want(id, storage.StatusDelivered, "http_200", 1)
			if n, _ := r.memory("a"); n > leastWindow {
				t.Fatalf("deliveries in memory: got %d, want %d at most", n, leastWindow)
			}
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got := r.fake.Usage().Pending; got != 0 {
			t.Errorf("pending: got %d, want 0", got)
		}
	})
}

func TestClockJumps(t *testing.T) {
	for name, jump := range map[string]time.Duration{
		"a second back": -time.Second, "an hour back": -time.Hour, "a day back": -24 * time.Hour,
		"an hour on": time.Hour, "a day on": 24 * time.Hour, "eighty years on": 80 * 365 * 24 * time.Hour,
		"before 1980": -21 * 365 * 24 * time.Hour,
	} {
		for _, restart := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				bubble(t, func(t *testing.T) { testClockJump(t, jump, restart) })
			})
		}
	}
}

func testClockJump(t *testing.T, jump time.Duration, restart bool) {
	var offset time.Duration
	now := func() time.Time { return time.Now().Add(offset) }
	r := newRigOn(t, storagetest.NewFake(storagetest.FakeOptions{Now: now}), always(500, 0))
	defer func() { r.close() }()
	r.engine.Close()
	r.opts.Now = now
	r.open()
	s := r.snapshot(endpoint("a"))
	r.engine.Attach(s)
	old := r.publish("a")
	time.Sleep(time.Minute) // the third attempt is due in 4:05
	synctest.Wait()
	offset = jump
	if restart {
		r.restart()
		r.engine.Attach(s)
	}
	r.setReply(always(200, 0))
	fresh := r.publish("a")
	time.Sleep(time.Second)
	synctest.Wait()
	r.want(fresh, storage.StatusDelivered, "http_200", 1)
	if !restart {
		r.want(old, storage.StatusPending, "http_500", 2) // not early
		time.Sleep(5 * time.Minute)
	} else {
		time.Sleep(time.Duration(1.2 * float64(24*time.Hour))) // the longest step
	}
	synctest.Wait()
	r.want(old, storage.StatusDelivered, "http_200", 3)
}

func TestWindowsShareTheirPlaces(t *testing.T) {
	for endpoints, want := range map[int]int{0: 8192, 1: 8192, 8: 8192, 16: 4096, 256: 256, 10_000: 256} {
		if got := windowSize(endpoints); got != want {
			t.Errorf("window among %d endpoints: got %d, want %d", endpoints, got, want)
		}
	}
	bubble(t, func(t *testing.T) {
		r := newRig(t, always(200, 0))
		defer r.close()
		r.engine.size = 0
		lease := r.engine.Attach(r.snapshot(endpoint("a")))
		if got := r.engine.queues["a"].size; got != mostWindow {
			t.Errorf("window of a lone endpoint: got %d, want %d", got, mostWindow)
		}
		many := make([]*Endpoint, 1000)
		for i := range many {
			many[i] = endpoint(fmt.Sprintf("e%d", i))
		}
		next := r.engine.Attach(r.snapshot(many...))
		lease.Release()
		if got := r.engine.queues["e7"].size; got != leastWindow {
			t.Errorf("window after a reload with 1000 endpoints: got %d, want %d", got, leastWindow)
		}
		next.Release()
	})
}
