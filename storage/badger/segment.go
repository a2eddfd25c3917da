package badger

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/promptreports/caddy-webhooks/storage"
)

// segment is a stretch of the outbox: first a journal, then a database; and
// what is kept in memory about it.
type segment struct {
	o   *Outbox
	n   uint32
	dir string

	// use is read-locked by whoever works with journal, db and w, and locked
	// to open or close them. No goroutine locks it twice.
	use      sync.RWMutex
	journal  *journal  // nil when packed
	db       *database // nil while a journal, or closed
	w        *writer   // nil where db is only open to read
	memTable int64

	// lastUsed is when the segment was acquired, and packAfter when packing
	// may be tried again, in nanoseconds of uptime.
	lastUsed, packAfter atomic.Int64

	// asked says that the housekeeper was asked for the next segment.
	asked atomic.Bool

	// stuck is the number of a log that cannot be flushed.
	stuck atomic.Int64

	// vet is what is to be examined before the database is opened.
	vet vetting

	// memory is what the database would write if it were closed.
	memory memory

	// frozen is ids once the segment is packed and gets no more events.
	frozen atomic.Pointer[bloom]

	// mu guards everything below; it is never held over I/O.
	mu    sync.Mutex
	first storage.EventKey // zero while empty
	// reach is the greatest key that was given away, and last the greatest
	// that is synced.
	reach     storage.EventKey
	last      storage.EventKey
	events    int
	counts    [len(statusNames)]int
	pending   map[string]*backlog
	ids       *bloom // a shared one, which does not change, once it is frozen
	codeless  bool   // the codes of its deliveries are not in ids
	written   int64  // bytes committed to it, before compression
	short     int    // deliveries that are missing
	settling  int    // callers on their way to settle
	recent    recent
	size      int64
	sizeKnown bool
	removed   bool
	stored    bool // its ids are in a file beside the database
	thinned   bool // finished history was taken out of it
	sealed    bool
	// packed says that it is a database, and journalEnd, while it is not, up
	// to which place its log is synced.
	packed     bool
	journalEnd int64
	// sealedAt, createdAt and endedAt, when a delivery was last finished, are
	// in milliseconds.
	sealedAt, createdAt, endedAt int64
}

// backlog counts one endpoint's pending deliveries in a segment.
type backlog struct {
	fresh spread // never rescheduled, by creation
	later spread // rescheduled, by due time
	made  spread // all, by creation
	count int
}

func newSegment(o *Outbox, n uint32) *segment {
	return &segment{
		o: o, n: n,
		dir:     filepath.Join(o.dir, segmentsDir, segmentName(n)),
		pending: make(map[string]*backlog),
		ids:     newBloom(),
	}
}

func segmentName(n uint32) string { return fmt.Sprintf("%08x", n) }

func (s *segment) forgetRecent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recent = recent{}
}

// takeRecent returns the record of a pending delivery if it is in memory.
func (s *segment) takeRecent(id storage.DeliveryID) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recent.take(id)
}

func (s *segment) isPacked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.packed
}

func (s *segment) isStored() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stored
}

func (s *segment) isRemoved() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.removed
}

// staged makes known where events will be found, before a commit makes them
// visible.
func (s *segment) staged(events []acceptance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range events {
		if s.first == (storage.EventKey{}) {
			s.first = events[i].key
		}
		s.reach = events[i].key
		s.ids.add(events[i].hash)
		s.ids.add(facet(kindType, events[i].typ))
		for _, name := range events[i].endpoints {
			s.ids.add(facet(kindEndpoint, hash4(name)))
		}
	}
}

// sawCode puts a code into the filter, which is not asked for codes, and has
// no room for them, if it was made without; mu is locked.
func (s *segment) sawCode(code string) {
	if s.codeless {
		return
	}
	h := facet(kindCode, hash4(code))
	if s.frozen.Load() == nil {
		s.ids.add(h)
	} else if !s.ids.has(h) {
		s.ids = s.ids.with(h)
		s.frozen.Store(s.ids)
	}
}

// freeze shrinks the filter to what the segment holds, and lets it be asked
// without a lock; mu is locked.
func (s *segment) freeze() {
	s.ids = s.ids.folded()
	s.frozen.Store(s.ids)
}

// unstaged takes back what was staged since the last commit.
func (s *segment) unstaged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reach = s.last
	if s.events == 0 {
		s.first = storage.EventKey{}
	}
}

// applied takes a committed group into the counts.
func (s *segment) applied(group []*op) {
	now := s.o.opt.Now().UnixMilli()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.journal != nil {
		s.journalEnd = s.journal.log.end()
	}
	total := 0
	for _, p := range group {
		for i := range p.events {
			total += s.accepted(&p.events[i])
		}
		for i := range p.changes {
			total += s.changed(&p.changes[i], now)
		}
		s.written += p.queued
	}
	s.o.pending.Add(int64(total))
}

func (s *segment) accepted(a *acceptance) int {
	s.last = a.key
	s.events++
	s.counts[a.status] += len(a.endpoints)
	if a.status != statusPending {
		s.sawCode(storage.CodeInterrupted)
		return 0
	}
	ms := a.key.Milli()
	for _, name := range a.endpoints {
		s.backlog(name).add(ms, true, ms)
	}
	for i := range a.entries {
		if e := &a.entries[i]; e.key[0] == kindDelivery {
			s.recent.put(storage.DeliveryID(e.key[1:]), e.value)
		}
	}
	return len(a.endpoints)
}

// backlog returns that of the endpoint, which is made if it is missing; mu is
// locked.
func (s *segment) backlog(endpoint string) *backlog {
	b := s.pending[endpoint]
	if b == nil {
		b = new(backlog)
		s.pending[strings.Clone(endpoint)] = b
	}
	return b
}

func (s *segment) changed(c *change, now int64) int {
	s.counts[c.oldStatus]--
	s.counts[c.newStatus]++
	s.sawCode(c.code)
	delta := 0
	created := c.id.Event().Milli()
	if c.oldStatus == statusPending {
		b := s.backlog(c.endpoint)
		b.remove(created, c.oldFresh, c.oldDue)
		delta--
		if b.count == 0 && c.newStatus != statusPending {
			delete(s.pending, c.endpoint)
		}
	}
	s.recent.take(c.id)
	if c.newStatus == statusPending {
		s.backlog(c.endpoint).add(created, c.newFresh, c.newDue)
		if !s.packed { // of those there are many, and little happens in each
			s.recent.put(c.id, c.record)
		}
		delta++
	} else {
		s.endedAt = max(s.endedAt, now)
	}
	return delta
}

func (b *backlog) add(created int64, fresh bool, due int64) {
	b.count++
	b.made.add(created)
	if fresh {
		b.fresh.add(due)
	} else {
		b.later.add(due)
	}
}

func (b *backlog) remove(created int64, fresh bool, due int64) {
	b.count--
	b.made.remove(created)
	if fresh {
		b.fresh.remove(due)
	} else {
		b.later.remove(due)
	}
}

// finished says that the segment gets no more events, and that none of its
// deliveries is pending or about to be settled again.
func (s *segment) finished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sealed && s.counts[statusPending] == 0 && s.settling == 0
}

// span returns the first and the last key that may be visible, zero when
// there is none.
func (s *segment) span() (first, last storage.EventKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first, s.reach
}
