package badger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/storage"
)

const segmentsDir = "segments"

// Outbox is a storage.Outbox in one directory of the local disk.
type Outbox struct {
	dir  string
	opt  Options
	lock *dirLock

	// opened is when Open was called; see uptime.
	opened time.Time

	// bounds hold the options that Configure changes.
	bounds atomic.Pointer[bounds]

	// gate is read-locked by every call and locked by Close: iterators on a
	// closed Badger database panic, so no call may overlap the closing.
	gate   sync.RWMutex
	closed bool

	// segments are in the order of their ids; the slice is never changed.
	segments atomic.Pointer[[]*segment]
	active   atomic.Pointer[segment]
	// next is ready to become active; the active segment's writer changes
	// over before it begins a group.
	next atomic.Pointer[segment]

	// lastMilli and seq make the keys. They belong to the writer of the
	// active segment and are handed on with it.
	lastMilli int64
	seq       uint32

	// packing is the segment that is being packed, if any, and hurry says that
	// another one waits for it, or Close does.
	packing atomic.Pointer[segment]
	hurry   atomic.Bool

	ids        *claims[idHash]
	deliveries *claims[storage.DeliveryID]

	// pending counts the pending deliveries, and admitted those of events
	// that are not committed yet.
	pending, admitted atomic.Int64

	space space

	// recovering says that Open is at work, and lossy that it goes on without
	// what is missing.
	recovering, lossy bool
	// closing says that the last state but one was written.
	closing atomic.Bool
	// examined counts the bytes of tables that were read to start.
	examined atomic.Int64

	failed  chan struct{}
	failErr atomic.Pointer[error]

	state  stateFile
	states endpointFile

	wake      chan struct{} // asks the housekeeper to come at once
	stop      chan struct{}
	housework sync.WaitGroup
	houseMu   sync.Mutex // held by housekeeping

	// thinAfter is when the next segment may be thinned; it belongs to the
	// housekeeper.
	thinAfter time.Time
}

// Open opens the outbox in the directory, which is made if it is missing,
// and recovers what is pending. Errors: one that wraps storage.ErrInUse when
// another process holds the outbox; one that says what to change when the
// directory is open to other users or the outbox was written by a newer
// version.
//
// An outbox of which something is missing or damaged opens for reading;
// Usage says why, and Options.AcceptDataLoss opens it for writing.
func Open(dir string, opt Options) (*Outbox, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("resolving the outbox directory: %w", err)
	}
	if err := prepareDir(dir); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	o := &Outbox{
		dir: dir, opt: opt, lock: lock, opened: opt.Now(),
		ids:        newClaims[idHash](),
		deliveries: newClaims[storage.DeliveryID](),
		failed:     make(chan struct{}),
		wake:       make(chan struct{}, 1),
		stop:       make(chan struct{}),
	}
	o.setBounds(opt)
	o.segments.Store(new([]*segment))
	o.recovering = true
	err = o.recover()
	o.recovering = false
	if err != nil {
		err = errors.Join(err, o.closeSegments())
		lock.release()
		return nil, fmt.Errorf("opening outbox %s: %w", dir, err)
	}
	if opt.limits.tick > 0 {
		o.housework.Add(1)
		go o.housekeep()
	}
	return o, nil
}

// prepareDir makes the directory, or checks that nobody else may write to it.
func prepareDir(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, segmentsDir), 0o700); err != nil {
		return fmt.Errorf("creating the outbox directory: %w", err)
	}
	fi, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("examining the outbox directory: %w", err)
	}
	if perm := fi.Mode().Perm(); checkPermissions && perm&0o022 != 0 {
		return fmt.Errorf("outbox directory %s can be written by other users (mode %04o): run chmod 0700 %s", dir, perm, dir)
	}
	return nil
}

// enter counts a call in. The caller unlocks o.gate for reading when err is
// nil.
func (o *Outbox) enter() error {
	o.gate.RLock()
	if o.closed {
		o.gate.RUnlock()
		return storage.ErrClosed
	}
	return nil
}

// Close implements storage.Outbox.
func (o *Outbox) Close() error {
	o.gate.Lock()
	if o.closed {
		o.gate.Unlock()
		return nil
	}
	o.closed = true
	o.gate.Unlock()
	o.hurry.Store(true)
	close(o.stop)
	o.housework.Wait()
	if o.active.Load() != nil {
		// While the segments are being closed, their logs vanish.
		o.closing.Store(true)
		if err := o.writeState(false); err != nil {
			o.report("writing the state", err)
		}
	}
	err := o.closeSegments()
	if o.failure() == nil {
		err = errors.Join(err, o.writeState(err == nil))
	}
	o.lock.release()
	return err
}

// stopping says that the outbox is being closed.
func (o *Outbox) stopping() bool {
	select {
	case <-o.stop:
		return true
	default:
		return false
	}
}

func (o *Outbox) closeSegments() error {
	var errs []error
	for _, s := range *o.segments.Load() {
		s.use.Lock()
		errs = append(errs, s.close())
		s.use.Unlock()
	}
	return errors.Join(errs...)
}

// Failed implements storage.Outbox.
func (o *Outbox) Failed() <-chan struct{} { return o.failed }

// uptime is how long the outbox has been open. With time.Now, the wall clock
// does not matter; another clock may go back, which callers must bear.
func (o *Outbox) uptime() time.Duration { return o.opt.Now().Sub(o.opened) }

// poison ends all writing until the process restarts.
func (o *Outbox) poison(cause error) {
	err := fmt.Errorf("%w: %w", storage.ErrFailed, cause)
	if o.failErr.CompareAndSwap(nil, &err) {
		o.opt.Logger.Error("outbox accepts nothing more until it is opened again", zap.String("path", o.dir), zap.Error(cause))
		close(o.failed)
	}
}

// failure returns why the outbox is poisoned, or nil.
func (o *Outbox) failure() error {
	if err := o.failErr.Load(); err != nil {
		return *err
	}
	return nil
}

// nextKey makes the next event's key; only the active segment's writer calls
// it. Milliseconds never decrease, whatever the clock does.
func (o *Outbox) nextKey() storage.EventKey {
	o.lastMilli = max(o.lastMilli, o.opt.Now().UnixMilli())
	o.seq++
	return storage.NewEventKey(o.lastMilli, o.seq)
}

// sealing says whether the segment takes no more events, and first changes
// over to the next one if that is ready. Only the segment's writer calls it,
// and between groups: so every key of the next segment is greater.
func (o *Outbox) sealing(s *segment) bool {
	if o.active.Load() != s {
		return true
	}
	next := o.next.Load()
	if next == nil {
		return false
	}
	s.mu.Lock()
	s.sealed = true
	s.sealedAt = o.opt.Now().UnixMilli()
	s.mu.Unlock()
	o.next.Store(nil)
	o.active.Store(next)
	return true
}

// wrote accounts for a commit and asks for the next segment in time.
func (o *Outbox) wrote(s *segment, group []*op) {
	size := footprint(group)
	s.memory.add(size)
	o.space.written.Add(size)
	if o.active.Load() == s && o.next.Load() == nil && s.full() && s.asked.CompareAndSwap(false, true) {
		o.wakeHousekeeper() // once: without room for a segment it would come in vain
	}
}

func (o *Outbox) wakeHousekeeper() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// release gives back what ended ops had claimed. A bounced op goes on.
func (o *Outbox) release(ops []*op, err error) {
	for _, p := range ops {
		if errors.Is(err, errSealed) && p.left.CompareAndSwap(0, leftBounced) {
			continue
		}
		o.giveBack(p)
	}
}

// giveBack ends what an op had claimed.
func (o *Outbox) giveBack(p *op) {
	o.ids.release(p.ids)
	o.deliveries.release(p.deliveries)
	o.admitted.Add(-p.admitted)
}

// submit has the op committed by the segment's writer, whose use lock the
// caller holds. When it returns an error other than errSealed, the claims are
// given back or will be.
func (o *Outbox) submit(ctx context.Context, s *segment, p *op) error {
	if err := s.w.queue.push(ctx, p); err != nil {
		o.giveBack(p)
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
	}
	if !p.left.CompareAndSwap(0, leftAbandoned) {
		o.giveBack(p)
	}
	return ctx.Err()
}

// find returns the segment that would hold the event, or nil.
func (o *Outbox) find(key storage.EventKey) *segment {
	segs := *o.segments.Load()
	for _, s := range slices.Backward(segs) {
		first, last := s.span()
		if first == (storage.EventKey{}) || compareKeys(first, key) > 0 {
			continue
		}
		if compareKeys(key, last) > 0 {
			return nil
		}
		return s
	}
	return nil
}

func compareKeys(a, b storage.EventKey) int {
	return a.Delivery(0).Compare(b.Delivery(0))
}

// Pending implements storage.Outbox.
func (o *Outbox) Pending() map[string]storage.PendingCount {
	if o.enter() != nil {
		return nil
	}
	defer o.gate.RUnlock()
	all := make(map[string]storage.PendingCount)
	for _, s := range *o.segments.Load() {
		s.mu.Lock()
		for name, b := range s.pending {
			r, ok := b.made.from(0)
			if !ok {
				continue
			}
			c, seen := all[name]
			c.Count += b.count
			if oldest := time.UnixMilli(r.lo).UTC(); !seen || oldest.Before(c.Oldest) {
				c.Oldest = oldest
			}
			all[name] = c
		}
		s.mu.Unlock()
	}
	return all
}

// Usage implements storage.Outbox.
func (o *Outbox) Usage() storage.Usage {
	u := storage.Usage{Path: o.dir, FreeBytes: -1, Err: storage.ErrClosed}
	if o.enter() != nil {
		return u
	}
	defer o.gate.RUnlock()
	u.Bytes, u.FreeBytes = o.space.usage()
	u.Pending = int(o.pending.Load())
	u.Full = o.lacksRoom(0) != ""
	u.Err = o.failure()
	return u
}

// Interface guard.
var _ storage.Outbox = (*Outbox)(nil)
