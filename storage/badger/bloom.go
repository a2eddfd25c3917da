package badger

import (
	"encoding/binary"
	"slices"
)

// idHash is the first half of the SHA-256 of a public event id: long enough
// that nobody can make two ids meet.
type idHash [16]byte

// bloom says of a public id that a segment surely has not got it, so that an
// acceptance rarely reads, and the same of what listings filter by: endpoints,
// types and codes. It starts for a full segment and is folded to what the
// segment really holds when that gets no more events.
type bloom struct {
	words []uint64 // a power of two of them, 2^26 at most
	n     int      // of what was added and not there
}

// What a filter takes for kept without need opens a database, and each event
// that is accepted asks every filter: hundreds of them, thousands of times a
// second. One in ten million is taken so, at most, unless it is overfull.
const (
	bloomWords  = 1 << 16 // 4 Mi bits: 40 for each of 100,000 events
	bloomBits   = 40      // for each of what it holds, at least, when folded
	bloomHashes = 12
)

// facet is what stands in the filter for an endpoint, a type or a code.
func facet(kind byte, hash [4]byte) (h idHash) {
	x := uint64(kind)<<32 | uint64(binary.BigEndian.Uint32(hash[:]))
	for i := range 2 { // SplitMix64
		x += 0x9e3779b97f4a7c15
		z := (x ^ x>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(h[8*i:], z^z>>31)
	}
	return h
}

// kindCode is the kind of a code's facet.
const kindCode = 'c'

func newBloom() *bloom { return &bloom{words: make([]uint64, bloomWords)} }

// The bits of a hash are the upper halves of a linear congruential sequence,
// which depend on 38 bits of both its halves in the smallest filter, too. With
// steps of one length those who share the first two bits would share all of
// them.
func (h *idHash) sequence() (x, step uint64) {
	return binary.LittleEndian.Uint64(h[:]), binary.LittleEndian.Uint64(h[8:])
}

func advance(x, step uint64) uint64 { return x*6364136223846793005 + step } // Knuth's MMIX

// at returns the word and the place in it of one of the sequence.
func (b *bloom) at(x uint64) (word int, bit uint64) {
	i := x >> 32 & (uint64(len(b.words))*64 - 1)
	return int(i / 64), i % 64
}

// bit returns 1 if the bit of one of the sequence is set, or 0.
func (b *bloom) bit(x uint64) uint64 {
	word, bit := b.at(x)
	return b.words[word] >> bit & 1
}

// each visits the bits of a hash until f says no.
func (b *bloom) each(h idHash, f func(word int, bit uint64) bool) bool {
	x, step := h.sequence()
	for range bloomHashes {
		if word, bit := b.at(x); !f(word, 1<<bit) {
			return false
		}
		x = advance(x, step)
	}
	return true
}

func (b *bloom) add(h idHash) {
	if b.has(h) {
		return
	}
	b.n++
	b.each(h, func(word int, bit uint64) bool {
		b.words[word] |= bit
		return true
	})
}

func (b *bloom) has(h idHash) bool {
	return b.each(h, func(word int, bit uint64) bool { return b.words[word]&bit != 0 })
}

// folded returns the filter shrunk to what it holds, or itself if it cannot be.
// An index is the low bits of a number, so one half laid on the other is the
// filter of half the size.
func (b *bloom) folded() *bloom {
	size := len(b.words)
	for size > 1 && size*64/2 >= bloomBits*b.n {
		size /= 2
	}
	if size == len(b.words) {
		return b
	}
	f := &bloom{words: make([]uint64, size), n: b.n}
	for i, w := range b.words {
		f.words[i&(size-1)] |= w
	}
	return f
}

// with returns a filter that has the hash, too.
func (b *bloom) with(h idHash) *bloom {
	more := &bloom{words: slices.Clone(b.words), n: b.n}
	more.add(h)
	return more
}

// bloomVersion tells filters from those with other bits for a hash, in the
// files of which nothing would be found. A segment with such a file is read
// at the start, and writes another.
const bloomVersion = 2

// encode writes the filter for the file.
func (b *bloom) encode() []byte {
	out := make([]byte, 0, 2+8*len(b.words)+checksumSize)
	out = append(out, recordVersion, bloomVersion)
	for _, w := range b.words {
		out = binary.BigEndian.AppendUint64(out, w)
	}
	return appendChecksum(out, 0)
}

func decodeBloom(data []byte) (*bloom, error) {
	r, err := openRecord(data)
	if err != nil {
		return nil, err
	}
	if version := r.take(1); len(version) == 0 || version[0] != bloomVersion {
		return nil, errDamaged
	}
	n := len(r.b) / 8
	if n == 0 || n&(n-1) != 0 || len(r.b)%8 != 0 {
		return nil, errDamaged
	}
	b := &bloom{words: make([]uint64, n), n: n * 64 / bloomBits}
	for i := range b.words {
		b.words[i] = binary.BigEndian.Uint64(r.b[8*i:])
	}
	return b, nil
}
