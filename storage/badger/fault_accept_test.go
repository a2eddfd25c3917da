package badger

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// mixedOutbox is in use, and has a packed segment with settlements in its
// tables and in its write-ahead log, a sealed journal and an active one.
func mixedOutbox(t *testing.T) (*Outbox, []storage.DeliveryID) {
	t.Helper()
	opt := Options{limits: quiet()}
	o := open(t, filepath.Join(t.TempDir(), "outbox"), opt)
	body := make([]byte, 8<<10)
	random := rand.NewChaCha8([32]byte{1})
	var ids []storage.DeliveryID
	for n := range 3 {
		var these []storage.DeliveryID
		for i := range 30 {
			_, _ = random.Read(body)
			these = append(these, acceptBody(t, o, counted(fmt.Sprint(n), i), body, "x").Delivery(0))
		}
		switch n {
		case 0:
			packActive(t, o)
		case 1:
			sealActive(t, o)
		}
		for i, id := range these {
			_, _ = random.Read(body)
			reschedule(t, o, id, 1, time.Now(), body)
			if i%2 == 0 {
				settle(t, o, id, storage.StatusDelivered)
			}
		}
		ids = append(ids, these...)
	}
	o.tidy() // which writes the state
	if got, want := formsOf(o), "1:open 2:journal 3:journal"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	return o, ids
}

// leftOf counts the deliveries that are there, and those that are as they were.
func leftOf(t *testing.T, o *Outbox, ids []storage.DeliveryID) (there, same int) {
	t.Helper()
	for i, id := range ids {
		d, as, err := o.Delivery(t.Context(), id)
		if err != nil {
			continue
		}
		if _, err := o.Event(t.Context(), id.Event()); err != nil {
			continue
		}
		there++
		if len(as) == 1 && d.Attempts == 1 && (d.Status == storage.StatusDelivered) == (i%2 == 0) {
			same++
		}
	}
	return there, same
}

// TestDamageAccepted goes on with what is left, and keeps what is damaged.
func TestDamageAccepted(t *testing.T) {
	t.Parallel()
	o, ids := mixedOutbox(t)
	if there, same := leftOf(t, o, ids); there != len(ids) || same != len(ids) {
		t.Fatalf("before: got %d deliveries and %d as they should be, want %d", there, same, len(ids))
	}
	for _, test := range []struct {
		name, pattern, says string
		kind                func(path string, b []byte) error
		losesEvents         bool
		losesSettlements    bool
		keeps               bool
	}{
		{"sealed journal", "00000002.log", "", flipMiddle, false, true, true},
		{"sealed journal, an event", "00000002.log", "", flipAt(2000), true, true, true},
		{"active journal", "00000003.log", "", flipMiddle, false, true, true},
		{"header of a journal", "00000003.log", "", flipAt(3), false, false, true},
		{"write-ahead log", "*.mem", "", flipMiddle, false, true, true},
		{"table", "*.sst", "", flipMiddle, true, true, true},
		{"manifest", "MANIFEST", "", func(path string, b []byte) error { return os.Truncate(path, int64(len(b)-2)) }, false, false, true},
		{"state", "STATE", "", flipMiddle, false, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := copyOf(t, o)
			for path := range filesOf(dir) {
				if ok, _ := filepath.Match(test.pattern, filepath.Base(path)); !ok {
					continue
				}
				b, err := os.ReadFile(path)
				if err == nil {
					err = test.kind(path, b)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			refused, err := Open(dir, Options{limits: quiet()})
			if err == nil {
				err = refused.Usage().Err
				if err := refused.Close(); err != nil {
					t.Error(err)
				}
			}
			if err == nil || !strings.Contains(err.Error(), strings.Trim(test.pattern, "*")) {
				t.Fatalf("got error %v, want one that names the file", err)
			}
			again := open(t, dir, Options{AcceptDataLoss: true, limits: quiet()})
			if err := again.Usage().Err; err != nil {
				t.Fatalf("accepting the loss: got %v", err)
			}
			there, same := leftOf(t, again, ids)
			if there == 0 || test.losesEvents != (there < len(ids)) || same == 0 || test.losesSettlements != (same < len(ids)) {
				t.Errorf("got %d of %d deliveries, %d as they were", there, len(ids), same)
			}
			kept := 0
			for path := range filesOf(dir) {
				if strings.HasSuffix(path, ".damaged") {
					kept++
				}
			}
			if test.keeps != (kept > 0) {
				t.Errorf("got %d damaged files kept", kept)
			}
			accept(t, again, "new", "x")
			again = reopen(t, again, Options{limits: quiet()})
			for _, s := range *again.segments.Load() {
				if s.sealed && !s.isPacked() {
					packSegment(t, again, s)
				}
			}
			again = reopen(t, again, Options{limits: quiet()})
			if n, m := leftOf(t, again, ids); n != there || m != same {
				t.Errorf("afterwards: got %d deliveries, %d as they were, want %d and %d", n, m, there, same)
			}
		})
	}
}

// TestDamagedTwice sees that what is kept of a first damage survives a second
// one.
func TestDamagedTwice(t *testing.T) {
	t.Parallel()
	o, _ := mixedOutbox(t)
	dir := copyOf(t, o)
	log := logOf(dir, 3)
	var damaged [][]byte
	for range 2 {
		if err := flipMiddle(log, readFile(t, log)); err != nil {
			t.Fatal(err)
		}
		damaged = append(damaged, bytes.TrimRight(readFile(t, log), "\x00"))
		if err := open(t, dir, Options{limits: quiet()}).Close(); err != nil {
			t.Fatal(err)
		}
		o := open(t, dir, Options{AcceptDataLoss: true, limits: quiet()})
		if err := errors.Join(o.Usage().Err, o.Close()); err != nil {
			t.Fatalf("accepting the loss: got %v", err)
		}
	}
	for i, name := range []string{log + damagedSuffix, log + damagedSuffix + "2"} {
		if got := bytes.TrimRight(readFile(t, name), "\x00"); !bytes.Equal(got, damaged[i]) {
			t.Errorf("damage %d: got %d bytes of %s, want the %d that were damaged", i+1, len(got), name, len(damaged[i]))
		}
	}
}

func flipMiddle(path string, b []byte) error {
	return flipAt(len(bytes.TrimRight(b, "\x00"))/2)(path, b)
}

func flipAt(at int) func(path string, b []byte) error {
	return func(path string, b []byte) error {
		b[at] ^= 1
		return os.WriteFile(path, b, 0o600)
	}
}
