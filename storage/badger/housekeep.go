package badger

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"
)

// maxRemovals bounds what one round of housekeeping removes, so that a clock
// that jumped ahead does not take all history with it at once.
const maxRemovals = 4

// housekeep is the one goroutine beside the writers and what packs.
func (o *Outbox) housekeep() {
	defer o.housework.Done()
	t := time.NewTicker(o.opt.limits.tick)
	defer t.Stop()
	for {
		o.tidy()
		select {
		case <-t.C:
		case <-o.wake:
		case <-o.stop:
			return
		}
	}
}

// tidy is one round of housekeeping.
func (o *Outbox) tidy() {
	o.houseMu.Lock()
	defer o.houseMu.Unlock()
	if o.failure() == nil {
		o.report("preparing the next segment", o.prepareNext())
		o.keepReserve()
	}
	surplus := o.unpacked() - o.opt.limits.journals
	for _, s := range *o.segments.Load() {
		o.report("tending a segment", o.tend(s, &surplus))
	}
	o.closeIdle()
	o.measure()
	o.scrub()
	if o.failure() == nil {
		o.watchFlushes()
		o.report("removing old segments", o.retain())
		o.report("giving back room", o.thinOne())
		o.report("writing the state", o.saveState())
	}
}

func (o *Outbox) report(doing string, err error) {
	if err != nil {
		o.opt.Logger.Error(doing+" failed", zap.String("path", o.dir), zap.Error(err))
	}
}

// full says that the segment should take no more events.
func (s *segment) full() bool {
	lim := &s.o.opt.limits
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.events == 0 || s.sealed {
		return false
	}
	n := 0
	for _, c := range s.counts {
		n += c
	}
	age := time.Duration(s.o.opt.Now().UnixMilli()-s.first.Milli()) * time.Millisecond
	return n >= lim.deliveries || s.events >= lim.deliveries || s.written >= lim.bytes || age >= lim.age
}

// prepareNext makes the segment to which the active one's writer changes
// over. It stands in the state before it is used.
func (o *Outbox) prepareNext() error {
	if o.next.Load() != nil || !o.active.Load().full() || !o.roomForSegment() {
		return nil
	}
	s, err := o.addSegment()
	if err != nil {
		return err
	}
	o.next.Store(s)
	return nil
}

// addSegment makes an empty segment, open for events.
func (o *Outbox) addSegment() (*segment, error) {
	segs := *o.segments.Load()
	n := uint32(1)
	if len(segs) > 0 {
		n = segs[len(segs)-1].n + 1
	}
	s := newSegment(o, n)
	s.createdAt = o.opt.Now().UnixMilli()
	s.use.Lock()
	err := s.createJournal()
	s.use.Unlock()
	if err != nil {
		return nil, err
	}
	more := append(slices.Clone(segs), s)
	o.segments.Store(&more)
	if err := o.saveState(); err != nil {
		o.segments.Store(&segs)
		s.use.Lock()
		defer s.use.Unlock()
		return nil, errors.Join(err, s.close(), os.Remove(s.logPath()))
	}
	return s, nil
}

// unpacked counts the sealed segments that are journals because something in
// them is pending.
func (o *Outbox) unpacked() (n int) {
	for _, s := range *o.segments.Load() {
		s.mu.Lock()
		if s.sealed && !s.packed && s.counts[statusPending] > 0 {
			n++
		}
		s.mu.Unlock()
	}
	return n
}

// tend packs a sealed segment, once nothing in it is pending or it has been a
// journal for long, and as many of the oldest as are too many. It closes a
// packed one when it is finished.
func (o *Outbox) tend(s *segment, surplus *int) error {
	s.mu.Lock()
	sealed, packed, stored := s.sealed, s.packed, s.stored
	since := o.opt.Now().UnixMilli() - s.sealedAt
	s.mu.Unlock()
	switch {
	case !sealed || s.isDamaged() || s.isRemoved():
		return nil
	case !packed:
		finished := s.finished()
		if finished || *surplus > 0 || since >= o.opt.limits.drain.Milliseconds() {
			if o.startPacking(s) && !finished {
				*surplus--
			}
		}
		return nil
	case s.finished() && !stored && o.makeRoom(0): // closing flushes
		return s.finish()
	}
	return nil
}

// startPacking packs the segment beside the housekeeping, one at a time, and
// says whether it is packed now, or waits for another, which then hurries.
func (o *Outbox) startPacking(s *segment) bool {
	if s == o.packing.Load() {
		return true
	}
	now := o.uptime()
	wait := time.Duration(s.packAfter.Load()) - now
	if o.stopping() || o.failure() != nil || wait > 0 && wait <= o.opt.limits.repack {
		return false
	}
	if !o.packing.CompareAndSwap(nil, s) {
		o.hurry.Store(true)
		return true
	}
	o.hurry.Store(false)
	s.packAfter.Store(int64(now + o.opt.limits.repack))
	if o.askSpaceNow(); !o.mayPack(s.journalSize() + o.lowWater()) {
		o.packing.Store(nil)
		return false
	}
	o.housework.Go(func() {
		err := o.pack(s)
		o.packing.Store(nil)
		if !errors.Is(err, errStopped) {
			o.report("packing a segment", err)
		}
		o.wakeHousekeeper()
	})
	if o.opt.limits.tick < 0 {
		o.housework.Wait() // nobody keeps house but the caller
	}
	return true
}

// finish closes a finished segment and keeps its filter of ids in a file, so
// that it need not be opened again to start.
func (s *segment) finish() error {
	s.use.Lock()
	defer s.use.Unlock()
	if !s.finished() {
		return nil // a settlement came first
	}
	if err := s.close(); err != nil {
		return err
	}
	s.mu.Lock()
	b := s.ids.encode()
	s.mu.Unlock()
	if err := s.o.replaceFile(s.idsPath(), b); err != nil {
		return err
	}
	s.mu.Lock()
	s.stored = true
	s.mu.Unlock()
	return nil
}

func (s *segment) idsPath() string { return filepath.Join(s.dir, "IDS") }

// unusedFor is how long a database stays open when more are open than should
// be, and settledFor the same where closing would write a table of what was
// settled.
const (
	unusedFor  = 5 * time.Second
	settledFor = 20 * time.Second
)

// closeIdle closes the databases that were not used for the longest time, when
// too many are open: each has memtables, a cache and a dozen goroutines. Those
// in which something is pending will be used again, and are given a while; so
// are some of those that are read, because one who pages through the history
// asks the same ones for every page.
func (o *Outbox) closeIdle() {
	var open []*segment
	reads := make(map[*segment]bool)
	for _, s := range *o.segments.Load() {
		s.use.RLock()
		if s.db != nil {
			open = append(open, s)
			if s.w == nil {
				reads[s] = true
			}
		}
		s.use.RUnlock()
	}
	if len(open) <= o.opt.limits.idle || !o.makeRoom(0) {
		return
	}
	slices.SortFunc(open, func(a, b *segment) int { return cmp.Compare(a.lastUsed.Load(), b.lastUsed.Load()) })
	for _, s := range open[:len(open)-o.opt.limits.idle] {
		if s.inUse(reads[s] && len(reads) <= o.opt.limits.readers) {
			continue
		}
		delete(reads, s)
		s.use.Lock()
		o.report("closing a segment", s.close())
		s.use.Unlock()
	}
}

// inUse says whether the database will probably be used again soon. A finished
// one is not, unless pages of the history may be read from it.
func (s *segment) inUse(mayRead bool) bool {
	if s.finished() && !mayRead {
		return false
	}
	stays := unusedFor
	if s.unflushed() > 0 {
		stays = settledFor
	}
	return (s.o.uptime() - time.Duration(s.lastUsed.Load())).Abs() < stays
}

// retain removes finished segments: those older than the retention, and the
// oldest while the outbox is near its greatest size.
func (o *Outbox) retain() error {
	bytes := o.space.bytes.Load()
	removed := 0
	var errs []error
	for _, s := range *o.segments.Load() {
		if removed == maxRemovals {
			break
		}
		if !s.finished() || s == o.active.Load() || s == o.packing.Load() {
			continue
		}
		if !o.isOverdue(s, bytes) {
			continue
		}
		bytes -= s.measure()
		err := o.remove(s)
		if err == nil {
			removed++
		} else if !errors.Is(err, errPending) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// isOverdue says whether what is finished in the segment was so for longer than
// the retention, or has to make room in an outbox of so many bytes.
func (o *Outbox) isOverdue(s *segment, bytes int64) bool {
	b := o.bounds.Load()
	s.mu.Lock()
	last := max(s.last.Milli(), s.endedAt)
	s.mu.Unlock()
	return last <= o.opt.Now().Add(-b.retention).UnixMilli() || bytes >= b.maxSize/10*9
}

// remove takes a segment out of the list, then out of the state, and then
// off the disk: a crash in between leaves a directory that is not in the
// state and goes at the next start.
func (o *Outbox) remove(s *segment) error {
	if err := s.leave(); err != nil {
		return err
	}
	segs := slices.DeleteFunc(slices.Clone(*o.segments.Load()), func(x *segment) bool { return x == s })
	o.segments.Store(&segs)
	if err := o.saveState(); err != nil {
		return err
	}
	damaged, _ := keptDamage(s.logPath())
	for _, name := range append(damaged, s.logPath()) {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing a segment: %w", err)
		}
	}
	if err := os.Rename(s.dir, s.dir+removingSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing a segment: %w", err)
	}
	if err := os.RemoveAll(s.dir + removingSuffix); err != nil {
		return fmt.Errorf("removing a segment: %w", err)
	}
	return nil
}

// leave closes the segment for ever, unless something in it is pending.
func (s *segment) leave() error {
	s.use.Lock()
	defer s.use.Unlock()
	if !s.finished() {
		return errPending
	}
	if s.journal != nil {
		// What closing a log fails for does not matter any more.
		_ = s.close()
	} else if err := s.close(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removed = true
	return nil
}

// errPending means that a segment cannot be removed.
var errPending = errors.New("a delivery in it is pending")
