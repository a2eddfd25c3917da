package delivery

import (
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// position is a storage.Position in whole milliseconds. The one at rest says
// that a delivery stands there or later: where the engine does not know the
// outbox's own place of a delivery, it holds a lower bound, because all it
// concludes from a position is that what lies behind it must be read again.
type position struct {
	milli int64
	id    storage.DeliveryID
}

// start is before every delivery.
var start = position{milli: -1}

func (p position) before(q position) bool {
	if p.milli != q.milli {
		return p.milli < q.milli
	}
	return p.id.Compare(q.id) < 0
}

// previous returns the greatest position before p.
func (p position) previous() position {
	for i := len(p.id) - 1; i >= 0; i-- {
		p.id[i]--
		if p.id[i] != 0xff {
			return p
		}
	}
	if p.milli--; p.milli < 0 {
		return start
	}
	return p // every byte of the id has become 0xff
}

// storage returns the position as the outbox understands it.
func (p position) storage() storage.Position {
	if p.milli < 0 {
		return storage.Position{}
	}
	return storage.Position{At: time.UnixMilli(p.milli), ID: p.id}
}

// unknownSpent marks an item whose history must be read to know how many
// attempts of its schedule it used up.
const unknownSpent = -1

// item is a pending delivery in memory.
type item struct {
	// at is the wall-clock millisecond at which the outbox has it due, or an
	// earlier one.
	at int64

	// due is when it is due on the engine's own clock, which does not jump.
	due time.Duration

	// ev is the event, or nil where it must be read from the outbox.
	ev *payload

	id storage.DeliveryID

	// attempts counts what was settled; the next attempt has the next number.
	attempts int32

	// spent counts the attempts that used up a step of the schedule: not
	// those that were interrupted, and not the probes of a failing endpoint.
	spent int32

	// panics counts the attempts that panicked, and probes those that probed
	// a failing endpoint, since the item came into memory.
	panics, probes uint8

	// young says that the id, which is a replay's, makes the delivery look
	// older than it is.
	young bool
}

func (it *item) position() position { return position{it.at, it.id} }

// outlived says whether a delivery seems older than age, by its id.
func (it *item) outlived(age time.Duration, wall time.Time) bool {
	return age > 0 && !it.young && wall.Sub(it.id.Time()) > age
}

// payload is an event in memory, shared by its deliveries.
type payload struct {
	id, typ                 string
	body                    []byte
	traceParent, traceState string
	refs                    int32
}

// payloadOverhead is what an event in memory costs besides its body, in bytes.
const payloadOverhead = 512

func (p *payload) size() int64 { return int64(len(p.body)) + payloadOverhead }
