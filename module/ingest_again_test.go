package module

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// checkKnown expects an event to be known, and another of its id to be refused.
func (h *harness) checkKnown(when, id string) {
	h.t.Helper()
	if status, body := h.post(eventJSON(id)); status != 200 || !strings.Contains(body, `"duplicate":true`) {
		h.t.Errorf("%s: got %d %s for the same event, want 200 as a duplicate", when, status, body)
	}
	other := strings.Replace(eventJSON(id), "{}", `{"other":1}`, 1)
	if status, body := h.post(other); status != 409 || !strings.Contains(body, "id-conflict") {
		h.t.Errorf("%s: got %d %s for another event, want 409 id-conflict", when, status, body)
	}
}

// An id is known as long as its event is kept, whatever happens in between,
// and also when the event is delivered long since.
func TestIngestKnowsIDsOverReloadsAndRestarts(t *testing.T) {
	h := newHarness(t)
	rc := newReceiver(t)
	config := func(n int) object {
		return h.config(object{"max_in_flight": 100 + n, "endpoints": object{
			"first": rc.endpoint(),
			"held":  object{"url": rc.URL, "paused": true, "events": []string{"other.*"}},
		}})
	}
	h.mustLoad(config(0))
	h.checkDelivers(rc, "known")
	h.checkKnown("at once", "known")
	h.mustLoad(config(1))
	h.checkKnown("after a reload", "known")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	h.mustLoad(config(2))
	h.checkKnown("after a restart", "known")
	if err := h.load(h.failing(0, rc.URL)); err == nil {
		t.Fatal("got a configuration that loads, want one that fails")
	}
	h.checkKnown("after a failed reload", "known")
	h.awaitIdle()
	if got := rc.doubled(); got != 0 {
		t.Errorf("got %d doubled deliveries, want none", got)
	}
}

// Posts of one id at the same moment store one event, be they all the same or
// not, and be the configuration replaced meanwhile or not.
func TestIngestRacedIDOnDisk(t *testing.T) {
	h := newHarness(t)
	rc := newReceiver(t)
	config := func(n int) object {
		return h.config(object{"max_in_flight": 100 + n, "endpoints": object{"first": rc.endpoint()}})
	}
	h.mustLoad(config(0))
	for round, reload := range []bool{false, true} {
		id := fmt.Sprint("raced", round)
		var mu sync.Mutex
		statuses := make(map[int]int)
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range 50 {
			body := eventJSON(id)
			if i%2 == 1 {
				body = strings.Replace(body, "{}", `{"odd":true}`, 1)
			}
			wg.Go(func() {
				<-start
				status, _ := h.post(body)
				mu.Lock()
				defer mu.Unlock()
				statuses[status]++
			})
		}
		close(start)
		if reload {
			h.mustLoad(config(1))
		}
		wg.Wait()
		first := statuses[202]
		if reload && first == 0 {
			first = 1 // the answer was lost with its connection, and the post sent again
		}
		if first != 1 || statuses[200]+statuses[202] != 25 || statuses[409] != 25 {
			t.Errorf("round %d: got statuses %v, want one 202, 24 200 and 25 409", round, statuses)
		}
		rc.await(t, id)
	}
	h.awaitIdle()
	if got := rc.doubled(); got != 0 {
		t.Errorf("got %d doubled deliveries, want none", got)
	}
}
