package badger

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// twins are two outboxes to which the same happens: one never packs, and the
// other all the time. They share a clock, so even their keys are the same.
type twins struct {
	t      *testing.T
	random *rand.Rand
	clock  *clock
	opts   [2]Options
	o      [2]*Outbox
	events []storage.NewEvent
	keys   []storage.EventKey
	ids    []storage.DeliveryID
	named  int // events that were given a name
	packed int // segments, at most at once
}

func newTwins(t *testing.T, seed uint64) *twins {
	w := &twins{t: t, random: rand.New(rand.NewPCG(seed, 1)), clock: newClock()}
	// Keys hold whole milliseconds: so do the times in what is read.
	w.clock.now.Store(time.Now().UnixMilli() * int64(time.Millisecond))
	w.opts[0] = Options{Now: w.clock.Now, limits: quiet()}
	w.opts[1] = Options{Now: w.clock.Now, limits: limits{deliveries: 50, drain: 1, idle: 1, tick: -1, reserve: -1}}
	for i := range w.o {
		o, err := Open(filepath.Join(t.TempDir(), "outbox"), w.opts[i])
		if err != nil {
			t.Fatal(err)
		}
		w.o[i] = o
	}
	t.Cleanup(func() {
		for _, o := range w.o {
			if err := o.Close(); err != nil {
				t.Errorf("closing: %v", err)
			}
		}
	})
	return w
}

// both does the same to both and compares the answers, of which those of the
// first are returned.
func both[T any](w *twins, what string, f func(o *Outbox) (T, error)) (T, error) {
	w.t.Helper()
	got, err := f(w.o[0])
	packed, errPacked := f(w.o[1])
	for _, e := range []error{err, errPacked} {
		if errors.Is(e, storage.ErrFailed) || errors.Is(e, storage.ErrFull) || errors.Is(e, storage.ErrClosed) {
			w.t.Fatalf("%s: got %v", what, e)
		}
	}
	if !reflect.DeepEqual(got, packed) || fmt.Sprint(err) != fmt.Sprint(errPacked) {
		w.t.Fatalf("%s: the journal answers\n%+v, %v\nand what is packed\n%+v, %v", what, got, err, packed, errPacked)
	}
	return got, err
}

var (
	twinEndpoints = []string{"a", "b", "c", "d"}
	twinTypes     = []string{"t.one", "t.two"}
	twinCodes     = []string{"http_500", "timeout", "ok"}
	twinStatuses  = []storage.Status{"", storage.StatusPending, storage.StatusDelivered, storage.StatusFailed, storage.StatusCancelled}
)

func pick[T any](w *twins, from []T) T { return from[w.random.IntN(len(from))] }

// someOf is a random part of the list, in order.
func someOf[T any](w *twins, from []T) (all []T) {
	for _, v := range from {
		if w.random.IntN(3) == 0 {
			all = append(all, v)
		}
	}
	return all
}

// recently picks a delivery, mostly a late one.
func (w *twins) recently() storage.DeliveryID {
	if w.random.IntN(3) == 0 {
		return pick(w, w.ids)
	}
	return pick(w, w.ids[max(0, len(w.ids)-60):])
}

func (w *twins) accept() {
	events := make([]storage.NewEvent, 1+w.random.IntN(3))
	for i := range events {
		body := make([]byte, w.random.IntN(200))
		if w.random.IntN(100) == 0 {
			body = make([]byte, 300<<10)
		}
		for j := range body {
			body[j] = byte(w.random.Uint32())
		}
		w.named++
		events[i] = storage.NewEvent{
			ID: fmt.Sprint("event-", w.named), Type: pick(w, twinTypes), Body: body,
			Endpoints: someOf(w, twinEndpoints), Test: w.random.IntN(20) == 0,
		}
		if len(w.events) > 0 && w.random.IntN(15) == 0 {
			events[i] = pick(w, w.events) // a duplicate
			if w.random.IntN(3) == 0 {
				events[i].Body = []byte("or a conflict")
			}
		}
	}
	got, err := both(w, "accepting", func(o *Outbox) ([]storage.Accepted, error) { return o.Accept(w.t.Context(), events) })
	if err != nil {
		return
	}
	for i, a := range got {
		if a.Duplicate {
			continue
		}
		w.events = append(w.events, events[i])
		w.keys = append(w.keys, a.Key)
		for n := range a.Deliveries {
			w.ids = append(w.ids, a.Key.Delivery(n))
		}
	}
}

func (w *twins) settle() {
	settlements := make([]storage.Settlement, 0, 4)
	seen := map[storage.DeliveryID]bool{}
	for range 1 + w.random.IntN(3) {
		id := w.recently()
		d, _, err := w.o[0].Delivery(w.t.Context(), id)
		if err != nil {
			w.t.Fatalf("reading %s: %v", id, err)
		}
		if seen[id] || d.Status != storage.StatusPending && w.random.IntN(10) != 0 {
			continue
		}
		seen[id] = true
		s := storage.Settlement{Delivery: id, Status: pick(w, twinStatuses[1:]), Code: pick(w, twinCodes)}
		if s.Status == storage.StatusPending {
			s.NextAttemptAt = w.clock.Now().Add(time.Duration(w.random.IntN(100_000)) * time.Millisecond)
		}
		if s.Status != storage.StatusCancelled || w.random.IntN(2) == 0 {
			s.Attempt = &storage.Attempt{
				Number: d.Attempts + 1, StartedAt: w.clock.Now(), Duration: time.Second, Verdict: "retry", Code: s.Code,
				StatusCode: w.random.IntN(600), Header: map[string]string{"retry-after": "1"}, Body: bytes.Repeat([]byte("b"), w.random.IntN(2000)),
			}
		}
		settlements = append(settlements, s)
	}
	_, _ = both(w, "settling", func(o *Outbox) (any, error) { return nil, o.Settle(w.t.Context(), settlements) })
}

func (w *twins) replay() {
	of := w.recently()
	d, err := both(w, "replaying", func(o *Outbox) (*storage.Delivery, error) { return o.Replay(w.t.Context(), of) })
	if err == nil {
		w.keys, w.ids = append(w.keys, d.ID.Event()), append(w.ids, d.ID)
	}
}

func (w *twins) filter() storage.Filter {
	f := storage.Filter{Status: pick(w, twinStatuses)}
	switch w.random.IntN(4) {
	case 0:
		f.Endpoints = someOf(w, append(twinEndpoints, "unknown"))
	case 1:
		f.NotEndpoints = someOf(w, twinEndpoints)
	}
	if w.random.IntN(3) == 0 {
		f.Type = pick(w, twinTypes)
	}
	if w.random.IntN(4) == 0 {
		f.Code = pick(w, twinCodes)
	}
	if w.random.IntN(4) == 0 {
		f.EventID = pick(w, w.events).ID
	}
	if w.random.IntN(4) == 0 {
		f.Since = w.recently().Time()
	}
	if w.random.IntN(4) == 0 {
		f.Until = w.recently().Time()
	}
	return f
}

func (w *twins) list() {
	f, limit := w.filter(), 1+w.random.IntN(30)
	_, _ = both(w, fmt.Sprintf("listing %+v", f), func(o *Outbox) (all []storage.Delivery, err error) {
		req := storage.PageRequest{Limit: limit}
		for {
			page, err := o.List(w.t.Context(), f, req)
			if err != nil {
				return nil, err
			}
			all = append(all, page.Deliveries...)
			if req.Cursor = page.Next; req.Cursor == "" {
				return all, nil
			}
		}
	})
}

func (w *twins) due() {
	var after storage.Position
	if w.random.IntN(2) == 0 {
		after = storage.Position{At: w.clock.Now().Add(time.Duration(w.random.IntN(100_000)-50_000) * time.Millisecond), ID: w.recently()}
	}
	name, limit := pick(w, twinEndpoints), 1+w.random.IntN(20)
	_, _ = both(w, fmt.Sprintf("due for %s after %v, limit %d", name, after, limit), func(o *Outbox) ([]storage.Due, error) {
		return o.Due(w.t.Context(), name, after, limit)
	})
}

func (w *twins) read(key storage.EventKey, id storage.DeliveryID) {
	type answer struct {
		event      *storage.Event
		deliveries []storage.Delivery
		delivery   *storage.Delivery
		attempts   []storage.Attempt
	}
	_, _ = both(w, fmt.Sprintf("reading %x and %s", key, id), func(o *Outbox) (a answer, err error) {
		e, err := o.Event(w.t.Context(), key)
		if err == nil {
			a.event, a.deliveries, err = o.EventByID(w.t.Context(), e.ID)
		}
		if err == nil {
			a.delivery, a.attempts, err = o.Delivery(w.t.Context(), id)
		}
		return a, err
	})
}

// step does something.
func (w *twins) step() {
	w.clock.advance(time.Duration(w.random.IntN(3)) * time.Millisecond)
	n := w.random.IntN(100)
	if len(w.ids) == 0 {
		n = 0
	}
	switch {
	case n < 25:
		w.accept()
	case n < 65:
		w.settle()
	case n < 70:
		w.replay()
	case n < 80:
		w.list()
	case n < 90:
		w.due()
	default:
		w.read(pick(w, w.keys), w.recently())
	}
	if w.random.IntN(5) == 0 {
		w.o[1].tidy()
	}
}

// compare compares all there is.
func (w *twins) compare() {
	w.t.Helper()
	packed := 0
	for _, s := range *w.o[1].segments.Load() {
		if s.isPacked() {
			packed++
		}
	}
	w.packed = max(w.packed, packed)
	for i := range w.keys {
		w.read(w.keys[i], w.ids[i*len(w.ids)/len(w.keys)])
	}
	for range 60 {
		w.list()
		w.due()
	}
	_, _ = both(w, "counting", func(o *Outbox) (counts map[string]int, err error) {
		counts = map[string]int{"": o.Usage().Pending}
		for name, c := range o.Pending() {
			counts[name] = c.Count
		}
		return counts, o.Usage().Err
	})
}

// replace closes both and opens them again, or what a kill would leave.
func (w *twins) replace(kill bool) {
	w.t.Helper()
	for i, o := range w.o {
		dir := o.dir
		if kill {
			dir = copyOf(w.t, o)
		}
		if err := o.Close(); err != nil {
			w.t.Fatalf("closing: %v", err)
		}
		if kill {
			if err := os.RemoveAll(o.dir); err != nil {
				w.t.Fatal(err)
			}
		}
		again, err := Open(dir, w.opts[i])
		if err != nil {
			w.t.Fatalf("opening again: %v", err)
		}
		w.o[i] = again
		wantWhole(w.t, again)
	}
}

// TestPackedAnswersTheSame compares an outbox that packs with one that never
// does, through everything that can happen to them.
func TestPackedAnswersTheSame(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newTwins(t, seed)
			for round := range 4 {
				for range 250 {
					w.step()
				}
				w.replace(round%2 == 0)
				w.compare()
			}
			if w.packed < 6 || len(w.ids) < 400 {
				t.Errorf("got %d deliveries and %d packed segments, want many, or nothing was tried", len(w.ids), w.packed)
			}
			t.Logf("%d events, %d deliveries, %d packed segments", len(w.keys), len(w.ids), w.packed)
		})
	}
}
