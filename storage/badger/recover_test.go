package badger

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
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
	line := checksumLine(b)
	if err := os.WriteFile(o.statePath(), append(append(b, stateSum...), line...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestLegacyOutbox opens an outbox of the first format, in which the active
// segment was a database from the beginning.
func TestLegacyOutbox(t *testing.T) {
	t.Parallel()
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprintf("clean %t", clean), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "outbox")
			opt := Options{limits: quiet()}
			o := open(t, dir, opt)
			var ids []storage.DeliveryID
			for i := range 10 {
				ids = append(ids, accept(t, o, fmt.Sprint(i), "x").Delivery(0))
			}
			settle(t, o, ids[0], storage.StatusDelivered)
			packActive(t, o)
			settle(t, o, ids[1], storage.StatusDelivered)
			if !clean { // the write-ahead log is in use
				dir = copyOf(t, o)
			} else if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			removeAll(t, logOf(dir, 2))
			editState(t, dir, func(st *state) {
				st.Format = 1
				st.Segments = st.Segments[:1]
				st.Segments[0].Sealed, st.Segments[0].SealedAt = false, 0
				if !clean {
					st.Segments[0].Counts = nil
				}
			})
			o = open(t, dir, opt)
			wantWhole(t, o)
			if got, want := formsOf(o), "1:open 2:journal"; got != want {
				t.Errorf("got segments %s, want %s", got, want)
			}
			key := accept(t, o, "new", "x")
			if got, want := key.Seq(), ids[9].Event().Seq()+1; got != want {
				t.Errorf("the next event: got number %d, want %d", got, want)
			}
			if got, err := o.Accept(t.Context(), []storage.NewEvent{{ID: "3", Body: []byte("3")}}); err != nil || !got[0].Duplicate {
				t.Errorf("an id of the old segment: got %v, %v, want a duplicate", got, err)
			}
			due, err := o.Due(t.Context(), "x", storage.Position{}, 20)
			if err != nil || len(due) != 9 || due[0].ID != ids[2] || due[8].ID != key.Delivery(0) {
				t.Errorf("due: got %v, %v, want the eight that were pending and the new one", due, err)
			}
			wantDelivery(t, o, ids[1], storage.StatusDelivered, 0)
			for _, id := range ids[2:] {
				settle(t, o, id, storage.StatusDelivered)
			}
			o.tidy()
			if got, want := formsOf(o), "1:closed 2:journal"; got != want {
				t.Errorf("after everything ended: got %s, want %s", got, want)
			}
			o = reopen(t, o, opt)
			if st, _, err := o.loadState(); err != nil || st.Format != formatVersion {
				t.Errorf("got format %d, %v, want %d", st.Format, err, formatVersion)
			}
			wantDelivery(t, o, ids[5], storage.StatusDelivered, 0)
		})
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
