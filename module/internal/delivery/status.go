package delivery

import (
	"fmt"
	"strconv"
	"strings"
)

// The status codes that a StatusSet can hold: the classes 1xx to 5xx of RFC
// 9110, section 15.
const (
	minStatus = 100
	maxStatus = 599
)

// StatusSet is a set of HTTP status codes, 100 to 599.
type StatusSet [8]uint64

// DefaultOnStatus returns the statuses after which a delivery is tried again
// unless the configuration says otherwise: 3xx, 408, 425, 429 and 5xx.
func DefaultOnStatus() StatusSet {
	var s StatusSet
	s.addRange(300, 399)
	s.add(408)
	s.add(425)
	s.add(429)
	s.addRange(500, 599)
	return s
}

// ParseStatusSet reads status codes (408) and classes (5xx). Only 3xx to 5xx
// can be named: a 2xx is always a success, and a 1xx is never an answer.
func ParseStatusSet(items []string) (StatusSet, error) {
	var s StatusSet
	for _, item := range items {
		if class, ok := strings.CutSuffix(strings.ToLower(item), "xx"); ok {
			if len(class) != 1 || class[0] < '3' || class[0] > '5' {
				return StatusSet{}, fmt.Errorf("status class %q is not one of 3xx, 4xx and 5xx", item)
			}
			first := int(class[0]-'0') * 100
			s.addRange(first, first+99)
			continue
		}
		code, err := strconv.Atoi(item)
		if err != nil || len(item) != 3 || code < 300 || code > maxStatus {
			return StatusSet{}, fmt.Errorf("status %q is neither a code from 300 to 599 nor a class such as 5xx", item)
		}
		s.add(code)
	}
	return s, nil
}

// Contains says whether the code is in the set.
func (s *StatusSet) Contains(code int) bool {
	if code < minStatus || code > maxStatus {
		return false
	}
	bit := code - minStatus
	return s[bit/64]&(1<<(bit%64)) != 0
}

// IsEmpty says whether the set holds no code.
func (s *StatusSet) IsEmpty() bool { return *s == StatusSet{} }

func (s *StatusSet) add(code int) {
	bit := code - minStatus
	s[bit/64] |= 1 << (bit % 64)
}

func (s *StatusSet) addRange(first, last int) {
	for code := first; code <= last; code++ {
		s.add(code)
	}
}
