package delivery

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
	"github.com/promptreports/caddy-webhooks/storage/storagetest"
)

// TestBacklogIsReadOnce publishes faster than the receiver takes, so that
// events are committed all the time while the window is read, and counts the
// readings: each should bring a good part of a window.
func TestBacklogIsReadOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var readings atomic.Int64
		fake := storagetest.NewFake(storagetest.FakeOptions{Hooks: storagetest.FakeHooks{
			AfterAccept: func([]storage.Accepted) error { time.Sleep(10 * time.Millisecond); return nil },
			BeforeDue:   func(string) error { readings.Add(1); time.Sleep(time.Millisecond); return nil },
		}})
		r := newRigOn(t, fake, always(200, 10*time.Millisecond)) // 1,600 a second
		defer r.close()
		r.engine.Attach(r.snapshot(endpoint("a")))
		const senders, each = 40, 200 // 4,000 a second
		var wg sync.WaitGroup
		for range senders {
			wg.Go(func() {
				for range each {
					r.publish("a")
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := len(r.log("a")); got != senders*each {
			t.Errorf("attempts: got %d, want %d", got, senders*each)
		}
		if got, most := readings.Load(), int64(2*senders*each/(leastWindow/2)); got == 0 || got > most {
			t.Errorf("readings: got %d, want %d at most", got, most)
		}
	})
}
