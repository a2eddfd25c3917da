package badger

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/promptreports/caddy-webhooks/storage"
)

// Segments of the outbox that TestLoss damages.
const (
	finishedSegment = iota + 1 // packed
	pendingSegment             // packed, with something pending
	sealedSegment              // a journal
	activeSegment
)

// outboxOfAllForms makes a closed outbox and returns an event of each segment.
func outboxOfAllForms(t *testing.T, dir string) map[uint32]storage.EventKey {
	t.Helper()
	o := open(t, dir, Options{limits: quiet()})
	first := map[uint32]storage.EventKey{}
	for n := uint32(finishedSegment); n <= activeSegment; n++ {
		var keys []storage.EventKey
		for i := range 3 {
			keys = append(keys, accept(t, o, counted(segmentName(n), i), "x", "y"))
		}
		first[n] = keys[0]
		switch n {
		case finishedSegment:
			for _, key := range keys {
				settle(t, o, key.Delivery(0), storage.StatusDelivered)
				settle(t, o, key.Delivery(1), storage.StatusCancelled)
			}
			packActive(t, o)
			o.tidy() // which finishes it
		case pendingSegment:
			packActive(t, o)
		case sealedSegment:
			sealActive(t, o)
		}
	}
	if !(*o.segments.Load())[0].stored {
		t.Fatal("the first segment is not finished")
	}
	if err := o.SetEndpointState(t.Context(), "x", storage.EndpointState{Paused: true}); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	return first
}

// TestLoss takes files away, or parts of them, which Badger does not report.
func TestLoss(t *testing.T) {
	t.Parallel()
	in := func(n uint32, damage func(t *testing.T, dir string, n uint32, pattern string), patterns ...string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			for _, p := range patterns {
				damage(t, dir, n, p)
			}
		}
	}
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		read   uint32 // the segment that is read for the damage to be found, or 0
		want   string // empty: nothing is lost
	}{
		{"none", func(*testing.T, string) {}, 0, ""},
		{"manifest cut", in(pendingSegment, cut, "MANIFEST"), 0, "MANIFEST is cut short"},
		{"manifest gone", in(pendingSegment, remove, "MANIFEST"), 0, "MANIFEST: no such file"},
		{"table gone with its manifest", in(pendingSegment, remove, "*.sst", "MANIFEST"), 0, ".sst: no such file"},
		{"manifest of a finished one cut", in(finishedSegment, cut, "MANIFEST"), finishedSegment, "MANIFEST is cut short"},
		{"manifest of a finished one gone", in(finishedSegment, remove, "MANIFEST"), finishedSegment, "MANIFEST: no such file"},
		{"table of a finished one gone", in(finishedSegment, remove, "*.sst", "MANIFEST"), finishedSegment, ".sst: no such file"},
		{"finished segment gone", in(finishedSegment, remove, ""), 0, "segment 00000001 is missing"},
		{"packed segment gone", in(pendingSegment, remove, ""), 0, "segment 00000002 is missing"},
		{"sealed journal gone", func(t *testing.T, dir string) { removeAll(t, logOf(dir, sealedSegment)) }, 0, "segment 00000003 is missing"},
		{"active journal gone", func(t *testing.T, dir string) { removeAll(t, logOf(dir, activeSegment)) }, 0, "segment 00000004 is missing"},
		{"journal gone beside what is half packed", func(t *testing.T, dir string) {
			removeAll(t, logOf(dir, sealedSegment))
			if err := os.Mkdir(strings.TrimSuffix(logOf(dir, sealedSegment), logSuffix), 0o700); err != nil {
				t.Fatal(err)
			}
		}, 0, "00000003.log is missing"},
		{"endpoints gone", func(t *testing.T, dir string) { removeAll(t, filepath.Join(dir, "ENDPOINTS")) }, 0, "0 changes of endpoints instead of 1"},
		{"endpoints changed", func(t *testing.T, dir string) { flipIn(t, filepath.Join(dir, "ENDPOINTS"), "paused") }, 0, "ENDPOINTS: record is damaged"},
		{"state gone", func(t *testing.T, dir string) { removeAll(t, filepath.Join(dir, "STATE")) }, 0, "STATE is missing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "outbox")
			keys := outboxOfAllForms(t, dir)
			test.damage(t, dir)
			o := open(t, dir, Options{limits: quiet()})
			if test.read != 0 {
				wantWhole(t, o) // finished ones are read on demand
				if _, err := o.Event(t.Context(), keys[test.read]); !errors.Is(err, storage.ErrNotFound) {
					t.Errorf("reading: got error %v, want ErrNotFound", err)
				}
			}
			if test.want == "" {
				wantWhole(t, o)
				return
			}
			wantLoss(t, o, test.want)
			acceptLoss(t, dir, keys[test.read], o)
		})
	}
}

// wantLoss sees that the outbox says what is missing and accepts nothing.
func wantLoss(t *testing.T, o *Outbox, want string) {
	t.Helper()
	err := o.Usage().Err
	if !errors.Is(err, storage.ErrFailed) || !strings.Contains(err.Error(), want) {
		t.Fatalf("got error %v, want one that says %q", err, want)
	}
	wantFailed(t, o)
	if _, err := o.Accept(t.Context(), []storage.NewEvent{{ID: "new"}}); !errors.Is(err, storage.ErrFailed) {
		t.Errorf("accepting: got error %v, want ErrFailed", err)
	}
}

// acceptLoss goes on without what is missing, once.
func acceptLoss(t *testing.T, dir string, read storage.EventKey, o *Outbox) {
	t.Helper()
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = open(t, dir, Options{AcceptDataLoss: true, limits: quiet()})
	if err := o.Usage().Err; err != nil {
		t.Fatalf("accepting the loss: got %v", err)
	}
	accept(t, o, "new", "x")
	o = reopen(t, o, Options{limits: quiet()})
	readEventually(t, o, read)
	wantWhole(t, o)
	accept(t, o, "newer", "x")
}

// TestLossIsAcceptedOnce leaves AcceptDataLoss set: the next loss is refused
// until it was taken out and set again.
func TestLossIsAcceptedOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "outbox")
	outboxOfAllForms(t, dir)
	accepting := Options{AcceptDataLoss: true, limits: quiet()}
	try := func(opt Options, lost bool) {
		t.Helper()
		o := open(t, dir, opt)
		if err := o.Usage().Err; lost != (err != nil) {
			t.Errorf("accepting %t: got %v, want an error: %t", opt.AcceptDataLoss, err, lost)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
	removeAll(t, logOf(dir, activeSegment))
	try(accepting, false)
	try(accepting, false) // nothing is lost any more
	removeAll(t, logOf(dir, sealedSegment))
	try(accepting, true)
	try(Options{limits: quiet()}, true)
	try(accepting, false)
	try(Options{limits: quiet()}, false)
}

// readEventually reads an event that may be lost by now.
func readEventually(t *testing.T, o *Outbox, key storage.EventKey) {
	t.Helper()
	if key == (storage.EventKey{}) {
		return
	}
	if _, err := o.Event(t.Context(), key); err != nil && !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("reading after the loss was accepted: got %v", err)
	}
}

func cut(t *testing.T, dir string, n uint32, pattern string) {
	t.Helper()
	for _, name := range filesOfSegment(t, dir, n, pattern) {
		fi, err := os.Stat(name)
		if err == nil {
			err = os.Truncate(name, fi.Size()-3)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// remove removes files of a segment, or all of it if the pattern is empty.
func remove(t *testing.T, dir string, n uint32, pattern string) {
	t.Helper()
	for _, name := range filesOfSegment(t, dir, n, pattern) {
		removeAll(t, name)
	}
}

func removeAll(t *testing.T, path string) {
	t.Helper()
	if !exists(t, path) {
		t.Fatalf("there is no %s", path)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// flipIn changes a bit at the beginning of a word in a file.
func flipIn(t *testing.T, path, word string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(b), word)
	if at < 0 {
		t.Fatalf("%s has no %q", path, word)
	}
	if err := flipAt(at)(path, b); err != nil {
		t.Fatal(err)
	}
}
