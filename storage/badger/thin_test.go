package badger

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// full is a size of the outbox that leaves no room for old history.
const full = math.MaxInt64

// aged is an outbox with one packed segment past its retention, in which every
// tenth delivery to "slow" is pending. Each event goes to "fast", too, and all
// those are delivered.
type aged struct {
	o       *Outbox
	s       *segment
	now     time.Time
	opt     Options
	events  []storage.EventKey
	pending []storage.DeliveryID
}

func newAged(t *testing.T) *aged {
	t.Helper()
	a := &aged{now: time.Now()}
	a.opt = Options{Retention: time.Hour, limits: quiet(), Now: func() time.Time { return a.now }}
	a.o = open(t, filepath.Join(t.TempDir(), "outbox"), a.opt)
	body := bytes.Repeat([]byte("long "), 200<<10/5) // in chunks
	for i := range 100 {
		if i > 10 {
			body = []byte("short")
		}
		key := acceptBody(t, a.o, counted("event", i), body, "slow", "fast")
		a.events = append(a.events, key)
		settle(t, a.o, key.Delivery(1), storage.StatusDelivered)
		switch {
		case i%10 != 0:
			settle(t, a.o, key.Delivery(0), storage.StatusFailed)
			continue
		case i%20 == 0:
			reschedule(t, a.o, key.Delivery(0), 1, a.now.Add(time.Hour), []byte("excerpt"))
		}
		a.pending = append(a.pending, key.Delivery(0))
	}
	a.s = packActive(t, a.o)
	acceptBody(t, a.o, "later", nil, "slow")
	a.now = a.now.Add(2 * time.Hour)
	return a
}

// check finds what is pending, all of its events, and no more of the segment.
func (a *aged) check(t *testing.T, thinned bool) {
	t.Helper()
	wantWhole(t, a.o)
	for i, key := range a.events {
		e, err := a.o.Event(t.Context(), key)
		if gone := thinned && i%10 != 0; gone != (err != nil) || !gone && e.ID != counted("event", i) {
			t.Errorf("event %d: got %v, %v, want it gone: %t", i, e, err, gone)
		}
		if i%10 != 0 {
			continue
		}
		if i <= 10 && len(e.Body) != 200<<10/5*5 {
			t.Errorf("event %d: got a body of %d bytes", i, len(e.Body))
		}
		wantDelivery(t, a.o, key.Delivery(0), storage.StatusPending, (i/10+1)%2)
		wantDelivery(t, a.o, key.Delivery(1), storage.StatusDelivered, 0)
	}
	due, err := a.o.Due(t.Context(), "slow", storage.Position{}, 1000)
	if err != nil || len(due) != len(a.pending)+1 {
		t.Errorf("due: got %d, %v, want %d and the one in the next segment", len(due), err, len(a.pending))
	}
	want := 2*len(a.events) + 1
	if thinned {
		want = 2*len(a.pending) + 1
	}
	for _, f := range []storage.Filter{{}, {Type: "t"}, {Endpoints: []string{"slow", "fast"}}} {
		page, err := a.o.List(t.Context(), f, storage.PageRequest{Limit: 1000})
		if err != nil || len(page.Deliveries) != want {
			t.Errorf("list %+v: got %d, %v, want %d", f, len(page.Deliveries), err, want)
		}
	}
	if got, want := a.o.Usage().Pending, len(a.pending)+1; got != want {
		t.Errorf("pending: got %d, want %d", got, want)
	}
}

// TestThinning shows that old history gives its room back although something
// in its segment is pending, and that what is pending stays whole.
func TestThinning(t *testing.T) {
	t.Parallel()
	a := newAged(t)
	a.check(t, false)
	before := a.s.measure()
	a.o.tidy()
	if after := a.s.measure(); after >= before {
		t.Errorf("size: got %d after %d, want less", after, before)
	}
	a.check(t, true)
	if got, err := a.o.Accept(t.Context(), []storage.NewEvent{{ID: counted("event", 20), Type: "t", Endpoints: []string{"slow", "fast"}, Body: []byte("short")}}); err != nil || !got[0].Duplicate {
		t.Errorf("accepting a kept event again: got %+v, %v, want a duplicate", got, err)
	}
	a.o = reopen(t, a.o, a.opt)
	a.check(t, true)
	for _, id := range a.pending {
		settle(t, a.o, id, storage.StatusDelivered)
	}
	a.now = a.now.Add(a.opt.Retention)
	a.o.tidy()
	if got := formsOf(a.o); strings.HasPrefix(got, "1:") {
		t.Errorf("segments after all of it was delivered: got %s, want the first gone", got)
	}
}

// TestThinningKeepsUp thins one segment after another, with rests that follow
// from how long it takes: segments may fill every few seconds.
func TestThinningKeepsUp(t *testing.T) {
	t.Parallel()
	a := newAged(t)
	for i := range 5 {
		settle(t, a.o, acceptBody(t, a.o, counted("more", i), nil, "fast").Delivery(0), storage.StatusDelivered)
	}
	second := packActive(t, a.o)
	a.now = a.now.Add(2 * time.Hour)
	const took = 100 * time.Millisecond
	a.o.opt.packHook = func() error { a.now = a.now.Add(took); return nil } // before the one table and the manifest
	began := a.now
	if err := a.o.thinOne(); err != nil || !a.s.thinned {
		t.Fatalf("the first: got %v, thinned: %t", err, a.s.thinned)
	}
	if got, want := a.o.thinAfter, began.Add(2*took+thinRest*2*took); !got.Equal(want) {
		t.Errorf("the next one may begin %v after the first, want %v", got.Sub(began), want.Sub(began))
	}
	a.now = a.o.thinAfter
	if err := a.o.thinOne(); err != nil || !second.thinned {
		t.Errorf("the second: got %v, thinned: %t", err, second.thinned)
	}
}

// TestThinningIsWorthIt shows what is not thinned.
func TestThinningIsWorthIt(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(a *aged){
		"within the retention": func(a *aged) { a.now = a.now.Add(-90 * time.Minute) },
		"much is pending": func(a *aged) {
			a.s.mu.Lock()
			defer a.s.mu.Unlock()
			a.s.counts[statusDelivered] = 0
			a.s.counts[statusFailed] = 0
		},
		"thinned before": func(a *aged) { a.s.thinned = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAged(t)
			change(a)
			if err := a.o.thinOne(); err != nil || !a.o.thinAfter.IsZero() {
				t.Errorf("got %v, thinned: %t, want nothing done", err, !a.o.thinAfter.IsZero())
			}
			if _, err := a.o.Event(t.Context(), a.events[1]); err != nil {
				t.Errorf("an event in the history: got %v", err)
			}
		})
	}
}

// TestThinningKeepsWhatJustEnded thins nothing of which a part became history
// since the segment was chosen: that is kept for the retention, too.
func TestThinningKeepsWhatJustEnded(t *testing.T) {
	t.Parallel()
	a := newAged(t)
	id := a.pending[1]
	settle(t, a.o, id, storage.StatusDelivered)
	if err := a.o.thin(a.s, 0); err != nil || a.s.thinned {
		t.Errorf("got %v, thinned: %t, want it left as it is", err, a.s.thinned)
	}
	wantDelivery(t, a.o, id, storage.StatusDelivered, 0)
}

// TestThinningCutOff opens what a crash leaves at each step of thinning.
func TestThinningCutOff(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		leave   func(t *testing.T, old, thin string, dir string)
		thinned bool // the state knows
	}{
		{"while the new one is written", func(t *testing.T, old, thin, dir string) {
			copyTree(t, old, dir)
			copyTree(t, thin, dir+thinSuffix)
			if err := os.Truncate(filepath.Join(dir+thinSuffix, "MANIFEST"), 3); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"before the new one has its name", func(t *testing.T, old, thin, dir string) {
			copyTree(t, old, dir+thickSuffix)
			copyTree(t, thin, dir+thinSuffix)
		}, false},
		{"before the state knows", func(t *testing.T, old, thin, dir string) {
			copyTree(t, old, dir+thickSuffix)
			copyTree(t, thin, dir)
		}, false},
		{"before the old one is gone", func(t *testing.T, old, thin, dir string) {
			copyTree(t, old, dir+thickSuffix)
			copyTree(t, thin, dir)
		}, true},
		{"while the old one goes", func(t *testing.T, old, thin, dir string) {
			copyTree(t, old, dir+thickSuffix)
			copyTree(t, thin, dir)
			if err := os.Remove(filepath.Join(dir+thickSuffix, "MANIFEST")); err != nil {
				t.Fatal(err)
			}
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := newAged(t)
			if err := a.o.saveState(); err != nil {
				t.Fatal(err)
			}
			dir, kept := a.s.dir, t.TempDir()
			old, thin := filepath.Join(kept, "old"), filepath.Join(kept, "thin")
			copyTree(t, dir, old)
			state := [2][]byte{read(t, a.o.statePath())}
			a.o.tidy()
			copyTree(t, dir, thin)
			state[1] = read(t, a.o.statePath())
			if err := a.o.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			test.leave(t, old, thin, dir)
			which := state[0]
			if test.thinned {
				which = state[1]
			}
			if err := os.WriteFile(a.o.statePath(), which, 0o600); err != nil {
				t.Fatal(err)
			}
			a.o = open(t, a.o.dir, a.opt)
			a.check(t, test.thinned)
			for _, suffix := range []string{thinSuffix, thickSuffix} {
				if exists(t, dir+suffix) {
					t.Errorf("%s is left", dir+suffix)
				}
			}
		})
	}
}

// TestThinningBesideSettling settles and reads while the segment is thinned.
func TestThinningBesideSettling(t *testing.T) {
	t.Parallel()
	a := newAged(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i, id := range a.pending[:5] {
			if i == 1 {
				if err := a.o.thin(a.s, full); err != nil { // whatever the retention says
					t.Errorf("thinning: got %v", err)
				}
			}
			settle(t, a.o, id, storage.StatusDelivered)
		}
	})
	wg.Go(func() {
		for _, id := range slices.Backward(a.pending[5:]) {
			settle(t, a.o, id, storage.StatusDelivered)
		}
	})
	for range 50 {
		if _, err := a.o.Event(t.Context(), a.events[0]); err != nil && !errors.Is(err, storage.ErrNotFound) {
			t.Fatalf("reading: %v", err)
		}
	}
	wg.Wait()
	if !a.s.thinned {
		t.Error("nothing was thinned, so nothing was tried")
	}
	for range 2 {
		for _, id := range a.pending {
			// What was delivered before was old history.
			d, _, err := a.o.Delivery(t.Context(), id)
			if err == nil && d.Status != storage.StatusDelivered || err != nil && !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("delivery %s: got %+v, %v, want it delivered or gone", id, d, err)
			}
		}
		if got := a.o.Usage().Pending; got != 1 {
			t.Errorf("pending: got %d, want the one in the next segment", got)
		}
		a.o = reopen(t, a.o, a.opt)
	}
}

// TestThinningKeepsWhatIsOnItsWay thins a segment while the settlement of a
// caller that has left waits for its commit, which comes as late as it can.
func TestThinningKeepsWhatIsOnItsWay(t *testing.T) {
	t.Parallel()
	a := newAged(t)
	ctx, leave := context.WithCancel(t.Context())
	a.o.opt.commitHook = func() error {
		leave()
		q := a.s.w.queue
		return awaitErr("the writer is to end", func() bool {
			q.mu.Lock()
			defer q.mu.Unlock()
			return q.closed
		})
	}
	id := a.pending[0]
	if err := a.o.Settle(ctx, []storage.Settlement{{Delivery: id, Status: storage.StatusDelivered}}); !errors.Is(err, context.Canceled) {
		t.Fatalf("settling: got %v, want the caller gone", err)
	}
	if err := a.o.thin(a.s, full); err != nil || !a.s.thinned {
		t.Fatalf("thinning: got %v, thinned: %t", err, a.s.thinned)
	}
	a.o.opt.commitHook = nil
	for range 2 {
		due, err := a.o.Due(t.Context(), "slow", storage.Position{}, 1000)
		if want := len(a.pending); err != nil || len(due) != want || due[0].ID == id {
			t.Errorf("due: got %d, %v, want %d, without the one that was delivered", len(due), err, want)
		}
		if got, want := a.o.Usage().Pending, len(a.pending); got != want {
			t.Errorf("pending: got %d, want %d", got, want)
		}
		a.o = reopen(t, a.o, a.opt)
	}
}

// TestThinningChecksItself breaks what it copies: nothing is replaced then.
func TestThinningChecksItself(t *testing.T) {
	t.Parallel()
	a := newAged(t)
	a.s.mu.Lock()
	counts := a.s.counts
	a.s.counts[statusPending]++ // one that will not come through
	a.s.mu.Unlock()
	if err := a.o.thin(a.s, full); err == nil {
		t.Error("thinning: got no error, want one about a delivery that is missing")
	}
	a.s.mu.Lock()
	a.s.counts = counts
	a.s.mu.Unlock()
	a.check(t, false)
	entries, err := os.ReadDir(filepath.Dir(a.s.dir))
	if err != nil || len(entries) != 2 {
		t.Errorf("beside the segments: got %v, %v, want nothing", entries, err)
	}
	settle(t, a.o, a.pending[0], storage.StatusDelivered) // which still can be
}

// TestThinningMissesNothing damages the tables that are thinned, at many
// places. Badger passes over some of such damage in silence: either all that is
// pending comes through, or the old segment stays.
func TestThinningMissesNothing(t *testing.T) {
	t.Parallel()
	a := newAged(t)
	dir := a.o.dir
	if err := a.o.Close(); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := range 24 {
		copied := filepath.Join(t.TempDir(), "outbox")
		copyTree(t, dir, copied)
		o := openOutbox(t, copied, a.opt)
		s := (*o.segments.Load())[0]
		for _, name := range filesOfSegment(t, copied, s.n, "*.sst") {
			b := read(t, name)
			if err := flipAt(len(b)*i/24)(name, b); err != nil {
				t.Fatal(err)
			}
		}
		if err := o.thin(s, full); err != nil {
			refused++
			if entries, err := os.ReadDir(filepath.Dir(s.dir)); err != nil || len(entries) != 2 {
				t.Errorf("damage %d: beside the segments: got %v, %v, want nothing", i, entries, err)
			}
		} else {
			for _, id := range a.pending {
				if e, err := o.Event(t.Context(), id.Event()); err != nil {
					t.Errorf("damage %d: got %v, %v, want the event of a pending delivery", i, e, err)
				}
			}
			if due, err := o.Due(t.Context(), "slow", storage.Position{}, 1000); err != nil || len(due) != len(a.pending)+1 {
				t.Errorf("damage %d: due: got %d, %v, want all %d", i, len(due), err, len(a.pending)+1)
			}
		}
		_ = o.Close()
	}
	if refused == 0 {
		t.Error("no damage was met, so nothing was tried")
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(to, 0o700); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
