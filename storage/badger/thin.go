package badger

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/storage"
)

// A few deliveries that stay pending, of an endpoint that is paused say, would
// keep the whole history of their segment past the retention. Such a segment
// is thinned: what belongs to their events is written to a new database,
// which takes the place of the old one.

const (
	// thinShare is the greatest part of a segment's deliveries, one in so
	// many, that may be pending for thinning to be worth it.
	thinShare = 4

	// thinMost bounds how many may be, and so for how long the segment, which
	// is locked meanwhile, keeps others waiting: some tenths of a second.
	thinMost = 10_000

	// thinRest is how many times longer than the last thinning took the next
	// one waits: thinning keeps up with segments that fill every few seconds,
	// and takes a twentieth of one processor at most.
	thinRest = 20
)

// Beside a segment's directory stand, while it is thinned, the new one, and
// then the old one until the state says that it is not needed any more.
const (
	thinSuffix  = ".thin"
	thickSuffix = ".thick"
)

// thinOne thins the oldest segment that is worth it, of those that retention
// would have removed.
func (o *Outbox) thinOne() error {
	now := o.opt.Now()
	if now.Before(o.thinAfter) {
		return nil
	}
	size := o.space.bytes.Load()
	for _, s := range *o.segments.Load() {
		if !s.canThin() || s == o.packing.Load() || s.isDamaged() || !o.isOverdue(s, size) {
			continue
		}
		err := o.thin(s, size)
		end := o.opt.Now()
		o.thinAfter = end.Add(thinRest * end.Sub(now))
		if err != nil {
			o.thinAfter = end.Add(o.opt.limits.repack)
			err = fmt.Errorf("thinning segment %s: %w", s.dir, err)
		}
		return err
	}
	return nil
}

func (s *segment) canThin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := 0
	for _, n := range s.counts {
		all += n
	}
	pending := s.counts[statusPending]
	return s.sealed && s.packed && !s.thinned && !s.removed && pending > 0 && pending <= min(all/thinShare, thinMost)
}

// thin takes what is finished out of a segment, but for the deliveries that
// have a pending one of the same event beside them. The outbox has the given
// size.
func (o *Outbox) thin(s *segment, size int64) error {
	s.use.Lock()
	defer s.use.Unlock()
	if o.failure() != nil || !s.canThin() || s.oldestLog() != 0 { // its writer may wait for a table
		return nil
	}
	if err := s.open(); err != nil {
		return err
	}
	s.w.stop() // callers that have left may have left something to commit
	defer func() {
		if s.db != nil { // it is still open
			s.w = newWriter(o, s, s.db)
		}
	}()
	if !s.canThin() || !o.isOverdue(s, size) { // since something was settled
		return nil
	}
	thinned, err := o.writeThin(s)
	if err == nil {
		err = s.close()
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(s.dir+thinSuffix))
	}
	before := s.events
	if err := s.replaceBy(thinned); err != nil {
		return err
	}
	o.opt.Logger.Debug("outbox gave back the room of old history beside pending deliveries",
		zap.String("path", s.dir), zap.Int("events_before", before), zap.Int("events", s.events))
	return nil
}

// writeThin writes the new database, and returns a segment that was counted
// from it.
func (o *Outbox) writeThin(s *segment) (*segment, error) {
	dir := s.dir + thinSuffix
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		return nil, err
	}
	kept := make(map[storage.EventKey]bool)
	err := s.read(func(v view) error {
		t := thinner{v: v.(tables), kept: kept, tables: newTableWriter(dir, o.mayWriteTables)}
		defer t.tables.release()
		return t.run()
	})
	if err != nil {
		return nil, err
	}
	return s.countThin(dir, kept)
}

// countThin opens the new database and counts what is in it, which must be
// all that is pending, and whole: iterators may pass over damage in silence.
func (s *segment) countThin(dir string, kept map[storage.EventKey]bool) (*segment, error) {
	db, err := openBadger(dir, s.o.opt.limits.memTable, s.o.opt.Logger)
	if err != nil {
		return nil, err
	}
	thinned := newSegment(s.o, s.n)
	txn := db.NewTransaction(false)
	if err = thinned.scan(tables{txn}); err == nil {
		err = errors.Join(checkEvents(tables{txn}, kept), checkIndexes(tables{txn}))
	}
	txn.Discard()
	if err = errors.Join(err, db.Close(), syncDir(dir), syncDir(filepath.Dir(dir))); err != nil {
		return nil, err
	}
	if got, want := thinned.counts[statusPending], s.counts[statusPending]; got != want {
		return nil, fmt.Errorf("%d pending deliveries came through instead of %d", got, want)
	}
	if thinned.events != len(kept) || thinned.short > s.short {
		return nil, fmt.Errorf("%d events came through instead of %d, without %d deliveries", thinned.events, len(kept), thinned.short)
	}
	return thinned, nil
}

// checkEvents sees that every event can be read as a whole, and found by its
// id.
func checkEvents(v view, keys map[storage.EventKey]bool) error {
	for key := range keys {
		e, err := readEvent(v, key)
		if err != nil {
			return fmt.Errorf("event %x did not come through: %w", key, err)
		}
		if _, found, err := readID(v, hashID(e.ID)); err != nil || !slices.Contains(found, key) {
			return fmt.Errorf("the id of event %x did not come through: %w", key, cmp.Or(err, storage.ErrNotFound))
		}
	}
	return nil
}

// checkIndexes sees that what is pending can be found by its endpoint, and by
// the time at which it is due.
func checkIndexes(v view) error {
	deliveries, indexed := 0, 0
	err := walk(v, []byte{kindDelivery}, func(c cursor) (bool, error) {
		deliveries++
		if c.meta()&metaStatus != statusPending {
			return true, nil
		}
		id := storage.DeliveryID(c.key()[1:])
		return true, c.value(func(record []byte) error {
			h, err := decodeHead(record)
			if err != nil || h.next == 0 {
				return err
			}
			_, err = v.get(appendDueKey(nil, hash4(string(h.endpoint())), h.next, id))
			return err
		})
	})
	if err == nil {
		err = walk(v, []byte{kindEndpoint}, func(cursor) (bool, error) { indexed++; return true, nil })
	}
	if err != nil || indexed != deliveries {
		return fmt.Errorf("%d of %d deliveries are in the indexes: %w", indexed, deliveries, cmp.Or(err, errDamaged))
	}
	return nil
}

// replaceBy puts the new database in the place of the old one, which stays
// until the state knows. A failure in between leaves what the next start
// mends.
func (s *segment) replaceBy(thinned *segment) error {
	if !s.o.makeRoom(slack) { // for the state
		return errors.Join(errNoRoom, os.RemoveAll(s.dir+thinSuffix))
	}
	err := os.Rename(s.dir, s.dir+thickSuffix)
	if err == nil {
		err = os.Rename(s.dir+thinSuffix, s.dir)
	}
	if err == nil {
		err = syncDir(filepath.Dir(s.dir))
	}
	if err != nil {
		s.o.poison(err)
		return err
	}
	s.noteTables()
	s.mu.Lock()
	s.events, s.counts, s.short = thinned.events, thinned.counts, thinned.short
	s.first, s.last, s.reach = thinned.first, thinned.last, thinned.reach
	s.ids, s.codeless = thinned.ids, thinned.codeless
	s.freeze()
	s.thinned, s.sizeKnown, s.vet.unread = true, false, nil
	s.mu.Unlock()
	if err := s.o.saveState(); err != nil {
		// Which of the two the state describes is not known.
		s.o.poison(err)
		return err
	}
	return os.RemoveAll(s.dir + thickSuffix)
}

// settleThinnings ends those that were cut off: the database that the state
// describes stays. New ones without a name go when the files are listed.
func (o *Outbox) settleThinnings(known map[uint32]segmentState) error {
	root := filepath.Join(o.dir, segmentsDir)
	thick, err := filepath.Glob(filepath.Join(root, "*"+thickSuffix))
	for _, path := range thick {
		dir := strings.TrimSuffix(path, thickSuffix)
		n, parseErr := strconv.ParseUint(filepath.Base(dir), 16, 32)
		if parseErr == nil && !known[uint32(n)].Thinned {
			err = errors.Join(err, os.RemoveAll(dir), os.Rename(path, dir), syncDir(root))
		} else {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	if err != nil {
		return fmt.Errorf("ending the thinning of a segment: %w", err)
	}
	return nil
}

// thinner writes the records of the events that something is pending of.
type thinner struct {
	v      tables
	kept   map[storage.EventKey]bool
	tables *tableWriter
}

// run writes them in the order of their keys. The numbers say where the key of
// the event begins in those of a kind.
func (t *thinner) run() error {
	for _, step := range []func() error{
		t.find,
		func() error { return t.copy(kindAttempt, 1) },
		func() error { return t.copy(kindChunk, 1) },
		func() error { return t.copy(kindDelivery, 1) },
		func() error { return t.copy(kindEvent, 1) },
		func() error { return t.copy(kindFailed, 1+4) },
		t.ids,
		func() error { return t.copy(kindDue, 1+4+6) },
		func() error { return t.index(kindType) },
		func() error { return t.index(kindEndpoint) },
		t.tables.finish,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// find finds the events that something is pending of.
func (t *thinner) find() error {
	return walk(t.v, []byte{kindDelivery}, func(c cursor) (bool, error) {
		if c.meta()&metaStatus == statusPending {
			t.kept[storage.EventKey(c.key()[1:])] = true
		}
		return true, nil
	})
}

// copy copies records as they are.
func (t *thinner) copy(kind byte, at int) error {
	return walk(t.v, []byte{kind}, func(c cursor) (bool, error) {
		if !t.kept[storage.EventKey(c.key()[at:])] {
			return true, nil
		}
		return true, c.value(func(v []byte) error { return t.tables.put(c.key(), v, c.meta()) })
	})
}

// ids makes new blocks of public ids.
func (t *thinner) ids() error {
	it := newIterator(t.v.txn, []byte{kindID}, false)
	defer it.Close()
	b := idBlocks{tables: t.tables}
	for it.Rewind(); it.ValidForPrefix([]byte{kindID}); it.Next() {
		err := it.Item().Value(func(v []byte) (err error) {
			damage := eachID(v, func(h idHash, record []byte) {
				_, keys, e := decodeID(record)
				for _, k := range keys {
					if t.kept[k] && e == nil {
						e = b.add(h, record)
						break
					}
				}
				err = errors.Join(err, e)
			})
			return errors.Join(damage, err)
		})
		if err != nil {
			return err
		}
	}
	return b.flush()
}

// index makes new blocks of an index.
func (t *thinner) index(kind byte) error {
	var hash [4]byte
	var items []byte
	put := func() error {
		if len(items) == 0 {
			return nil
		}
		err := putIndex(t.tables, kind, hash, items)
		items = items[:0]
		return err
	}
	err := walk(t.v, []byte{kind}, func(c cursor) (bool, error) {
		key := c.key()
		if !t.kept[storage.EventKey(key[5:])] {
			return true, nil
		}
		if !bytes.Equal(hash[:], key[1:5]) {
			if err := put(); err != nil {
				return false, err
			}
			hash = [4]byte(key[1:5])
		}
		items = append(items, key[5:]...)
		if kind == kindType { // with the number of deliveries
			return true, c.value(func(v []byte) error { items = append(items, v...); return nil })
		}
		return true, nil
	})
	return errors.Join(err, put())
}
