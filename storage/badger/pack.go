package badger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/promptreports/caddy-webhooks/storage"
)

const (
	// packTail is how much of the log may be left to copy when the journal
	// stops, unless settlements come so fast that it is more again after
	// maxTails copies.
	packTail = 64 << 10
	maxTails = 3
)

// errStopped ends packing when the outbox is being closed.
var errStopped = errors.New("outbox is being closed")

// pack turns a sealed journal into a database. Until that is whole and the
// state says so, the journal is what counts, and goes on taking settlements.
func (o *Outbox) pack(s *segment) error {
	if s.isPacked() { // since the caller looked: what is in dir is the segment
		return nil
	}
	err := os.RemoveAll(s.dir)
	if err == nil {
		err = os.Mkdir(s.dir, 0o700)
	}
	if err == nil {
		p := packer{o: o, s: s, journal: s.journal, copied: s.journal.index.end(), pace: newPace(&o.hurry)}
		err = p.run()
	}
	if err != nil && !s.isPacked() {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	if err != nil {
		return fmt.Errorf("packing segment %s: %w", s.dir, err)
	}
	return nil
}

type packer struct {
	o       *Outbox
	s       *segment
	journal *journal

	// copied is the place in the log up to which the database has everything.
	copied int64

	tables *tableWriter
	log    logWindow
	pace   pace
}

func (p *packer) run() error {
	if err := p.writeTables(); err != nil {
		return err
	}
	for range maxTails {
		if p.journal.index.end()-p.copied <= packTail {
			break
		}
		if err := p.copyTail(p.pace.step); err != nil {
			return err
		}
	}
	return p.change()
}

// change ends the journal and begins the database.
func (p *packer) change() error {
	s := p.s
	s.use.Lock()
	defer s.use.Unlock()
	s.w.stop()
	err := p.copyTail(func() {}) // without rests: the segment is locked
	if err == nil {
		err = errors.Join(syncDir(s.dir), syncDir(filepath.Dir(s.dir)))
	}
	if err == nil && !p.o.makeRoom(slack) { // for the state
		err = errNoRoom
	}
	if err != nil {
		s.w = newWriter(p.o, s, s.journal)
		return err
	}
	s.noteTables()
	s.mu.Lock()
	s.packed, s.journalEnd, s.sizeKnown = true, 0, false
	s.freeze()
	s.mu.Unlock()
	if err := p.o.saveState(); err != nil {
		// Which form the state names is not known.
		p.o.poison(err)
		return err
	}
	err = s.journal.close()
	s.journal, s.w = nil, nil
	s.forgetRecent()
	return errors.Join(err, os.Remove(s.logPath()), syncDir(filepath.Dir(s.dir)))
}

// mayWriteTables says whether packing or thinning may go on, by so much.
func (o *Outbox) mayWriteTables(size int64) error {
	if o.stopping() {
		return errStopped
	}
	if err := o.failure(); err != nil {
		return err
	}
	if hook := o.opt.packHook; hook != nil {
		if err := hook(); err != nil {
			return err
		}
	}
	if o.askSpaceNow(); !o.mayPack(size + slack) {
		return errNoRoom
	}
	return nil
}

// writeTables writes all records in the order of their keys.
func (p *packer) writeTables() error {
	p.log.log = p.journal.log
	p.tables = newTableWriter(p.s.dir, p.o.mayWriteTables)
	defer p.tables.release()
	x := &p.journal.index
	for _, write := range []func(x *index) error{
		p.attempts, p.chunks, p.deliveries, p.events, p.failed, p.ids, p.due, p.types, p.endpoints,
	} {
		p.log.rewind()
		if err := write(x); err != nil {
			return err
		}
	}
	return p.tables.finish()
}

// read returns what stands at a place of the log; it is good until the next
// call.
func (p *packer) read(at place) ([]byte, error) {
	p.pace.step()
	return p.log.read(at)
}

// record puts what stands at a place of the log.
func (p *packer) record(key []byte, at place, meta byte) error {
	v, err := p.read(at)
	if err != nil {
		return err
	}
	return p.tables.put(key, v, meta)
}

// put puts a record that only leads to others.
func (p *packer) put(key []byte) error {
	p.pace.step()
	return p.tables.put(key, nil, 0)
}

func (p *packer) attempts(x *index) error {
	x.mu.RLock()
	ids := slices.Collect(maps.Keys(x.attempts))
	x.mu.RUnlock()
	slices.SortFunc(ids, func(a, b storage.DeliveryID) int {
		p.pace.step()
		return a.Compare(b)
	})
	var key []byte
	for _, id := range ids {
		x.mu.RLock()
		all := x.attempts[id]
		x.mu.RUnlock()
		for _, a := range all {
			key = appendAttemptKey(key[:0], id, a.number)
			if err := p.record(key, a.place, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// The segment takes no events any more, so what belongs to events stays as it
// is and is read without the lock.

func (p *packer) chunks(x *index) error {
	for _, k := range slices.SortedFunc(maps.Keys(x.chunks), compareKeys) {
		for n, at := range x.chunks[k] {
			key := append([]byte{kindChunk}, k[:]...)
			if err := p.record(binary.BigEndian.AppendUint16(key, uint16(n)), at, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *packer) deliveries(x *index) error {
	for i := range x.deliveries.n {
		x.mu.RLock()
		d := *x.deliveries.at(i)
		x.mu.RUnlock()
		if err := p.record(deliveryKey(d.id), d.place, d.meta); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) events(x *index) error {
	for i := range x.events.n {
		e := x.events.at(i)
		if err := p.record(eventKey(e.key), e.place, 0); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) failed(x *index) error {
	for _, h := range sortedHashes(x, x.failed) {
		x.mu.RLock()
		all := slices.Clone(x.failed[h])
		x.mu.RUnlock()
		for _, i := range all {
			x.mu.RLock()
			id := x.deliveries.at(int(i)).id
			x.mu.RUnlock()
			if err := p.put(appendIndexKey(nil, kindFailed, h, id)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *packer) due(x *index) error {
	for _, h := range sortedHashes(x, x.due) {
		x.mu.RLock()
		all := slices.Clone(x.due[h])
		x.mu.RUnlock()
		for _, d := range all {
			x.mu.RLock()
			id := x.deliveries.at(int(d.delivery)).id
			x.mu.RUnlock()
			if err := p.put(appendDueKey(nil, h, d.ms, id)); err != nil {
				return err
			}
		}
	}
	return nil
}

func sortedHashes[T any](x *index, m map[[4]byte][]T) [][4]byte {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return slices.SortedFunc(maps.Keys(m), func(a, b [4]byte) int { return bytes.Compare(a[:], b[:]) })
}

// copyTail copies the settlements that were committed since it last did, or
// since the tables were begun. Mostly there are none. It calls step before each
// group.
func (p *packer) copyTail(step func()) error {
	end := p.journal.index.end()
	if p.copied == end {
		return nil
	}
	if err := p.o.mayWriteTables(2 * (end - p.copied)); err != nil {
		return err
	}
	db, err := openBadger(p.s.dir, p.o.opt.limits.memTable, p.o.opt.Logger)
	if err != nil {
		return err
	}
	batch := db.NewWriteBatch()
	defer batch.Cancel()
	for p.copied < end && err == nil {
		step()
		err = p.copyGroup(batch)
	}
	if err == nil {
		err = batch.Flush()
	}
	return errors.Join(err, db.Close())
}

// copyGroup copies the settlements of one group.
func (p *packer) copyGroup(batch *badgerdb.WriteBatch) error {
	group, next, err := p.journal.log.group(p.copied)
	if err != nil {
		return err
	}
	err = eachEntry(group, func(e entry, _ int) error {
		all, err := e.withDerived()
		for i := range all {
			if err == nil {
				err = batch.SetEntry(all[i].badger())
			}
		}
		return err
	})
	p.copied = next
	return err
}

// withDerived returns an entry of a settlement, and those that follow from it.
func (e *entry) withDerived() ([]entry, error) {
	all := []entry{{key: bytes.Clone(e.key), value: bytes.Clone(e.value), meta: e.meta}}
	if e.key[0] != kindDelivery {
		return all, nil
	}
	h, err := decodeHead(e.value)
	if err != nil {
		return nil, err
	}
	id := storage.DeliveryID(e.key[1:])
	hash := hash4(string(h.endpoint()))
	if h.status == statusFailed {
		all = append(all, entry{key: appendIndexKey(nil, kindFailed, hash, id)})
	}
	if h.next != 0 {
		all = append(all, entry{key: appendDueKey(nil, hash, h.next, id)})
	}
	return all, nil
}

// logWindow reads records of a log that mostly follow each other, if not
// closely: deliveries end in another order than they began in.
type logWindow struct {
	log   io.ReaderAt
	start int64
	buf   []byte
	apart []byte
	far   int64 // the last place far ahead
}

const windowSize = 512 << 10

// read returns what stands at the place; it is good until the next call. What
// was committed since the window was read may come out as zeros: packing reads
// such things only where copyTail will write them once more.
func (w *logWindow) read(p place) ([]byte, error) {
	at, n := p.at(), p.n()
	end := w.start + int64(len(w.buf))
	switch {
	case at >= w.start && at+int64(n) <= end:
	case at < w.start || w.isStray(at, end) || n > windowSize/2:
		// Not worth leaving the window for.
		w.apart = slices.Grow(w.apart[:0], n)[:n]
		if _, err := w.log.ReadAt(w.apart, at); err != nil {
			return nil, fmt.Errorf("reading the commit log: %w", err)
		}
		return w.apart, nil
	default:
		w.start = max(0, at-windowSize/4)
		w.buf = slices.Grow(w.buf[:0], windowSize)[:windowSize]
		got, err := w.log.ReadAt(w.buf, w.start)
		w.buf = w.buf[:got]
		if w.start+int64(got) < at+int64(n) {
			return nil, fmt.Errorf("reading the commit log: %w", err)
		}
	}
	return w.buf[at-w.start:][:n:n], nil
}

// isStray says whether a place is far ahead, and the one before was not.
func (w *logWindow) isStray(at, end int64) bool {
	if at <= end+windowSize {
		return false
	}
	far := w.far
	w.far = at
	return at < far || at > far+windowSize
}

// rewind begins at the front again.
func (w *logWindow) rewind() { *w = logWindow{log: w.log, buf: w.buf[:0], apart: w.apart} }

// group reads the group that begins at an offset, and returns its payload and
// where the next one begins.
func (l *commitLog) group(at int64) (payload []byte, next int64, err error) {
	b := make([]byte, logGroupHeader)
	if _, err := l.ReadAt(b, at); err != nil {
		return nil, 0, fmt.Errorf("reading %s: %w", l.path, err)
	}
	_, size, ok := l.key.parse(b)
	if ok {
		b = append(b, make([]byte, size)...)
		if _, err := l.ReadAt(b[logGroupHeader:], at+logGroupHeader); err != nil {
			return nil, 0, fmt.Errorf("reading %s: %w", l.path, err)
		}
		ok = l.key.verify(b)
	}
	if !ok {
		return nil, 0, fmt.Errorf("reading %s at byte %d: %w", l.path, at, errDamaged)
	}
	return b[logGroupHeader:], at + int64(len(b)), nil
}
