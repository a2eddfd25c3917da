package badger

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

func TestRecordsDetectDamage(t *testing.T) {
	t.Parallel()
	h := head{status: statusPending, attempts: 3, next: 1_700_000_000_000, code: []byte("timeout")}
	h.tail = appendTail(nil, "x", "event", "type", storage.NewEventKey(1, 2).Delivery(3))
	records := map[string]struct {
		b      []byte
		decode func(b []byte) error
	}{
		"event": {appendEvent(nil, &storage.Event{ID: "a", Body: []byte("body")}, false), func(b []byte) error {
			_, _, err := decodeEvent(storage.EventKey{}, b)
			return err
		}},
		"delivery": {appendDelivery(nil, &h), func(b []byte) error {
			_, err := decodeHead(b)
			return err
		}},
		"attempt": {appendAttempt(nil, &benchAttempt), func(b []byte) error {
			_, err := decodeAttempt(b)
			return err
		}},
		"id": {func() []byte {
			b := appendID(nil, digest{1}, nil)
			stampID(b, storage.NewEventKey(1, 2))
			return b
		}(), func(b []byte) error {
			_, _, err := decodeID(b)
			return err
		}},
	}
	for name, r := range records {
		if err := r.decode(r.b); err != nil {
			t.Errorf("%s: got %v", name, err)
		}
		for i := range r.b {
			for _, bit := range []byte{1, 0x80} {
				bad := slices.Clone(r.b)
				bad[i] ^= bit
				if r.decode(bad) == nil {
					t.Errorf("%s with byte %d flipped: got no error", name, i)
				}
			}
			if r.decode(r.b[:i]) == nil {
				t.Errorf("%s cut to %d bytes: got no error", name, i)
			}
		}
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(appendAttempt(nil, &benchAttempt))
	f.Add(appendEvent(nil, &storage.Event{ID: "a", Body: []byte("body")}, false))
	f.Fuzz(func(t *testing.T, b []byte) {
		// A wrong form under a right checksum must be an error, not a panic.
		b = appendChecksum(slices.Concat([]byte{recordVersion}, b), 0)
		_, _, _ = decodeEvent(storage.EventKey{}, b)
		_, _, _ = decodeID(b)
		_, _ = decodeAttempt(b)
		_, _ = decodeBloom(b)
		if h, err := decodeHead(b); err == nil {
			_, _ = h.delivery(storage.DeliveryID{})
		}
	})
}

func TestSpreadAgainstModel(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(5, 6))
	var s spread
	var model []int64
	for i := range 20_000 {
		if len(model) == 0 || rnd.IntN(100) < 52 {
			v := int64(rnd.IntN(100_000))
			s.add(v)
			model = append(model, v)
		} else {
			j := rnd.IntN(len(model))
			s.remove(model[j])
			model = slices.Delete(model, j, j+1)
		}
		n := 0
		for k, r := range s.ranges {
			n += r.count
			if r.lo > r.hi || r.count <= 0 || k > 0 && s.ranges[k-1].hi >= r.lo {
				t.Fatalf("step %d: got ranges %v, want them disjoint and ascending", i, s.ranges)
			}
		}
		if n != len(model) || len(s.ranges) > maxRanges {
			t.Fatalf("step %d: got %d points in %d ranges, want %d in at most %d", i, n, len(s.ranges), len(model), maxRanges)
		}
		v := int64(rnd.IntN(100_000))
		next := int64(-1)
		for _, m := range model {
			if m >= v && (next < 0 || m < next) {
				next = m
			}
		}
		if got := s.first(v); next >= 0 && (got < 0 || got > next) || got >= 0 && got < v {
			t.Fatalf("step %d: first at or after %d: got %d, want at most %d", i, v, got, next)
		}
	}
}

func TestBloom(t *testing.T) {
	t.Parallel()
	b := newBloom()
	ids := make([]idHash, 2000)
	for i := range ids {
		ids[i] = hashID(time.Unix(int64(i), 0).String())
		b.add(ids[i])
	}
	check := func() {
		t.Helper()
		for _, h := range ids {
			if !b.has(h) {
				t.Fatal("an id that was added is missing")
			}
		}
		wrong := 0
		for i := range 100_000 {
			if b.has(hashID(time.Unix(-int64(i)-1, 0).String())) {
				wrong++
			}
		}
		if wrong > 3 {
			t.Errorf("got %d of 100,000 ids that were not added, want 3 at most", wrong)
		}
	}
	check()
	b = b.folded()
	if n := len(b.words) * 64; n >= 2*bloomBits*len(ids) {
		t.Errorf("folded: got %d bits for %d ids", n, len(ids))
	}
	check()
	again, err := decodeBloom(b.encode())
	if err != nil || !slices.Equal(again.words, b.words) {
		t.Errorf("got %v, want the filter back", err)
	}
}

// TestBloomIsSeldomWrong holds the share of new ids that are taken for kept
// ones, and open a database in vain. Each event asks every segment, and a slow
// receiver leaves hundreds of small ones.
func TestBloomIsSeldomWrong(t *testing.T) {
	t.Parallel()
	const asked = 5_000_000
	random := randomIDs()
	for _, bits := range []int{1 << 9, 1 << 12, 1 << 18} {
		b := newBloom()
		for range bits / bloomBits { // the fewest bits for each that folding leaves
			b.add(random())
		}
		b = b.folded()
		if n := 64 * len(b.words); n != bits {
			t.Errorf("got %d bits, want %d", n, bits)
		}
		wrong := 0
		for range asked {
			if b.has(random()) {
				wrong++
			}
		}
		// About one, if the bits of a hash are independent.
		if wrong > 5 {
			t.Errorf("%d bits: got %d of %d new ids taken for kept ones, want 5 at most", bits, wrong, asked)
		}
	}
}

// TestBloomOfAnotherVersion reads no file whose filter has other bits for a
// hash: it would know none of its ids.
func TestBloomOfAnotherVersion(t *testing.T) {
	t.Parallel()
	for _, file := range []struct {
		head []byte
		rest int
	}{
		{[]byte{recordVersion}, 64},               // the first had no version
		{[]byte{recordVersion, bloomVersion}, 63}, // and may have bits that look like one
		{[]byte{recordVersion, 1}, 64},
		{[]byte{recordVersion, bloomVersion + 1}, 64},
	} {
		b := appendChecksum(append(slices.Clone(file.head), make([]byte, file.rest)...), 0)
		if _, err := decodeBloom(b); !errors.Is(err, errDamaged) {
			t.Errorf("%x and %d bytes: got %v, want %v", file.head, file.rest, err, errDamaged)
		}
	}
}
