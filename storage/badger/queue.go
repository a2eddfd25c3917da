package badger

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

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
	entries []entry
	// chunks hold long bodies.
	chunks []entry

	// size and count are those of the entries, by Badger's reckoning.
	size, count int64
	// longest is the length of the longest value.
	longest int
	// queued is the memory that the op holds.
	queued int64

	// events are those to accept; the writer gives them their keys.
	events []acceptance
	// changes are what settling does to the counts.
	changes []change

	// ids and deliveries are the claims to be given back, and admitted the
	// number of new pending deliveries; see giveBack.
	ids        []idHash
	deliveries []storage.DeliveryID
	admitted   int64

	// left says who answers for a bounced op; see submit.
	left atomic.Int32

	// buf holds keys and values of the entries.
	buf []byte

	err  error
	done chan struct{} // of capacity 1
}

// Values of op.left.
const (
	leftBounced   = 1 // the writer sent it back: the caller goes on
	leftAbandoned = 2 // the caller went away: the writer cleans up
)

var ops = sync.Pool{New: func() any { return &op{done: make(chan struct{}, 1)} }}

// newOp returns an op with room for so many entries and bytes.
func newOp(entries, bytes int) *op {
	p := ops.Get().(*op)
	p.entries = slices.Grow(p.entries, entries)
	p.buf = slices.Grow(p.buf, bytes)
	return p
}

// Bounds of what is kept for the next op.
const (
	keepEntries = 64
	keepOpBytes = 16 << 10
)

// recycle gives back an op that was committed, and that nobody looks at any
// more.
func (p *op) recycle() {
	if cap(p.entries) > keepEntries || cap(p.buf) > keepOpBytes {
		return
	}
	clear(p.entries)
	clear(p.changes)
	*p = op{
		entries: p.entries[:0], events: p.events[:0], changes: p.changes[:0],
		deliveries: p.deliveries[:0], buf: p.buf[:0], done: p.done,
	}
	ops.Put(p)
}

// accept adds an event to the op; what an earlier op had in its place is used
// again.
func (p *op) accept(hash idHash, typ string, endpoints []string, status byte) {
	n := len(p.events)
	p.events = slices.Grow(p.events, 1)[:n+1]
	a := &p.events[n]
	*a = acceptance{hash: hash, typ: hash4(typ), endpoints: append(a.endpoints[:0], endpoints...), status: status}
}

// acceptance is one event of an op and its share of the entries.
type acceptance struct {
	key       storage.EventKey
	hash      idHash
	typ       [4]byte
	entries   []entry
	chunks    []entry
	endpoints []string
	status    byte
}

// change is what a settlement does to the counts of its segment.
type change struct {
	endpoint, code     string
	id                 storage.DeliveryID
	oldStatus          byte
	newStatus          byte
	oldFresh, newFresh bool
	oldDue, newDue     int64
	record             []byte // of a delivery that stays pending
}

func (p *op) set(e entry) {
	p.entries = append(p.entries, e)
	p.size += e.size()
	p.count++
	p.longest = max(p.longest, len(e.value))
	p.queued += int64(len(e.key) + len(e.value))
}

// entry is a record under its key.
type entry struct {
	key, value []byte
	meta       byte
}

// size is how Badger reckons an entry against the size of a batch: key, value,
// meta, and ten bytes for the version.
func (e *entry) size() int64 { return int64(len(e.key) + len(e.value) + 12) }

// derived says whether the entry follows from others.
func (e *entry) derived() bool {
	switch e.key[0] {
	case kindFailed, kindDue:
		return true
	}
	return false
}

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
// Callers that are ready to run, as there are many when the processor is busy,
// come first: what they push shares the sync. Otherwise acceptances are never
// kept waiting. While they keep coming, settlements wait
// a moment for the next one to share its sync, because nobody waits for them
// but the slots of their endpoints.
func (q *queue) take() ([]*op, bool) {
	waited := false
	for {
		runtime.Gosched()
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
