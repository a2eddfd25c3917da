package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// quiet leaves housekeeping to the test, which then packs where it says so.
func quiet() limits { return limits{tick: -1, drain: time.Hour, reserve: -1} }

// sealNow ends the active segment, as its writer does, and returns it.
func sealNow(o *Outbox) (*segment, error) {
	next, err := o.addSegment()
	if err != nil {
		return nil, err
	}
	s := o.active.Load()
	o.next.Store(next)
	if !o.sealing(s) {
		return nil, errors.New("the segment is not sealed")
	}
	return s, nil
}

// sealActive is sealNow for tests. No commit may be under way.
func sealActive(t testing.TB, o *Outbox) *segment {
	t.Helper()
	s, err := sealNow(o)
	if err != nil {
		t.Fatalf("sealing: %v", err)
	}
	return s
}

// packActive seals and packs the active segment and returns it.
func packActive(t testing.TB, o *Outbox) *segment {
	t.Helper()
	s := sealActive(t, o)
	packSegment(t, o, s)
	return s
}

// packSegment packs a sealed segment.
func packSegment(t testing.TB, o *Outbox, s *segment) {
	t.Helper()
	if err := o.pack(s); err != nil {
		t.Fatalf("packing: %v", err)
	}
	if form := formOf(s); form != "closed" {
		t.Fatalf("after packing: got the form %s, want a closed database", form)
	}
}

// formOf returns the form of the segment: journal, or a database that is open
// or closed.
func formOf(s *segment) string {
	s.use.RLock()
	defer s.use.RUnlock()
	switch {
	case s.journal != nil:
		return "journal"
	case s.db != nil:
		return "open"
	case s.isPacked():
		return "closed"
	}
	return "nothing"
}

// formsOf returns the numbers and forms of all segments.
func formsOf(o *Outbox) string {
	var all []string
	for _, s := range *o.segments.Load() {
		all = append(all, fmt.Sprint(s.n, ":", formOf(s)))
	}
	return strings.Join(all, " ")
}

// filesOfSegment finds files in the directory of a packed segment.
func filesOfSegment(t *testing.T, dir string, n uint32, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, segmentsDir, segmentName(n), pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("files %s of segment %d: got %v, %v", pattern, n, names, err)
	}
	return names
}

// logOf is the path of a segment's journal.
func logOf(dir string, n uint32) string {
	return filepath.Join(dir, segmentsDir, segmentName(n)+logSuffix)
}

// patienceOfTests is how long they wait for what happens in the background.
const patienceOfTests = 20 * time.Second

// await waits until something in the background has happened.
func await(t testing.TB, what string, happened func() bool) {
	t.Helper()
	if err := awaitErr(what, happened); err != nil {
		t.Fatal(err)
	}
}

// awaitErr is await for goroutines that may not end the test.
func awaitErr(what string, happened func() bool) error {
	for deadline := time.Now().Add(patienceOfTests); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("waited in vain: %s", what)
		}
	}
	return nil
}

// acceptBody accepts an event with a body of its own.
func acceptBody(t testing.TB, o *Outbox, id string, body []byte, endpoints ...string) storage.EventKey {
	t.Helper()
	got, err := o.Accept(t.Context(), []storage.NewEvent{{ID: id, Type: "t", Body: body, Endpoints: endpoints}})
	if err != nil {
		t.Fatalf("accepting %s: %v", id, err)
	}
	return got[0].Key
}

// reschedule settles an attempt that is to be repeated, and whose excerpt of
// the answer is body.
func reschedule(t testing.TB, o *Outbox, id storage.DeliveryID, number int, next time.Time, body []byte) {
	t.Helper()
	err := o.Settle(t.Context(), []storage.Settlement{{
		Delivery: id, Status: storage.StatusPending, NextAttemptAt: next, Code: "http_503",
		Attempt: &storage.Attempt{Number: number, Verdict: "retry", Code: "http_503", StatusCode: 503, StartedAt: next.Add(-time.Second), Body: body},
	}})
	if err != nil {
		t.Fatalf("rescheduling %s: %v", id, err)
	}
}

// wantDelivery reads a delivery and compares its status and attempts.
func wantDelivery(t testing.TB, o *Outbox, id storage.DeliveryID, status storage.Status, attempts int) {
	t.Helper()
	d, as, err := o.Delivery(t.Context(), id)
	if err != nil || d.Status != status || d.Attempts != attempts || len(as) != attempts {
		t.Errorf("delivery %s: got %+v with %d attempts, %v; want it %s with %d", id, d, len(as), err, status, attempts)
	}
}

// wantWhole sees that nothing is missing.
func wantWhole(t testing.TB, o *Outbox) {
	t.Helper()
	if err := o.Usage().Err; err != nil {
		t.Errorf("usage: got error %v, want none", err)
	}
}

// reopen closes the outbox, opens it again and sees that nothing is missing.
func reopen(t *testing.T, o *Outbox, opt Options) *Outbox {
	t.Helper()
	if err := o.Close(); err != nil {
		t.Fatalf("closing: %v", err)
	}
	again := open(t, o.dir, opt)
	wantWhole(t, again)
	return again
}

// exists says whether there is such a file.
func exists(t testing.TB, path string) bool {
	t.Helper()
	_, err := os.Lstat(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// counted names things in a row.
func counted(prefix string, i int) string { return fmt.Sprint(prefix, "-", i) }
