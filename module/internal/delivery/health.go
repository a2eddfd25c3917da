package delivery

import (
	"math"
	"slices"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// The figures of an endpoint's health.
const (
	// failingEvents is the number of distinct events over which attempts must
	// fail, with no answer in between, before an endpoint is failing: one
	// event that a receiver cannot digest says nothing about the receiver.
	failingEvents = 3

	// An endpoint that fails some of the time needs a longer row: so long
	// that it comes about by chance once in 1e12 attempts, at the share of
	// failures that its last rowMemory attempts or so had. longestRow is
	// enough for any endpoint.
	chanceOfRow = 1e-12
	rowMemory   = 128
	longestRow  = 40

	// firstProbe and lastProbe are the shortest and the longest wait for the
	// next probe of a failing endpoint; each is twice the one before.
	firstProbe = 5 * time.Second
	lastProbe  = 5 * time.Minute

	// probeJitter spreads the probes, so that endpoints on one host do not
	// come back in step.
	probeJitter = 0.2

	// rampStep is the shortest time between two doublings of what a
	// recovering endpoint gets at once.
	rampStep = 5 * time.Second
)

// health tells whether an endpoint works, from the attempts made to it. It is
// a pure state machine: time and randomness are passed in, and it is guarded
// by the lock of its owner.
//
// healthy → failing: a row of attempts failed, to failingEvents distinct events
// or more, and the row is longer than the endpoint's usual ones. failing →
// healthy: an attempt succeeded. A recovering endpoint starts with one attempt
// at once, and earns a doubling every rampStep. One that fails again before its
// ramp is over goes on with the backoff it had.
type health struct {
	failing bool

	// row is the number of failures since the last answer, and seen are the
	// first count distinct events of them.
	row   int
	seen  [failingEvents]storage.EventKey
	count int

	// share is the share of failures among the last attempts, without the
	// row that is going on and those that ended in failing: how the endpoint
	// is when it works.
	share float64

	// since is when the first failure of the row happened, and sinceAt the
	// same on the engine's own clock, where it may be negative.
	since   time.Time
	sinceAt time.Duration

	// backoff is the wait before the next probe; zero when nothing is wrong.
	backoff   time.Duration
	nextProbe time.Duration
	probing   bool

	// ramp is how many attempts a recovering endpoint gets at once; zero when
	// it has recovered.
	ramp   int
	rampAt time.Duration
}

// resume makes the health that of an endpoint which was failing since then
// when the process ended. Its first probe is spread, because after a restart
// all endpoints start at once.
func (h *health) resume(now time.Duration, wall, since time.Time, random float64) {
	h.failing, h.since, h.backoff = true, since, firstProbe
	h.sinceAt = now - max(wall.Sub(since), 0)
	h.nextProbe = now + time.Duration(random*float64(firstProbe))
}

// renew begins the failure that is going on anew, for who wants the endpoint
// to be tried whatever was before.
func (h *health) renew(now time.Duration, wall time.Time) {
	h.row, h.count, h.since = 0, 0, time.Time{}
	if h.failing {
		h.since, h.sinceAt = wall, now
	}
}

// lasted says whether the endpoint has been failing for so long.
func (h *health) lasted(now, age time.Duration) bool {
	return h.failing && age > 0 && now-h.sinceAt >= age
}

// probeNow lets the next probe of a failing endpoint go out at once.
func (h *health) probeNow(now time.Duration) {
	if h.failing {
		h.nextProbe = min(h.nextProbe, now)
	}
}

// limit returns how many attempts may be under way at once while the endpoint
// is not failing.
func (h *health) limit(most int) int {
	if h.ramp > 0 {
		return min(h.ramp, most)
	}
	return most
}

// answered is told an attempt that the receiver answered, unless with a
// refusal to work. A failing endpoint's must be a success, and then answered
// says that it recovered.
func (h *health) answered(now time.Duration, most int) bool {
	h.learnRow()
	h.count, h.since = 0, time.Time{}
	if h.failing {
		h.failing, h.probing = false, false
		h.ramp, h.rampAt = 1, now+rampStep
		return true
	}
	if h.ramp > 0 && now >= h.rampAt {
		h.ramp, h.rampAt = h.ramp*2, now+rampStep
		if h.ramp >= most {
			h.ramp, h.backoff = 0, 0
		}
	}
	return false
}

// refused is told a probe whose event the receiver refused for good: that is
// no success, but an answer. So the next event is tried soon.
func (h *health) refused(now time.Duration, random float64) {
	h.probing, h.backoff = false, 0
	h.schedule(now, random)
}

// failed is told an attempt that failed. It says whether the endpoint turned
// failing. Failures of attempts that began before it did change nothing.
func (h *health) failed(now time.Duration, wall time.Time, probe bool, key storage.EventKey, random float64) bool {
	if h.failing {
		if probe {
			h.probing = false
			h.schedule(now, random)
		}
		return false
	}
	if h.row == 0 {
		h.since, h.sinceAt = wall, now
	}
	h.row++
	if h.count < failingEvents && !slices.Contains(h.seen[:h.count], key) {
		h.seen[h.count] = key
		h.count++
	}
	if h.count < failingEvents || h.row < h.telling() {
		return false
	}
	h.failing, h.ramp, h.row, h.count = true, 0, 0, 0
	h.schedule(now, random)
	return true
}

// learnRow takes the row of failures that an answer ended into the share.
func (h *health) learnRow() {
	for range min(h.row, longestRow) {
		h.share += (1 - h.share) / rowMemory
	}
	h.share -= h.share / rowMemory
	h.row = 0
}

// telling returns the length of a row that says that the endpoint does not
// work, rather than that it fails some of the time.
func (h *health) telling() int {
	least := math.Log(chanceOfRow) / math.Log(h.share) // 0 for a share of 0
	return max(failingEvents, int(math.Ceil(min(least, longestRow))))
}

// schedule sets the time of the next probe.
func (h *health) schedule(now time.Duration, random float64) {
	if h.backoff == 0 {
		h.backoff = firstProbe
	}
	h.nextProbe = now + h.backoff + time.Duration(float64(h.backoff)*probeJitter*(2*random-1))
	h.backoff = min(2*h.backoff, lastProbe)
}
