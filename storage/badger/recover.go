package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/storage"
)

// recover opens what is there, counts what is pending, and compares what it
// finds with what the state file says must be there.
func (o *Outbox) recover() error {
	if err := o.mayLose(); err != nil {
		return err
	}
	st, found, err := o.loadState()
	if errors.Is(err, errDamaged) && o.lossy {
		o.opt.Logger.Warn("outbox goes on without its state", zap.String("path", o.dir), zap.Error(err))
		st, found, err = state{}, false, nil
	}
	if err != nil {
		return err
	}
	o.state.high = storage.EventKey(st.HighWater)
	lostStates, err := o.loadEndpoints(st)
	if err != nil {
		return err
	}
	segs, losses, err := o.listSegments(st, found)
	if err != nil {
		return err
	}
	losses = append(losses, lostStates)
	o.segments.Store(&segs)
	if err := o.loadSegments(segs); err != nil {
		return err
	}
	losses = append(losses, o.compare(st, segs)...)
	o.resumeEnds(st, segs)
	o.resumeKeys(st, segs)
	if loss := errors.Join(losses...); loss != nil {
		if !o.lossy {
			o.poison(fmt.Errorf("data is missing (to go on without it, set accept_data_loss for one start): %w", loss))
		} else {
			o.opt.Logger.Warn("outbox goes on without what is missing", zap.String("path", o.dir), zap.Error(loss))
		}
	}
	if o.failure() == nil {
		dropOrphans(segs)
		if !o.makeRoom(slack) { // for the state
			return o.lackOfRoom(slack)
		}
		if err := o.noteAcceptance(); err != nil {
			return err
		}
		if err := o.activate(); err != nil {
			return err
		}
	}
	o.measure()
	return nil
}

// acceptedPath is that of an empty file which says that AcceptDataLoss has done
// its work.
func (o *Outbox) acceptedPath() string { return filepath.Join(o.dir, "ACCEPTED") }

// mayLose finds out whether a loss is accepted.
func (o *Outbox) mayLose() error {
	o.lossy = o.opt.AcceptDataLoss
	if !o.lossy {
		if err := os.Remove(o.acceptedPath()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("taking back the acceptance of a loss: %w", err)
		}
		return nil
	}
	if _, err := os.Lstat(o.acceptedPath()); err == nil {
		o.lossy = false
		o.opt.Logger.Warn("accept_data_loss has done its work at an earlier start and is ignored: take it out", zap.String("path", o.dir))
	}
	return nil
}

func (o *Outbox) noteAcceptance() error {
	if !o.lossy {
		return nil
	}
	return replaceFile(o.acceptedPath(), nil)
}

// listSegments lines up the files with the state. Those left by a removal or
// a packing that was cut off are removed.
func (o *Outbox) listSegments(st state, found bool) (segs []*segment, losses []error, err error) {
	known := st.bySegment()
	newest := uint32(0)
	for n := range known {
		newest = max(newest, n)
	}
	if err := o.settleThinnings(known); err != nil {
		return nil, nil, err
	}
	files, err := o.listFiles(func(n uint32) bool {
		_, isKnown := known[n]
		return found && !isKnown && n < newest
	})
	if err != nil {
		return nil, nil, err
	}
	for n, f := range files {
		s := newSegment(o, n)
		st, seg := st, known[n]
		s.recall(seg)
		s.thinned = seg.Thinned
		s.expect(st, seg)
		if err := s.chooseForm(f, seg); err != nil {
			return nil, nil, err
		}
		delete(known, n)
		segs = append(segs, s)
	}
	for n := range known {
		losses = append(losses, fmt.Errorf("segment %s is missing", segmentName(n)))
	}
	if !found && len(segs) > 0 {
		losses = append(losses, fmt.Errorf("%s is missing", o.statePath()))
	}
	slices.SortFunc(segs, func(a, b *segment) int { return int(a.n) - int(b.n) })
	return segs, losses, nil
}

// formsFound says which of a segment's two forms there are.
type formsFound struct{ journal, database bool }

// listFiles finds the segments, and removes those that are to be gone.
func (o *Outbox) listFiles(gone func(n uint32) bool) (map[uint32]formsFound, error) {
	root := filepath.Join(o.dir, segmentsDir)
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("listing segments: %w", err)
	}
	files := make(map[uint32]formsFound)
	for _, e := range entries {
		name, isJournal := strings.CutSuffix(e.Name(), logSuffix)
		n, err := strconv.ParseUint(name, 16, 32)
		isSegment := err == nil && segmentName(uint32(n)) == name
		switch {
		case isRemoving(e.Name()), strings.HasSuffix(e.Name(), thinSuffix), isSegment && gone(uint32(n)):
			if err := os.RemoveAll(filepath.Join(root, e.Name())); err != nil {
				return nil, fmt.Errorf("removing a segment: %w", err)
			}
		case isSegment:
			f := files[uint32(n)]
			f.journal = f.journal || isJournal
			f.database = f.database || !isJournal
			files[uint32(n)] = f
		}
	}
	return files, nil
}

// chooseForm settles which form counts where there are both: the journal,
// until the state says that it was packed.
func (s *segment) chooseForm(f formsFound, st segmentState) error {
	s.packed = st.Journal == 0 && (st.N != 0 || !f.journal)
	s.journalEnd = st.Journal
	switch {
	case s.packed && f.journal:
		if err := os.Remove(s.logPath()); err != nil {
			return fmt.Errorf("removing a journal that was packed: %w", err)
		}
	case !s.packed && f.journal && f.database:
		if err := os.RemoveAll(s.dir); err != nil {
			return fmt.Errorf("removing what was not packed to the end: %w", err)
		}
	}
	return nil
}

// recall takes over what the state says; a finished segment needs no more.
func (s *segment) recall(st segmentState) {
	s.sealed, s.sealedAt, s.createdAt, s.endedAt = st.Sealed, st.SealedAt, st.CreatedAt, st.EndedAt
	if !st.Finished || len(st.Counts) != len(s.counts) {
		return
	}
	data, err := os.ReadFile(s.idsPath())
	if err != nil {
		return
	}
	ids, err := decodeBloom(data)
	if err != nil {
		return
	}
	s.ids, s.stored, s.codeless = ids, true, st.Codeless
	s.freeze()
	s.first, s.last, s.events = storage.EventKey(st.First), storage.EventKey(st.Last), st.Events
	s.reach = s.last
	copy(s.counts[:], st.Counts)
	s.short = st.Short
}

// loadSegments opens and scans those that may hold something pending, side by
// side, for a scan is bound by the processor.
func (o *Outbox) loadSegments(segs []*segment) error {
	work := make(chan *segment)
	errs := make([]error, min(runtime.GOMAXPROCS(0), 4))
	var wg sync.WaitGroup
	var opened atomic.Int64
	for i := range errs {
		wg.Go(func() {
			for s := range work {
				if err := o.load(s, &opened); err != nil {
					errs[i] = errors.Join(errs[i], err)
				}
			}
		})
	}
	for _, s := range segs {
		// What turned up later in a finished one would be another loss.
		if !s.stored || o.lossy {
			work <- s
		}
	}
	close(work)
	wg.Wait()
	return errors.Join(errs...)
}

// load opens and scans a segment, and leaves it open unless many are.
func (o *Outbox) load(s *segment, opened *atomic.Int64) error {
	s.use.Lock()
	if s.stored {
		defer s.use.Unlock()
		err := s.examine()
		s.noteTables()
		if err != nil {
			return fmt.Errorf("examining segment %s: %w", s.dir, err)
		}
		return nil
	}
	err := s.open()
	s.use.Unlock()
	if s.vet.damaged != nil {
		return nil // compare tells of the damage, of all segments at once
	}
	if err == nil && s.packed {
		err = s.view(s.scan)
		if opened.Add(1) > int64(o.opt.limits.idle) {
			s.use.Lock()
			if closing := s.close(); !errors.Is(closing, errNoRoom) {
				err = errors.Join(err, closing)
			}
			s.use.Unlock()
		}
	}
	if err != nil {
		return fmt.Errorf("examining segment %s: %w", s.dir, err)
	}
	o.pending.Add(int64(s.counts[statusPending]))
	return nil
}

// scan counts what the segment holds: events by the index of types, whose
// keys are short, public ids for the filter, deliveries by their user meta.
func (s *segment) scan(v view) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	promised := 0
	prefix := []byte{kindType}
	err := walk(v, prefix, func(c cursor) (bool, error) {
		key := storage.EventKey(c.key()[5:])
		if s.events == 0 || compareKeys(key, s.first) < 0 {
			s.first = key
		}
		if compareKeys(key, s.last) > 0 {
			s.last = key
		}
		s.events++
		s.ids.add(facet(kindType, [4]byte(c.key()[1:])))
		return true, c.value(func(b []byte) error {
			promised += int(binary.BigEndian.Uint16(b))
			return nil
		})
	})
	if err != nil {
		return err
	}
	s.reach = s.last
	prefix = []byte{kindID}
	err = walk(v, prefix, func(c cursor) (bool, error) {
		return true, c.value(func(b []byte) error {
			return eachID(b, func(h idHash, _ []byte) { s.ids.add(h) })
		})
	})
	if err != nil {
		return err
	}
	prefix = []byte{kindEndpoint}
	err = walk(v, prefix, func(c cursor) (bool, error) {
		s.ids.add(facet(kindEndpoint, [4]byte(c.key()[1:])))
		return true, nil
	})
	if err != nil {
		return err
	}
	s.codeless = true // only pending deliveries are read
	prefix = []byte{kindDelivery}
	deliveries := 0
	err = walk(v, prefix, func(c cursor) (bool, error) {
		deliveries++
		id := storage.DeliveryID(c.key()[1:])
		if c.meta()&metaStatus != statusPending {
			return true, s.countDelivery(id, c.meta(), nil)
		}
		return true, c.value(func(b []byte) error { return s.countDelivery(id, c.meta(), b) })
	})
	s.short = promised - deliveries
	s.freeze()
	return err
}

// compare finds what is missing: below the high-water mark, in the unbroken
// sequence of events, or among an event's deliveries.
func (o *Outbox) compare(st state, segs []*segment) (losses []error) {
	known := st.bySegment()
	var before *segment
	for _, s := range segs {
		if s.vet.damaged != nil {
			losses = append(losses, s.vet.loss)
			before = nil
			continue
		}
		if s.events == 0 && known[s.n].Events == 0 {
			continue
		}
		if err := s.compare(known[s.n], before); err != nil {
			losses = append(losses, fmt.Errorf("segment %s: %w", segmentName(s.n), err))
		} else if st.Clean && !slices.Equal(s.counts[:], known[s.n].Counts) {
			losses = append(losses, fmt.Errorf("segment %s: it has %v deliveries by status instead of %v", segmentName(s.n), s.counts, known[s.n].Counts))
		}
		before = s
	}
	return losses
}

func (s *segment) compare(st segmentState, before *segment) error {
	first, last := storage.EventKey(st.First), storage.EventKey(st.Last)
	switch {
	case s.events == 0:
		return fmt.Errorf("%d events are missing", st.Events)
	case st.Events > 0 && s.first != first:
		return fmt.Errorf("it begins with event %x instead of %x", s.first, first)
	case st.Events > 0 && compareKeys(s.last, last) < 0:
		return fmt.Errorf("it ends with event %x before %x", s.last, last)
	case st.Events > 0 && s.events != st.Events+int(s.last.Seq()-last.Seq()):
		return fmt.Errorf("it has %d events instead of %d", s.events, st.Events+int(s.last.Seq()-last.Seq()))
	case st.Events == 0 && s.events != 1+int(s.last.Seq()-s.first.Seq()):
		return fmt.Errorf("it has %d events instead of %d", s.events, 1+int(s.last.Seq()-s.first.Seq()))
	case st.Events == 0 && before != nil && before.n+1 == s.n && !before.thinned && s.first.Seq() != before.last.Seq()+1:
		return fmt.Errorf("events are missing before %x", s.first)
	case s.short != st.Short:
		return fmt.Errorf("%d deliveries are missing", s.short-st.Short)
	}
	return nil
}

// resumeEnds finds segments in which something was finished since the state was
// written: it is kept for the whole retention from now on, because nobody knows
// since when it was finished.
func (o *Outbox) resumeEnds(st state, segs []*segment) {
	known := st.bySegment()
	for _, s := range segs {
		if !slices.Equal(s.counts[:], known[s.n].Counts) {
			s.endedAt = max(s.endedAt, o.opt.Now().UnixMilli())
		}
	}
}

// resumeKeys goes on after the greatest key that was ever given away.
func (o *Outbox) resumeKeys(st state, segs []*segment) {
	var last storage.EventKey
	for _, s := range segs {
		if compareKeys(s.last, last) > 0 {
			last = s.last
		}
	}
	o.lastMilli, o.seq = last.Milli(), last.Seq()
	if high := storage.EventKey(st.HighWater); compareKeys(high, last) > 0 {
		// The sequence goes on unbroken after a loss, and no key is given
		// away twice.
		o.lastMilli = high.Milli() + 1
	}
}

// activate finds or makes the segment for new events.
func (o *Outbox) activate() error {
	segs := *o.segments.Load()
	for i, s := range segs {
		if !s.sealed && !s.packed && i == len(segs)-1 {
			o.active.Store(s)
			return o.saveState()
		}
		// A crash right after the change-over leaves two that are not sealed.
		s.sealed = true
	}
	s, err := o.addSegment()
	if err != nil {
		return err
	}
	o.active.Store(s)
	return nil
}
