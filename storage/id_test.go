package storage_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

func TestEventKey(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		milli int64
		seq   uint32
		want  []byte
	}{
		{0, 0, make([]byte, 10)},
		{1, 2, []byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 2}},
		{0x0102030405_06, 0x0708090a, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		{1<<48 - 1, 1<<32 - 1, bytes.Repeat([]byte{0xff}, 10)},
	} {
		k := storage.NewEventKey(test.milli, test.seq)
		if !bytes.Equal(k[:], test.want) || k.Milli() != test.milli || k.Seq() != test.seq || k.Time().UnixMilli() != test.milli {
			t.Errorf("key of %d, %d: got %x with %d, %d, want %x", test.milli, test.seq, k, k.Milli(), k.Seq(), test.want)
		}
	}
}

func TestDeliveryID(t *testing.T) {
	t.Parallel()
	k := storage.NewEventKey(1_700_000_000_123, 77)
	last := k.Delivery(storage.MaxDeliveries - 1)
	if last.Event() != k || !last.Time().Equal(k.Time()) || last.IsZero() || !(storage.DeliveryID{}).IsZero() {
		t.Errorf("got event %x at %v, want %x", last.Event(), last.Time(), k)
	}
	ordered := []storage.DeliveryID{
		{},
		storage.NewEventKey(1, 9).Delivery(9), k.Delivery(0), k.Delivery(1), k.Delivery(256), last,
		storage.NewEventKey(1_700_000_000_123, 78).Delivery(0), storage.NewEventKey(1_700_000_000_124, 0).Delivery(0),
	}
	if !slices.IsSortedFunc(ordered, storage.DeliveryID.Compare) {
		t.Errorf("ids are not in the order of creation: %v", ordered)
	}
	if !slices.IsSortedFunc(ordered, func(a, b storage.DeliveryID) int { return strings.Compare(a.String(), b.String()) }) {
		t.Errorf("texts are not in the order of creation: %v", ordered)
	}
	for _, id := range ordered {
		if got, err := storage.ParseDeliveryID(id.String()); err != nil || got != id {
			t.Errorf("reading %s: got %v, %v", id, got, err)
		}
	}
}

func TestParseDeliveryIDRefuses(t *testing.T) {
	t.Parallel()
	good := storage.NewEventKey(1_700_000_000_123, 77).Delivery(3).String()
	for _, bad := range []string{
		"", "wh_dlv_", good[:len(good)-1], good + "0", strings.ToUpper(good), good[7:], "wh_evt_" + good[7:],
		good[:len(good)-1] + "1", // bits beyond the id
		good[:len(good)-1] + "i", good[:10] + "\n" + good[11:], " " + good,
	} {
		if id, err := storage.ParseDeliveryID(bad); err == nil {
			t.Errorf("%q: got %v, want an error", bad, id)
		}
	}
}

func FuzzParseDeliveryID(f *testing.F) {
	f.Add("wh_dlv_06h0j3w6dm0000010000")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := storage.ParseDeliveryID(s); err == nil && id.String() != s {
			t.Errorf("%q: got %s", s, id)
		}
	})
}

func TestPosition(t *testing.T) {
	t.Parallel()
	a, b := storage.NewEventKey(1, 1).Delivery(0), storage.NewEventKey(1, 1).Delivery(1)
	at := time.UnixMilli(1000)
	ordered := []storage.Position{
		{},
		{ID: a},
		{At: time.UnixMilli(0)},
		{At: at},
		{At: at, ID: a},
		{At: at.Add(time.Microsecond), ID: b},
		{At: at.Add(time.Millisecond), ID: a},
	}
	for i, p := range ordered {
		for j, q := range ordered {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := p.Compare(q); got != want {
				t.Errorf("%v and %v: got %d, want %d", p, q, got, want)
			}
		}
	}
}

func TestConflictError(t *testing.T) {
	t.Parallel()
	err := &storage.ConflictError{Indexes: []int{2, 5}}
	if got := err.Error(); !strings.Contains(got, "[2 5]") {
		t.Errorf("got %q, want it to name 2 and 5", got)
	}
}
