package badger

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/promptreports/caddy-webhooks/storage"
)

// randomIDs returns a source of hashes that is the same in every run.
func randomIDs() func() idHash {
	r := rand.New(rand.NewPCG(1, 2))
	return func() (h idHash) {
		binary.LittleEndian.PutUint64(h[:], r.Uint64())
		binary.LittleEndian.PutUint64(h[8:], r.Uint64())
		return h
	}
}

// segmentOf is a segment with nothing but so many ids in its filter.
func segmentOf(n int, id func() idHash) (*segment, []idHash) {
	s := &segment{ids: newBloom(), first: storage.NewEventKey(1, 2)}
	ids := make([]idHash, n)
	for i := range ids {
		ids[i] = id()
		s.ids.add(ids[i])
	}
	return s, ids
}

func TestSieveMissesNothing(t *testing.T) {
	t.Parallel()
	id := randomIDs()
	segs := make([]*segment, sieveWidth)
	kept := make([][]idHash, len(segs))
	for i := range segs {
		segs[i], kept[i] = segmentOf(1+i%7, id)
		if i%3 != 0 {
			segs[i].freeze()
		}
	}
	var few [sieveWidth]*segment
	for i, hashes := range kept {
		for _, h := range hashes {
			found := sieve(&few, segs, h)
			if !slices.Contains(found, segs[i]) || !segs[i].mayHold(h) {
				t.Errorf("segment %d: an id that it holds was not found", i)
			}
			if !slices.IsSortedFunc(found, func(a, b *segment) int { return slices.Index(segs, a) - slices.Index(segs, b) }) {
				t.Errorf("segment %d: the order of the segments changed", i)
			}
		}
	}
	if n := len(sieve(&few, segs, id())); n > sieveWidth*2/3 {
		t.Errorf("got %d of %d segments that may hold a new id", n, sieveWidth)
	}
}

// TestSieveTakesAll asks as many segments as fit, none of which is frozen, so
// that all may hold the id.
func TestSieveTakesAll(t *testing.T) {
	t.Parallel()
	id := randomIDs()
	segs := make([]*segment, sieveWidth)
	for i := range segs {
		segs[i], _ = segmentOf(1, id)
	}
	var few [sieveWidth]*segment
	if got := sieve(&few, segs, id()); !slices.Equal(got, segs) {
		t.Errorf("got %d segments, want all %d, in their order", len(got), len(segs))
	}
}

// TestDuplicateInAnySegment accepts events again of which the segments are
// more than are asked at once.
func TestDuplicateInAnySegment(t *testing.T) {
	t.Parallel()
	o := open(t, filepath.Join(t.TempDir(), "outbox"), Options{limits: quiet()})
	var keys []storage.EventKey
	for i := range sieveWidth + 2 {
		keys = append(keys, acceptBody(t, o, counted("event", i), nil, "x"))
		packActive(t, o) // the logs would take half a gibibyte
	}
	for i, key := range keys {
		if got := acceptBody(t, o, counted("event", i), nil, "x"); got != key {
			t.Errorf("event %d was accepted twice, as %x and %x", i, key, got)
		}
	}
}

// TestDuplicateBesideAFileOfAnotherVersion finds an id although the file of
// filters beside its segment has other bits for it.
func TestDuplicateBesideAFileOfAnotherVersion(t *testing.T) {
	t.Parallel()
	opt := Options{limits: quiet()}
	o := open(t, filepath.Join(t.TempDir(), "outbox"), opt)
	key := acceptBody(t, o, "e", nil, "x")
	settle(t, o, key.Delivery(0), storage.StatusDelivered)
	s := packActive(t, o)
	o.tidy()
	if !s.isStored() {
		t.Fatal("the segment was not finished, so nothing is tried")
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	before := newBloom().folded().encode()
	before = before[:len(before)-checksumSize]
	before[1] = bloomVersion - 1
	if err := os.WriteFile(s.idsPath(), appendChecksum(before, 0), 0o600); err != nil {
		t.Fatal(err)
	}
	o = open(t, o.dir, opt)
	wantWhole(t, o)
	if got := acceptBody(t, o, "e", nil, "x"); got != key {
		t.Errorf("the event was accepted twice, as %x and %x", key, got)
	}
}

// TestFrozenFilterStays adds a code in a filter of its own: those who ask the
// old one have no lock.
func TestFrozenFilterStays(t *testing.T) {
	t.Parallel()
	s, _ := segmentOf(100, randomIDs())
	s.freeze()
	before := s.frozen.Load()
	words := slices.Clone(before.words)
	s.mu.Lock()
	s.sawCode("http_500")
	s.mu.Unlock()
	if !slices.Equal(before.words, words) {
		t.Error("the filter changed while it may be asked")
	}
	if s.frozen.Load() == before {
		t.Error("the code is in no filter")
	}
}

// TestFrozenFilterTakesCodes settles in a packed segment while its filter is
// asked without a lock.
func TestFrozenFilterTakesCodes(t *testing.T) {
	t.Parallel()
	s, ids := segmentOf(100, randomIDs())
	s.freeze()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 10 {
			for _, h := range ids {
				if !s.mayHold(h) {
					t.Error("an id is missing")
				}
			}
		}
	}()
	codes := []string{"http_500", "http_503", "timeout_headers", "http_500"}
	for _, code := range codes {
		s.mu.Lock()
		s.sawCode(code)
		s.mu.Unlock()
	}
	<-done
	for _, code := range codes {
		if h := facet(kindCode, hash4(code)); !s.ids.has(h) || !s.mayHold(h) {
			t.Errorf("code %s is missing", code)
		}
	}
}

// TestCodelessFilterTakesNoCodes keeps the filter of a few ids from filling up
// with codes that nobody asks it for.
func TestCodelessFilterTakesNoCodes(t *testing.T) {
	t.Parallel()
	s, _ := segmentOf(3, randomIDs())
	s.codeless = true
	s.freeze()
	before := s.frozen.Load()
	s.mu.Lock()
	s.sawCode("http_500")
	s.mu.Unlock()
	if s.frozen.Load() != before || s.ids.has(facet(kindCode, hash4("http_500"))) {
		t.Error("the filter changed")
	}
}

// BenchmarkLookup asks 100 full segments for new ids.
func BenchmarkLookup(b *testing.B) {
	id := randomIDs()
	segs := make([]*segment, 100)
	for i := range segs {
		segs[i], _ = segmentOf(100_000, id)
		segs[i].freeze()
		segs[i].removed = true // there is nothing to open, of a few by mistake
	}
	o := &Outbox{}
	o.segments.Store(&segs)
	for b.Loop() {
		if kept, err := o.lookup(id(), nil); kept != nil || err != nil {
			b.Fatal(kept, err)
		}
	}
}
