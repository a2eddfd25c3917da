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
	"time"

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

// TestPermissions looks at the files of an outbox with a journal and a
// database that is open.
func TestPermissions(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "outbox")
	o := open(t, dir, Options{limits: limits{tick: -1}})
	id := accept(t, o, "a", "x").Delivery(0)
	packActive(t, o)
	reschedule(t, o, id, 1, time.Now(), nil) // opens the database
	accept(t, o, "b", "x")
	o.tidy()
	kinds := map[string]int{}
	for path := range filesOf(dir) {
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		kinds[filepath.Ext(path)]++
		want := fs.FileMode(0o600)
		if fi.IsDir() {
			want = 0o700
		}
		if got := fi.Mode().Perm(); got != want {
			t.Errorf("%s: got mode %04o, want %04o", path, got, want)
		}
	}
	if kinds[".log"] != 1 || kinds[".mem"] != 1 || kinds[".sst"] == 0 || kinds[""] < 5 {
		t.Errorf("got files by suffix %v, want a journal, a write-ahead log, tables and others", kinds)
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
	newer := strings.Replace(string(b), fmt.Sprintf(`"format": %d`, formatVersion), fmt.Sprintf(`"format": %d`, formatVersion+1), 1)
	if err := os.WriteFile(path, []byte(newer), 0o600); err != nil || newer == string(b) {
		t.Fatalf("writing the state: %v", err)
	}
	want := fmt.Sprint("format ", formatVersion+1)
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want one that names %s", err, want)
	}
}

// TestFailedSyncPoisons has the system call fail that makes a commit durable.
func TestFailedSyncPoisons(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "outbox")
	o := open(t, dir, Options{})
	accept(t, o, "before", "x")
	r, w, err := os.Pipe() // which cannot be synced
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	log := o.active.Load().journal.log
	sync := log.sync
	log.sync = func() error {
		log.sync = sync // every later one would succeed
		return syncData(w)
	}
	for _, id := range []string{"first", "second"} {
		_, err := o.Accept(t.Context(), []storage.NewEvent{{ID: id, Endpoints: []string{"x"}}})
		if !errors.Is(err, storage.ErrFailed) || !strings.Contains(fmt.Sprint(err), log.path) {
			t.Errorf("accepting %s: got error %v, want ErrFailed and the path", id, err)
		}
	}
	wantFailed(t, o)
	o = reopen(t, o, Options{})
	if _, _, err := o.EventByID(t.Context(), "before"); err != nil {
		t.Errorf("opened again: got %v", err)
	}
	accept(t, o, "second", "x")
}
