package badger

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/promptreports/caddy-webhooks/storage"
)

// editState changes the state of a closed outbox.
func editState(t *testing.T, dir string, edit func(st *state)) {
	t.Helper()
	o := &Outbox{dir: dir}
	st, found, err := o.loadState()
	if err != nil || !found {
		t.Fatalf("reading the state: got %t, %v", found, err)
	}
	edit(&st)
	b, err := json.MarshalIndent(&st, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.statePath(), withChecksum(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestOlderFormat sees that an outbox of an older format is refused, and left
// as it is.
func TestOlderFormat(t *testing.T) {
	t.Parallel()
	o := open(t, filepath.Join(t.TempDir(), "outbox"), Options{limits: quiet()})
	accept(t, o, "a", "x")
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	editState(t, o.dir, func(st *state) { st.Format = formatVersion - 1 })
	for _, accepting := range []bool{false, true} {
		_, err := Open(o.dir, Options{AcceptDataLoss: accepting})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprint("format ", formatVersion-1)) {
			t.Errorf("accepting a loss %t: got %v, want an error that names the format", accepting, err)
		}
	}
	if !exists(t, logOf(o.dir, 1)) {
		t.Error("the journal is gone")
	}
}

// TestTwoUnsealed opens what a crash leaves between the change-over to the
// next segment and the state that says so.
func TestTwoUnsealed(t *testing.T) {
	t.Parallel()
	opt := Options{limits: quiet()}
	o := open(t, filepath.Join(t.TempDir(), "outbox"), opt)
	first := accept(t, o, "first", "x")
	sealActive(t, o)
	second := accept(t, o, "second", "x") // and the state is not written
	dir := copyOf(t, o)
	o = open(t, dir, opt)
	wantWhole(t, o)
	for _, key := range []storage.EventKey{first, second} {
		wantDelivery(t, o, key.Delivery(0), storage.StatusPending, 0)
	}
	if got := o.active.Load().n; got != 2 {
		t.Errorf("got the active segment %d, want 2", got)
	}
	o.tidy() // the first is sealed since ever
	if got, want := formsOf(o), "1:closed 2:journal"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	reopen(t, o, opt)
}

// TestDamagedKeyRegistry damages the file of keys, of which there are none.
func TestDamagedKeyRegistry(t *testing.T) {
	t.Parallel()
	o := open(t, filepath.Join(t.TempDir(), "outbox"), Options{limits: quiet()})
	id := accept(t, o, "a", "x").Delivery(0)
	s := packActive(t, o)
	settle(t, o, id, storage.StatusDelivered) // opens it
	o = reopen(t, o, Options{limits: quiet()})
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range filesOfSegment(t, o.dir, s.n, "KEYREGISTRY") {
		if err := os.WriteFile(name, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o = open(t, o.dir, Options{limits: quiet()})
	wantDelivery(t, o, id, storage.StatusDelivered, 0)
}

// TestMostEndpoints packs an event for as many endpoints as there may be: their
// number stands in 16 bits.
func TestMostEndpoints(t *testing.T) {
	t.Parallel()
	o := open(t, filepath.Join(t.TempDir(), "outbox"), Options{limits: quiet()})
	names := make([]string, storage.MaxDeliveries+1)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	_, err := o.Accept(t.Context(), []storage.NewEvent{{ID: "too many", Endpoints: names}})
	if !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("%d endpoints: got %v, want ErrTooLarge", len(names), err)
	}
	accept(t, o, "most", names[1:]...)
	packActive(t, o)
	o = reopen(t, o, Options{limits: quiet()})
	wantWhole(t, o)
	if n := o.Usage().Pending; n != len(names)-1 {
		t.Errorf("pending: got %d, want %d", n, len(names)-1)
	}
}
