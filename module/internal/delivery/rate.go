package delivery

import (
	"math"
	"time"
)

// RateLimit bounds how often attempts to an endpoint are started. The zero
// RateLimit is none.
type RateLimit struct {
	// Attempts is how many may be started in any period of the length Per.
	Attempts int

	// Per is the length of the period.
	Per time.Duration
}

// mostMarks bounds what is remembered of an endpoint's attempts. Up to that
// many attempts in a period every one is remembered by itself. With a higher
// limit, those that start within 1/mostMarks of the period are counted as if
// they had all started with the last of them: an endpoint can get that little
// less than its limit, and never more.
const mostMarks = 1024

// starts remembers when attempts to an endpoint were started, as far back as
// its rate limit looks. It is a sliding window, because a bucket that fills
// again while it is drained lets nearly twice its size pass in one period. A
// limit that changes counts what was started under the old one.
type starts struct {
	marks []mark // marks[head:] in the order of time
	head  int
	count int // attempts in marks[head:]
}

// mark is one attempt, or several that are counted as one moment.
type mark struct {
	first, last time.Duration
	attempts    int
}

// next returns from when on another attempt may be started.
func (s *starts) next(limit RateLimit) time.Duration {
	var at time.Duration
	rest := s.count
	for i := s.head; rest >= limit.Attempts && i < len(s.marks); i++ {
		at = s.marks[i].last + limit.Per
		if at < 0 { // overflow
			return math.MaxInt64
		}
		rest -= s.marks[i].attempts
	}
	return at
}

// add notes that an attempt is started, and forgets those that the limit does
// not look back to.
func (s *starts) add(limit RateLimit, now time.Duration) {
	for s.head < len(s.marks) && now-s.marks[s.head].last >= limit.Per {
		s.count -= s.marks[s.head].attempts
		s.head++
	}
	s.count++
	var grain time.Duration
	if limit.Attempts > mostMarks {
		grain = limit.Per / mostMarks
	}
	if last := len(s.marks) - 1; last >= s.head && now-s.marks[last].first <= grain {
		s.marks[last].last = now
		s.marks[last].attempts++
		return
	}
	if len(s.marks) == cap(s.marks) && s.head > len(s.marks)/2 {
		s.marks = s.marks[:copy(s.marks, s.marks[s.head:])]
		s.head = 0
	}
	s.marks = append(s.marks, mark{now, now, 1})
}
