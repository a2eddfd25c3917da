package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"

	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/storage"
)

// journal is the first form of a segment: a commit log, which one write and
// one sync make durable, and an index of it in memory. When the segment takes
// no more events, pack turns it into the tables of a database, in order and at
// once, which costs a third of what it costs to have Badger sort them out.
type journal struct {
	log   *commitLog
	index index
	buf   []byte // of the writer
}

const (
	// maxJournalOp is the greatest size, in bytes, of one call's records.
	maxJournalOp = 64 << 20
	// keepBuffer is the greatest buffer that is kept for the next group.
	keepBuffer = 1 << 20
)

func newJournal(log *commitLog) *journal {
	j := &journal{log: log}
	j.index.init(log)
	return j
}

func (j *journal) limits() (size, count int64) { return maxJournalOp, math.MaxInt64 }

// commit implements store.
func (j *journal) commit(group []*op) error {
	b := append(j.buf[:0], make([]byte, logGroupHeader)...)
	for _, p := range group {
		for i := range p.chunks {
			b = appendEntry(b, &p.chunks[i])
		}
		for i := range p.entries {
			b = appendEntry(b, &p.entries[i])
		}
	}
	if cap(b) <= keepBuffer {
		j.buf = b
	}
	at, err := j.log.commit(b)
	if err != nil {
		return err
	}
	return j.index.apply(at, b[logGroupHeader:])
}

func (j *journal) close() error { return j.log.close() }

// appendEntry writes an entry into a group: length of the key, user meta,
// length of the value, key, value. Keys that follow from records are left out.
func appendEntry(b []byte, e *entry) []byte {
	if e.derived() {
		return b
	}
	b = append(b, byte(len(e.key)), e.meta)
	b = binary.AppendUvarint(b, uint64(len(e.value)))
	return append(append(b, e.key...), e.value...)
}

// eachEntry calls f for the entries of a group, with the offset of the value.
func eachEntry(group []byte, f func(e entry, offset int) error) error {
	for at := 0; at < len(group); {
		if len(group)-at < 3 {
			return errDamaged
		}
		n := int(group[at])
		e := entry{meta: group[at+1]}
		size, width := binary.Uvarint(group[at+2:])
		at += 2 + width
		if width <= 0 || n == 0 || size > maxRecord || at+n+int(size) > len(group) {
			return errDamaged
		}
		e.key = group[at : at+n]
		at += n
		e.value = group[at : at+int(size)]
		if want := keyLength(e.key[0]); want != n {
			return errDamaged
		}
		if err := f(e, at); err != nil {
			return err
		}
		at += int(size)
	}
	return nil
}

// createJournal makes the segment's log; use is locked.
func (s *segment) createJournal() error {
	log, err := createCommitLog(s.logPath(), s.n)
	if err != nil {
		return err
	}
	s.begin(newJournal(log))
	return nil
}

// begin starts the journal's writer; use is locked.
func (s *segment) begin(j *journal) {
	s.journal = j
	s.w = newWriter(s.o, s, j)
	s.mu.Lock()
	s.journalEnd = j.log.end()
	s.mu.Unlock()
}

// journalSize returns the size of the segment's log.
func (s *segment) journalSize() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.journalEnd
}

func (s *segment) logPath() string { return s.dir + logSuffix }

const (
	logSuffix     = ".log"
	damagedSuffix = ".damaged" // of what is kept of damaged files
)

// openJournal reads the segment's log; use is locked. A damaged one is
// salvaged if the loss is accepted, and otherwise remembered as a loss.
func (s *segment) openJournal() error {
	if s.vet.damaged != nil {
		return s.vet.damaged
	}
	err := s.replay()
	if err == nil || !errors.Is(err, errDamaged) {
		return err
	}
	err = fmt.Errorf("segment %s: %w", segmentName(s.n), err)
	if !s.o.lossy {
		s.vet.loss = err
		s.vet.damaged = fmt.Errorf("%w: %w", storage.ErrNotFound, err)
		return s.vet.damaged
	}
	s.o.opt.Logger.Warn("outbox goes on without what is damaged", zap.String("path", s.logPath()), zap.Error(err))
	err = salvageCommitLog(s.logPath(), s.n)
	if errors.Is(err, os.ErrNotExist) {
		return s.createJournal()
	}
	if err != nil {
		return err
	}
	s.vet.log = logExpectation{}
	return s.replay()
}

// replay makes the journal that the log tells of; use is locked.
func (s *segment) replay() error {
	j := newJournal(nil)
	log, err := replayCommitLog(s.logPath(), s.n, s.vet.log, j.index.apply)
	if err != nil {
		return err
	}
	j.log, j.index.log = log, log
	if err := s.recount(&j.index); err != nil {
		return errors.Join(err, log.close())
	}
	s.begin(j)
	return nil
}

// recount counts what a replayed index holds.
func (s *segment) recount(x *index) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events, s.written = x.events.n, x.applied
	if s.events > 0 {
		s.first, s.last = x.events.at(0).key, x.events.at(s.events-1).key
		s.reach = s.last
	}
	for h := range x.ids {
		s.ids.add(h)
	}
	for h := range x.types {
		s.ids.add(facet(kindType, h))
	}
	for h := range x.endpoints {
		s.ids.add(facet(kindEndpoint, h))
	}
	for h := range x.codes {
		s.ids.add(facet(kindCode, h))
	}
	log := logWindow{log: x.log}
	for i := range x.deliveries.n {
		d := x.deliveries.at(i)
		var record []byte
		if d.meta&metaStatus == statusPending {
			var err error
			if record, err = log.read(d.place); err != nil {
				return err
			}
		}
		if err := s.countDelivery(d.id, d.meta, record); err != nil {
			return err
		}
	}
	return nil
}

// countDelivery takes a delivery's record into the counts; mu is locked.
func (s *segment) countDelivery(id storage.DeliveryID, meta byte, record []byte) error {
	status := meta & metaStatus
	if status == 0 || int(status) >= len(s.counts) {
		return errDamaged
	}
	s.counts[status]++
	if status != statusPending {
		return nil
	}
	h, err := decodeHead(record)
	if err != nil {
		return err
	}
	s.backlog(string(h.endpoint())).add(id.Event().Milli(), h.next == 0, h.due(id))
	return nil
}
