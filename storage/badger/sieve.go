package badger

import "github.com/promptreports/caddy-webhooks/storage"

// Each event that is accepted asks the filters of all segments whether its id
// is kept: hundreds of them, when much history is kept, each of which is half
// a megabyte. That is bound by the memory's latency, unless the processor may
// ask many at once: so the first two bits are asked of all, without a lock or a
// branch on the answer, and the others of the few that have both.

// sieveWidth is how many segments are asked at once.
const sieveWidth = 64

// sieve returns those of the segments, sieveWidth at most, that may hold an id,
// in their order and in the room of few.
func sieve(few *[sieveWidth]*segment, segs []*segment, h idHash) []*segment {
	n := 0
	x, step := h.sequence()
	y := advance(x, step)
	for _, s := range segs {
		few[n&(sieveWidth-1)] = s // the mask spares a check, and changes nothing
		if b := s.frozen.Load(); b == nil {
			n++
		} else {
			n += int(b.bit(x) & b.bit(y))
		}
	}
	return few[:n]
}

// mayHold says whether the segment may hold an id: it surely does not if it
// says no.
func (s *segment) mayHold(h idHash) bool {
	if b := s.frozen.Load(); b != nil {
		return b.has(h)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first != (storage.EventKey{}) && s.ids.has(h)
}
