package badger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/storage"
)

// space knows how full the disk is: it asks the file system ten times a second and
// reckons with what was written since.
type space struct {
	mu      sync.Mutex   // held while asking
	asked   atomic.Int64 // when, in nanoseconds
	free    atomic.Int64 // -1 where that is unknown
	bytes   atomic.Int64 // size of the outbox, by the housekeeper
	written atomic.Int64 // since asked
	refused atomic.Int64 // when the log last said so, in nanoseconds
}

func (p *space) usage() (bytes, free int64) {
	free = p.free.Load()
	if free >= 0 {
		free = max(free-p.written.Load(), 0)
	}
	return p.bytes.Load() + p.written.Load(), free
}

// askEvery is how old the file system's last answer may be. Asking costs two
// microseconds; a foreign process can write a gigabyte in a second.
const askEvery = 100 * time.Millisecond

// askSpace asks the file system when its last answer is too old.
func (o *Outbox) askSpace() {
	p := &o.space
	now := time.Now().UnixNano()
	if now-p.asked.Load() < int64(askEvery) || !p.mu.TryLock() {
		return
	}
	defer p.mu.Unlock()
	o.ask(now)
}

// askSpaceNow asks whatever the age of the last answer.
func (o *Outbox) askSpaceNow() {
	o.space.mu.Lock()
	defer o.space.mu.Unlock()
	o.ask(time.Now().UnixNano())
}

// ask asks; space.mu is locked.
func (o *Outbox) ask(now int64) {
	p := &o.space
	p.bytes.Add(p.written.Swap(0))
	free := int64(-1)
	if !o.opt.limits.blind {
		free = freeBytes(o.dir)
	}
	p.free.Store(free)
	p.asked.Store(now)
}

// room refuses new events for which the disk has no room beside what settling
// will need.
func (o *Outbox) room(size int64) error {
	o.askSpace()
	lacking := o.lacksRoom(size)
	if lacking == "" {
		return nil
	}
	if lacking == overMaxSize {
		o.wakeHousekeeper()
	}
	now, last := time.Now().UnixNano(), o.space.refused.Load()
	if now-last >= int64(refusedEvery) && o.space.refused.CompareAndSwap(last, now) {
		bytes, free := o.space.usage()
		o.opt.Logger.Warn("outbox refuses new events for want of room", zap.String("path", o.dir), zap.String("reason", lacking),
			zap.Int64("bytes", bytes), zap.Int64("free_bytes", free))
	}
	return storage.ErrFull
}

// refusedEvery is the time between two lines in the log about a full outbox.
const refusedEvery = time.Minute

// Why new events are refused.
const (
	belowMinFree = "free space is below min_free"
	overMaxSize  = "the outbox has reached max_size"
)

// lacksRoom says why so much more may not be accepted, or nothing.
func (o *Outbox) lacksRoom(size int64) string {
	bytes, free := o.space.usage()
	switch {
	case free >= 0 && free < o.lowWater()+size:
		return belowMinFree
	case bytes+size > o.bounds.Load().maxSize:
		return overMaxSize
	}
	return ""
}

// lowWater is the free space below which nothing is accepted.
func (o *Outbox) lowWater() int64 {
	return o.bounds.Load().minFree + logAhead
}

// slack is what small files may take: the state, a manifest, a log's header.
const slack = 256 << 10

// reserved is the room that must stay for what open databases will write by
// themselves.
func (o *Outbox) reserved() int64 {
	need := int64(slack)
	for _, s := range *o.segments.Load() {
		need += s.unflushed()
	}
	return need
}

// makeRoom says whether the disk has room for so much beside what is
// reserved, giving up the outbox's reserve if that helps.
func (o *Outbox) makeRoom(size int64) bool {
	o.askSpace()
	_, free := o.space.usage()
	if free < 0 || free >= o.lowWater()+size {
		return true
	}
	need := o.reserved() + size
	if o.askSpaceNow(); o.space.free.Load() >= need {
		return true
	}
	if err := os.Remove(o.reservePath()); err == nil {
		o.opt.Logger.Warn("outbox gave up its reserve to go on settling", zap.String("path", o.dir))
		o.askSpaceNow()
	}
	free = o.space.free.Load()
	return free < 0 || free >= need
}

// awaitRoom is makeRoom for closing the segment's database. While a flush is
// under way its room is reserved and partly used, so it is waited for.
func (s *segment) awaitRoom() bool {
	for range 200 {
		if s.o.makeRoom(0) {
			return true
		}
		if !s.flushing() {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return s.o.makeRoom(0)
}

// footprint is what ops take in a log or in memory, at most.
func footprint(ops []*op) int64 {
	size := int64(0)
	for _, p := range ops {
		// Nodes of a memtable and headers of a log come on top.
		size += p.queued + 128*(p.count+int64(len(p.chunks)))
	}
	return size
}

// mayCommit says whether committing the ops can do no harm, however fast
// another process fills the disk: it asks the file system, unless they stay
// within blocks that the log has already.
func (s *segment) mayCommit(ops []*op) bool {
	size := footprint(ops)
	if j := s.journal; j != nil {
		if j.log.end()+size < j.log.allocated() {
			return true
		}
		j.log.ahead = logAhead
		if !s.o.mayAllocate(logAhead) {
			j.log.ahead = logShort
		}
		return s.o.makeRoom(size + slack)
	}
	if s.memory.fits(size) {
		return true
	}
	s.o.askSpaceNow()
	// Written to a log and to a table.
	return s.o.makeRoom(2*size + slack)
}

func (o *Outbox) reservePath() string { return filepath.Join(o.dir, "RESERVE") }

// settleRoom refuses settlements that could meet a full disk.
func (o *Outbox) settleRoom(settlements []storage.Settlement) error {
	size := int64(0)
	for i := range settlements {
		size += 1024
		if a := settlements[i].Attempt; a != nil {
			size += int64(2*len(a.Body) + 128*len(a.Header))
		}
	}
	// Written twice, to a log and to a table. Others may be settling, too.
	if !o.makeRoom(2*size + slack) {
		return storage.ErrFull
	}
	return nil
}

// mayPack says whether a database can grow by so much without taking the room
// that others need.
func (o *Outbox) mayPack(size int64) bool {
	_, free := o.space.usage()
	return free < 0 || free >= o.reserved()+size
}

// mayAllocate says whether a log's blocks can be allocated without taking
// the room that flushing needs.
func (o *Outbox) mayAllocate(size int64) bool {
	o.askSpaceNow()
	free := o.space.free.Load()
	return free < 0 || free >= size+o.reserved()
}

// keepReserve makes the reserve, again, when there is room for it.
func (o *Outbox) keepReserve() {
	size := o.opt.limits.reserve
	if size < 0 {
		return
	}
	if fi, err := os.Stat(o.reservePath()); err == nil && fi.Size() == size {
		return
	}
	if _, free := o.space.usage(); free >= 0 && free < o.lowWater()+size {
		return
	}
	if err := allocateFile(o.reservePath(), size); err != nil {
		o.opt.Logger.Debug("making the outbox's reserve failed", zap.Error(err))
		_ = os.Remove(o.reservePath())
	}
}

// measure sums up the outbox and restricts what Badger made since the last
// time to the owner.
func (o *Outbox) measure() {
	var total int64
	for _, s := range *o.segments.Load() {
		total += s.measure()
	}
	if fi, err := os.Stat(o.reservePath()); err == nil {
		total += diskSize(fi)
	}
	o.space.written.Store(0)
	o.space.bytes.Store(total)
	o.askSpaceNow()
}

// measure returns the size on disk. That of a closed segment is remembered.
func (s *segment) measure() int64 {
	s.use.RLock()
	open := s.db != nil || s.journal != nil
	s.use.RUnlock()
	s.mu.Lock()
	size, known := s.size, s.sizeKnown
	s.mu.Unlock()
	if known && !open {
		return size
	}
	if open && s.isPacked() {
		s.noteTables()
	}
	size = 0
	if fi, err := os.Stat(s.logPath()); err == nil {
		size = diskSize(fi)
	}
	_ = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() { // files come and go
			size += s.measureFile(path, d)
		}
		return nil
	})
	s.mu.Lock()
	s.size, s.sizeKnown = size, !open
	s.mu.Unlock()
	return size
}

// measureFile returns the size of a file on disk, 0 where it is gone, and takes
// from others what they may do with it.
func (s *segment) measureFile(path string, d fs.DirEntry) int64 {
	fi, err := d.Info()
	if err != nil {
		return 0
	}
	if checkPermissions && fi.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(path, 0o600); err != nil && !errors.Is(err, os.ErrNotExist) {
			s.o.opt.Logger.Warn("restricting a file of the outbox failed", zap.Error(err))
		}
	}
	return diskSize(fi)
}

// isRemoving recognises a segment whose removal a crash cut off.
func isRemoving(name string) bool { return strings.HasSuffix(name, removingSuffix) }

const removingSuffix = ".removing"

// errNoRoom means that Badger would meet a full disk, and end the process.
var errNoRoom = errors.New("the disk is full")

func walFile(dir string, id int) string {
	return filepath.Join(dir, fmt.Sprintf("%05d.mem", id))
}

// roomForSegment says whether the disk has room for one more segment. Without
// it the active one grows on.
func (o *Outbox) roomForSegment() bool {
	o.askSpace()
	_, free := o.space.usage()
	return free < 0 || free >= o.lowWater()+logAhead
}

// mayOpen says whether the database can be opened: that flushes what an
// unclean stop left in its logs, and makes a new log and a few small files.
func (s *segment) mayOpen(memTable int64) error {
	need := slack + memTable/4
	names, _ := filepath.Glob(filepath.Join(s.dir, "*.mem"))
	for _, name := range names {
		if fi, err := os.Stat(name); err == nil {
			need += min(diskSize(fi), fi.Size(), memTable*6/5)
		}
	}
	if s.o.makeRoom(need) {
		return nil
	}
	return fmt.Errorf("opening segment %s: %w", s.dir, s.o.lackOfRoom(need))
}

// lackOfRoom says how much is needed.
func (o *Outbox) lackOfRoom(need int64) error {
	_, free := o.space.usage()
	return fmt.Errorf("%w: it needs %d bytes beside the %d reserved for others, and %d are free: %w",
		errNoRoom, need, o.reserved(), free, storage.ErrFull)
}
