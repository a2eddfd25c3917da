package delivery

import (
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// queue is an endpoint as the engine sees it. There is one for every name that
// was configured since the process started, and the engine's lock guards all
// of it.
type queue struct {
	name string

	// config is the endpoint's configuration in the current snapshot, or nil
	// where it has none.
	config *Endpoint

	win window

	// size is the greatest number of deliveries in the window.
	size int

	// flights are the deliveries that are in nobody's window because an
	// attempt or an operation is under way for them.
	flights []*flight

	// inFlight counts the attempts among the flights.
	inFlight int

	health health
	state  storage.EndpointState

	// unsaved says that the outbox does not know of a change of state yet.
	unsaved bool

	// served says that the endpoint could get attempts since the process
	// started, unless it was paused by other than the configuration.
	served bool

	// starts are the latest attempts, where there is a rate limit.
	starts starts

	// holdUntil is when the receiver may be approached again.
	holdUntil time.Duration

	reading reading
	links   links
	recent  recent
}

// reading is the state of a queue's reading from the outbox.
type reading struct {
	active bool
	queued bool

	// again is when a failed reading may be repeated.
	again time.Duration

	// behind says that the window holds deliveries behind the cursor, so that
	// the outbox may have earlier ones.
	behind bool

	// merged is the value of Engine.merges after the last reading.
	merged uint64

	// discard says that the window was cleared since the reading began.
	discard bool

	// left are the deliveries that ceased to be in flight since the reading
	// began, so that what was read about them is out of date.
	left map[storage.DeliveryID]struct{}

	// floor is the lowest position since the reading began at which there may
	// be something that it did not see.
	floor    position
	hasFloor bool
}

// links tie a queue into the dispatcher's lists.
type links struct {
	next  *queue
	where listed

	// wakeAt and wakeIndex are the queue's place in the heap of wakings.
	wakeAt    time.Duration
	wakeIndex int
}

// recent is what an endpoint's status shows of the last attempts.
type recent struct {
	success, failure time.Time
	changed          time.Time
	code             string
	logs             logBudget
}

// flight is a delivery that is out of its window.
type flight struct {
	item
	q *queue

	// attempt says that an attempt is under way, not an operation.
	attempt bool

	// probe says that the attempt is that of a failing endpoint.
	probe bool

	// expire says that no attempt is made, because the delivery is too old.
	expire bool

	// cancel says that the delivery is given up unless the attempt succeeds.
	cancel bool

	// done is closed when the flight ends; nil where nobody waits.
	done chan struct{}

	took   time.Duration // when it left the window
	snap   *Snapshot
	config *Endpoint
}

// configure gives the queue its configuration in a new snapshot, or nil.
func (q *queue) configure(config *Endpoint, now time.Duration, wall time.Time) {
	before := q.config
	q.config = config
	if config == nil || config.RateLimit.Attempts == 0 {
		q.starts = starts{}
	}
	if config == nil || config.Paused {
		return
	}
	if before == nil && q.served || before != nil && before.Paused {
		q.renew(now, wall) // who lets it go on wants it tried
	}
	q.served = true
}

// renew gives a failing endpoint its whole time again until it is disabled.
func (q *queue) renew(now time.Duration, wall time.Time) {
	q.health.renew(now, wall)
	if q.health.failing {
		q.state.FailingSince, q.unsaved = wall, true
	}
}

// suspend pauses the endpoint because of an attempt.
func (q *queue) suspend(reason string, wall time.Time, drop func(*item)) {
	q.state.Paused, q.state.Reason, q.state.Since, q.unsaved = true, reason, wall, true
	q.recent.changed = wall
	q.clear(drop)
}

// freeAt returns from when on the rate limit lets an attempt start.
func (q *queue) freeAt() time.Duration {
	if q.config.RateLimit.Attempts == 0 {
		return 0
	}
	return q.starts.next(q.config.RateLimit)
}

// paused says whether the endpoint is paused, and why.
func (q *queue) paused() (bool, string) {
	if q.state.Paused {
		return true, q.state.Reason
	}
	if q.config != nil && q.config.Paused {
		return true, reasonConfiguration
	}
	return false, ""
}

// serves says whether the endpoint may get attempts at all.
func (q *queue) serves() bool {
	paused, _ := q.paused()
	return q.config != nil && !paused
}

// healthNow returns the endpoint's health as it is shown.
func (q *queue) healthNow() (EndpointHealth, string) {
	if paused, reason := q.paused(); paused {
		return Paused, reason
	}
	if q.health.failing {
		return Failing, q.recent.code
	}
	return Healthy, ""
}

// limit returns how many attempts the endpoint may have under way.
func (q *queue) limit() int {
	switch {
	case !q.serves():
		return 0
	case q.health.failing:
		return 1
	}
	return q.health.limit(q.config.MaxInFlight)
}

// lags says that more is ready than is sent at a time, and nothing but
// processors, or the receiver, keeps it from being sent.
func (q *queue) lags(now time.Duration) bool {
	return q.serves() && !q.health.failing && q.win.readyLen() > q.config.MaxInFlight &&
		q.approachable(now)
}

// approachable says that neither the receiver nor the rate limit asks to wait.
func (q *queue) approachable(now time.Duration) bool {
	return now >= q.holdUntil && now >= q.freeAt()
}

// startable says whether an attempt, or the end of a delivery that is too old,
// may be started now.
func (e *Engine) startable(q *queue, now time.Duration) bool {
	if q.win.readyLen() == 0 || !q.serves() {
		return false
	}
	if q.health.failing {
		if q.win.front().outlived(q.config.Retry.MaxAge, e.agingClock(now)) {
			return q.inFlight < q.config.MaxInFlight
		}
		return !q.health.probing && now >= q.health.nextProbe && q.approachable(now)
	}
	return q.inFlight < q.health.limit(q.config.MaxInFlight) && q.approachable(now)
}

// nextWake returns when time alone changes what startable says, or false.
func (e *Engine) nextWake(q *queue, now time.Duration) (time.Duration, bool) {
	if !q.serves() {
		return 0, false
	}
	var wake time.Duration
	found := false
	consider := func(at time.Duration) {
		if at > now && (!found || at < wake) {
			wake, found = at, true
		}
	}
	if q.win.readyLen() > 0 {
		consider(q.holdUntil)
		consider(q.freeAt())
		if q.health.failing {
			consider(q.health.nextProbe)
			it := q.win.front()
			if age := q.config.Retry.MaxAge; age > 0 && !it.young {
				consider(now + age - e.agingClock(now).Sub(it.id.Time()) + time.Millisecond)
			}
		}
	}
	if len(q.win.later) > 0 {
		consider(q.win.later[0].due)
	}
	if !q.win.complete {
		consider(q.reading.again)
	}
	return wake, found
}

// lower says that there may be something at p that the window does not have.
func (q *queue) lower(p position) {
	q.win.lower(p)
	if r := &q.reading; r.active && (!r.hasFloor || p.before(r.floor)) {
		r.floor, r.hasFloor = p, true
	}
}

// put takes a pending delivery into the window, or leaves it to the outbox.
func (q *queue) put(it item, now time.Duration, drop func(*item)) {
	p := it.position()
	if q.win.covers(p) && q.win.len() >= q.size {
		if !p.before(q.win.last()) {
			q.lower(p)
		} else {
			q.truncate(q.size*3/4, drop)
		}
	}
	if !q.win.covers(p) {
		q.lower(p)
		left := it // a copy: only what is dropped need be on the heap
		drop(&left)
		return
	}
	q.win.add(it, now)
}

// truncate drops the latest deliveries of the window.
func (q *queue) truncate(keep int, drop func(*item)) {
	q.win.truncate(keep, func(it *item) {
		q.lower(it.position())
		drop(it)
	})
}

// clear empties the window.
func (q *queue) clear(drop func(*item)) {
	q.win.clear(drop)
	q.reading.behind = false
	if q.reading.active {
		q.reading.discard = true
	}
}

// depart notes that a delivery is out of the window.
func (q *queue) depart(f *flight) {
	q.flights = append(q.flights, f)
	if f.attempt {
		q.inFlight++
	}
}

// land notes that a delivery is no longer in flight.
func (q *queue) land(f *flight) {
	last := len(q.flights) - 1
	for i, g := range q.flights {
		if g == f {
			q.flights[i] = q.flights[last]
			q.flights[last] = nil
			q.flights = q.flights[:last]
			break
		}
	}
	if f.attempt {
		q.inFlight--
	}
	if q.reading.active {
		if q.reading.left == nil {
			q.reading.left = make(map[storage.DeliveryID]struct{})
		}
		q.reading.left[f.id] = struct{}{}
	}
	if f.done != nil {
		close(f.done)
		f.done = nil
	}
}

// flying returns the flight of a delivery, or nil.
func (q *queue) flying(id storage.DeliveryID) *flight {
	for _, f := range q.flights {
		if f.id == id {
			return f
		}
	}
	return nil
}
