package badger

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/promptreports/caddy-webhooks/storage"
)

// Bounds of a writer's queue: what waits there is in memory.
const (
	maxQueuedOps   = 1024
	maxQueuedBytes = 32 << 20
)

// patience is how long settlements wait for an acceptance, at most while
// there was one within that time, and mostPatient how many of them do.
const (
	patience    = 2 * time.Millisecond
	mostPatient = 32
)

// errSealed sends an acceptance to the segment that is active now.
var errSealed = errors.New("segment is sealed")

// op is what one call wants committed.
type op struct {
	entries []badgerdb.Entry
	// chunks hold long bodies. They are committed before the entries, which
	// alone make them reachable.
	chunks []badgerdb.Entry

	// size and count are those of the entries, by Badger's reckoning.
	size, count int64
	// queued is the memory that the op holds.
	queued int64

	// events are those to accept; the writer gives them their keys.
	events []acceptance
	// changes are what settling does to the counts.
	changes []change

	// ids and deliveries are the claims to be given back.
	ids        []idHash
	deliveries []storage.DeliveryID

	// left says who answers for a bounced op; see submit.
	left atomic.Int32

	err  error
	done chan struct{} // of capacity 1
}

// Values of op.left.
const (
	leftBounced   = 1 // the writer sent it back: the caller goes on
	leftAbandoned = 2 // the caller went away: the writer cleans up
)

func newOp(entries int) *op {
	return &op{entries: make([]badgerdb.Entry, 0, entries), done: make(chan struct{}, 1)}
}

// acceptance is one event of an op and its share of the entries.
type acceptance struct {
	key       storage.EventKey
	hash      idHash
	entries   []badgerdb.Entry
	chunks    []badgerdb.Entry
	endpoints []string
	status    byte
}

// change is what a settlement does to the counts of its segment.
type change struct {
	endpoint           string
	id                 storage.DeliveryID
	oldStatus          byte
	newStatus          byte
	oldFresh, newFresh bool
	oldDue, newDue     int64
	record             []byte // of a delivery that stays pending
}

func (p *op) set(e badgerdb.Entry) {
	p.entries = append(p.entries, e)
	p.size += entrySize(&e)
	p.count++
	p.queued += int64(len(e.Key) + len(e.Value))
}

// entrySize is how Badger reckons an entry against the size of a batch: key,
// value, meta, and ten bytes for the version.
func entrySize(e *badgerdb.Entry) int64 { return int64(len(e.Key) + len(e.Value) + 12) }

// queue holds what waits for a writer.
type queue struct {
	mu     sync.Mutex
	ops    []*op
	spare  []*op
	bytes  int64
	closed bool
	room   chan struct{} // closed when there is room again; nil if nobody waits
	wake   chan struct{}

	// accepts counts the ops with events; accepted is when the last such were
	// taken.
	accepts  int
	accepted time.Time
	timer    *time.Timer // the writer's
}

func newQueue() *queue {
	q := &queue{wake: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	q.timer.Stop()
	return q
}

// push waits for room and appends the op.
func (q *queue) push(ctx context.Context, p *op) error {
	for {
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return storage.ErrClosed
		}
		if n := len(q.ops); n == 0 || n < maxQueuedOps && q.bytes+p.queued <= maxQueuedBytes {
			q.ops = append(q.ops, p)
			q.bytes += p.queued
			if len(p.events) > 0 {
				q.accepts++
			}
			wake := n == 0 || q.accepts == 1 && len(p.events) > 0 || n+1 == mostPatient
			q.mu.Unlock()
			if wake {
				q.signal()
			}
			return nil
		}
		if q.room == nil {
			q.room = make(chan struct{})
		}
		room := q.room
		q.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take waits for ops and returns all there are, or false when the queue is
// closed and empty. The slice is good until the next take.
//
// Acceptances are never kept waiting. While they keep coming, settlements wait
// a moment for the next one to share its sync, because nobody waits for them
// but the slots of their endpoints.
func (q *queue) take() ([]*op, bool) {
	waited := false
	for {
		q.mu.Lock()
		n := len(q.ops)
		if n > 0 && (waited || q.closed || q.accepts > 0 || n >= mostPatient || time.Since(q.accepted) > patience) {
			if q.accepts > 0 {
				q.accepted = time.Now()
			}
			ops := q.ops
			q.ops, q.spare = q.spare[:0], ops
			q.bytes, q.accepts = 0, 0
			if q.room != nil {
				close(q.room)
				q.room = nil
			}
			q.mu.Unlock()
			return ops, true
		}
		closed := q.closed
		q.mu.Unlock()
		switch {
		case n > 0:
			q.timer.Reset(patience)
			select {
			case <-q.wake:
			case <-q.timer.C:
				waited = true
			}
			q.timer.Stop()
		case closed:
			return nil, false
		default:
			<-q.wake
		}
	}
}

// close lets the writer finish what is queued and end.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}
