package badger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/promptreports/caddy-webhooks/storage"
)

var ctxOfChild = context.Background()

// open opens an outbox that is closed when the test ends.
func open(t *testing.T, dir string, opt Options) *Outbox {
	t.Helper()
	o, err := Open(dir, opt)
	if err != nil {
		t.Fatalf("opening: %v", err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return o
}

func wantFailed(t *testing.T, o *Outbox) {
	t.Helper()
	select {
	case <-o.Failed():
	default:
		t.Error("the outbox did not fail")
	}
}

func parseID(t *testing.T, s string) storage.DeliveryID {
	t.Helper()
	id, err := storage.ParseDeliveryID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func accept(t *testing.T, o *Outbox, id string, endpoints ...string) storage.EventKey {
	t.Helper()
	got, err := o.Accept(t.Context(), []storage.NewEvent{{ID: id, Type: "t", Body: []byte(id), Endpoints: endpoints}})
	if err != nil {
		t.Fatalf("accepting %s: %v", id, err)
	}
	return got[0].Key
}

func settle(t *testing.T, o *Outbox, id storage.DeliveryID, status storage.Status) {
	t.Helper()
	if err := o.Settle(t.Context(), []storage.Settlement{{Delivery: id, Status: status}}); err != nil {
		t.Fatalf("settling %s: %v", id, err)
	}
}

// TestFailedCommitPoisons lets one commit fail and all later ones succeed:
// nothing may be acknowledged any more, until the outbox is opened again.
func TestFailedCommitPoisons(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "outbox")
	var fail atomic.Bool
	cause := errors.New("input/output error")
	o := open(t, dir, Options{commitHook: func() error {
		if fail.Swap(false) {
			return cause
		}
		return nil
	}})
	key := accept(t, o, "before", "x")
	select {
	case <-o.Failed():
		t.Fatal("failed before the fault")
	default:
	}
	fail.Store(true)
	for _, id := range []string{"first", "second"} {
		_, err := o.Accept(t.Context(), []storage.NewEvent{{ID: id, Endpoints: []string{"x"}}})
		if !errors.Is(err, storage.ErrFailed) || !errors.Is(err, cause) {
			t.Errorf("accepting %s: got error %v, want ErrFailed and its cause", id, err)
		}
	}
	err := o.Settle(t.Context(), []storage.Settlement{{Delivery: key.Delivery(0), Status: storage.StatusDelivered}})
	if !errors.Is(err, storage.ErrFailed) {
		t.Errorf("settling: got error %v, want ErrFailed", err)
	}
	if _, err := o.Replay(t.Context(), key.Delivery(0)); !errors.Is(err, storage.ErrFailed) {
		t.Errorf("replaying: got error %v, want ErrFailed", err)
	}
	if err := o.SetEndpointState(t.Context(), "x", storage.EndpointState{Paused: true}); !errors.Is(err, storage.ErrFailed) {
		t.Errorf("setting a state: got error %v, want ErrFailed", err)
	}
	wantFailed(t, o)
	if err := o.Usage().Err; !errors.Is(err, cause) {
		t.Errorf("usage: got %v, want the cause", err)
	}
	if e, err := o.Event(t.Context(), key); err != nil || e.ID != "before" {
		t.Errorf("reading: got %v, %v, want the event", e, err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, Options{})
	if err := again.Usage().Err; err != nil {
		t.Errorf("opened again: got %v", err)
	}
	accept(t, again, "first", "x")
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "outbox")
	o := open(t, dir, Options{limits: limits{tick: -1}})
	accept(t, o, "a", "x")
	o.tidy()
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		n++
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if got := fi.Mode().Perm(); got != want {
			t.Errorf("%s: got mode %04o, want %04o", path, got, want)
		}
		return nil
	})
	if err != nil || n < 8 {
		t.Errorf("got %d files, %v, want several", n, err)
	}
	shared := t.TempDir()
	if err := os.Chmod(shared, 0o770); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(shared, Options{}); err == nil || !strings.Contains(err.Error(), "chmod 0700") {
		t.Errorf("a directory that the group writes: got error %v, want advice", err)
	}
}

func TestNewerFormat(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "outbox")
	if err := open(t, dir, Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "STATE")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	newer := strings.Replace(string(b), `"format": 1`, `"format": 2`, 1)
	if err := os.WriteFile(path, []byte(newer), 0o600); err != nil || newer == string(b) {
		t.Fatalf("writing the state: %v", err)
	}
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("got error %v, want one that names format 2", err)
	}
}

// TestLoss damages an outbox in ways that Badger does not report.
func TestLoss(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		want   string // empty: nothing is lost
	}{
		{"none", func(*testing.T, string) {}, ""},
		{"manifest cut", func(t *testing.T, dir string) { cut(t, dir, "MANIFEST", 3) }, "MANIFEST is cut short"},
		{"manifest gone", func(t *testing.T, dir string) { remove(t, dir, "MANIFEST") }, "MANIFEST: no such file"},
		{"table gone with its manifest", func(t *testing.T, dir string) {
			remove(t, dir, "*.sst")
			remove(t, dir, "MANIFEST")
		}, "000001.sst: no such file"},
		{"segment gone", func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, segmentsDir, segmentName(1))); err != nil {
				t.Fatal(err)
			}
		}, "segment 00000001 is missing"},
		{"state gone", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "STATE")); err != nil {
				t.Fatal(err)
			}
		}, "STATE is missing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "outbox")
			o := open(t, dir, Options{})
			for _, id := range []string{"a", "b", "c"} {
				accept(t, o, id, "x", "y")
			}
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			test.damage(t, dir)
			o = open(t, dir, Options{})
			err := o.Usage().Err
			if test.want == "" {
				if err != nil {
					t.Errorf("got error %v, want none", err)
				}
				return
			}
			if !errors.Is(err, storage.ErrFailed) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got error %v, want one that says %q", err, test.want)
			}
			wantFailed(t, o)
			if _, err := o.Accept(t.Context(), []storage.NewEvent{{ID: "new"}}); !errors.Is(err, storage.ErrFailed) {
				t.Errorf("accepting: got error %v, want ErrFailed", err)
			}
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			o = open(t, dir, Options{AcceptDataLoss: true})
			if err := o.Usage().Err; err != nil {
				t.Fatalf("accepting the loss: got %v", err)
			}
			accept(t, o, "new", "x")
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			if err := open(t, dir, Options{}).Usage().Err; err != nil {
				t.Errorf("after the loss was accepted: got %v", err)
			}
		})
	}
}

func segmentFiles(t *testing.T, dir, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, segmentsDir, segmentName(1), pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("files %s: got %v, %v", pattern, names, err)
	}
	return names
}

func cut(t *testing.T, dir, pattern string, n int64) {
	t.Helper()
	for _, name := range segmentFiles(t, dir, pattern) {
		fi, err := os.Stat(name)
		if err == nil {
			err = os.Truncate(name, fi.Size()-n)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func remove(t *testing.T, dir, pattern string) {
	t.Helper()
	for _, name := range segmentFiles(t, dir, pattern) {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUnfinishedLog imitates a kill at the moment when Badger creates a
// write-ahead log.
func TestUnfinishedLog(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "outbox")
	o := open(t, dir, Options{})
	key := accept(t, o, "a", "x")
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, segmentsDir, segmentName(1), "00009.mem")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o = open(t, dir, Options{})
	if e, err := o.Event(t.Context(), key); err != nil || e.ID != "a" {
		t.Errorf("got %v, %v, want the event", e, err)
	}
	accept(t, o, "b", "x")
}

// TestFailedSyncPoisons takes the log's descriptor away, so that the system
// call that syncs it really fails.
func TestFailedSyncPoisons(t *testing.T) {
	t.Parallel()
	o := open(t, filepath.Join(t.TempDir(), "outbox"), Options{})
	accept(t, o, "before", "x")
	s := o.active.Load()
	if err := s.w.wal.Close(); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"first", "second"} {
		_, err := o.Accept(t.Context(), []storage.NewEvent{{ID: id, Endpoints: []string{"x"}}})
		if !errors.Is(err, storage.ErrFailed) {
			t.Errorf("accepting %s: got error %v, want ErrFailed", id, err)
		}
	}
	wantFailed(t, o)
}

// TestSyncFollowsTheLog fills several memtables and sees that the file that
// is synced is always the newest.
func TestSyncFollowsTheLog(t *testing.T) {
	t.Parallel()
	o := open(t, filepath.Join(t.TempDir(), "outbox"), Options{limits: limits{memTable: 1 << 20, tick: -1}})
	s := o.active.Load()
	first := s.w.walID
	body := make([]byte, 50<<10)
	for i := range 100 {
		_, err := o.Accept(t.Context(), []storage.NewEvent{{ID: fmt.Sprint(i), Body: body, Endpoints: []string{"x"}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(s.w.walPath(s.w.walID + 1)); err == nil {
			t.Fatalf("event %d: log %d exists and %d is synced", i, s.w.walID+1, s.w.walID)
		}
		synced, err := s.w.wal.Stat()
		if err != nil {
			t.Fatal(err)
		}
		named, err := os.Stat(s.w.walPath(s.w.walID))
		if err != nil || !os.SameFile(synced, named) {
			t.Fatalf("event %d: the synced file is not log %d (%v)", i, s.w.walID, err)
		}
	}
	if n := s.w.walID - first; n < 3 {
		t.Errorf("got %d new logs, want several, or nothing was tried", n)
	}
}
