package badger

import "encoding/binary"

// idHash is the first half of the SHA-256 of a public event id: long enough
// that nobody can make two ids meet.
type idHash [16]byte

// bloom says of a public id that a segment surely has not got it, so that an
// acceptance rarely reads. It starts for a full segment and is folded to what
// the segment really holds when that is sealed.
type bloom struct {
	words []uint64 // a power of two of them
}

const (
	bloomWords  = 1 << 16 // 4 Mi bits: 16 for each of 250,000 events
	bloomHashes = 6
)

func newBloom() *bloom { return &bloom{words: make([]uint64, bloomWords)} }

func (b *bloom) each(h idHash, f func(word, bit uint64) bool) bool {
	x := binary.LittleEndian.Uint64(h[:])
	step := binary.LittleEndian.Uint64(h[8:]) | 1
	mask := uint64(len(b.words))*64 - 1
	for range bloomHashes {
		i := x & mask
		if !f(i/64, 1<<(i%64)) {
			return false
		}
		x += step
	}
	return true
}

func (b *bloom) add(h idHash) {
	b.each(h, func(word, bit uint64) bool {
		b.words[word] |= bit
		return true
	})
}

func (b *bloom) has(h idHash) bool {
	return b.each(h, func(word, bit uint64) bool { return b.words[word]&bit != 0 })
}

// fold shrinks the filter to about 16 bits for each of n ids. An index is
// the low bits of a hash, so one half laid on the other is the filter of half
// the size.
func (b *bloom) fold(n int) {
	words := b.words
	for len(words) > 1 && len(words)*64/2 >= 16*n {
		half := len(words) / 2
		for i, w := range words[half:] {
			words[i] |= w
		}
		words = words[:half]
	}
	b.words = append([]uint64(nil), words...)
}
