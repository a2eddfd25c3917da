package badger

import "slices"

// maxRanges bounds the memory of a spread.
const maxRanges = 16

// rangeWidth is the greatest width, in milliseconds, to which adding widens a
// range.
const rangeWidth = 1000

// spread counts points in time, in at most maxRanges disjoint ranges, so that
// the first of very many is known within the width of a range. Points that
// come and go quickly keep the ranges narrow; a backlog widens them.
type spread struct {
	ranges []timeRange
}

// timeRange counts the points from lo to hi, both inclusive.
type timeRange struct {
	lo, hi int64
	count  int
}

// at finds the first range that does not end before v.
func (s *spread) at(v int64) int {
	i, _ := slices.BinarySearchFunc(s.ranges, v, func(r timeRange, v int64) int {
		if r.hi < v {
			return -1
		}
		return 1
	})
	return i
}

func (s *spread) add(v int64) {
	i := s.at(v)
	if i < len(s.ranges) && s.ranges[i].lo <= v {
		s.ranges[i].count++
		return
	}
	if i > 0 && v-s.ranges[i-1].lo < rangeWidth {
		s.ranges[i-1].hi = v
		s.ranges[i-1].count++
		return
	}
	if i < len(s.ranges) && s.ranges[i].hi-v < rangeWidth {
		s.ranges[i].lo = v
		s.ranges[i].count++
		return
	}
	s.ranges = slices.Insert(s.ranges, i, timeRange{lo: v, hi: v, count: 1})
	if len(s.ranges) > maxRanges {
		s.halve()
	}
}

// halve joins neighbours two by two.
func (s *spread) halve() {
	n := 0
	for i := 0; i < len(s.ranges); i += 2 {
		r := s.ranges[i]
		if i+1 < len(s.ranges) {
			r.hi = s.ranges[i+1].hi
			r.count += s.ranges[i+1].count
		}
		s.ranges[n] = r
		n++
	}
	s.ranges = s.ranges[:n]
}

// remove takes back a point that was added.
func (s *spread) remove(v int64) {
	i := s.at(v)
	if i == len(s.ranges) || s.ranges[i].lo > v {
		return
	}
	if s.ranges[i].count--; s.ranges[i].count == 0 {
		s.ranges = slices.Delete(s.ranges, i, i+1)
	}
}

// from returns the range that holds v, or the first one after it.
func (s *spread) from(v int64) (timeRange, bool) {
	if i := s.at(v); i < len(s.ranges) {
		return s.ranges[i], true
	}
	return timeRange{}, false
}

// first returns a lower bound of the first point at or after v, or -1.
func (s *spread) first(v int64) int64 {
	r, ok := s.from(v)
	if !ok {
		return -1
	}
	return max(r.lo, v)
}
