package badger

import (
	"errors"
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

// space knows how full the disk is: it asks the file system once a second and
// reckons with what was written since.
type space struct {
	mu      sync.Mutex   // held while asking
	asked   atomic.Int64 // when, in nanoseconds
	free    atomic.Int64 // -1 where that is unknown
	bytes   atomic.Int64 // size of the outbox, by the housekeeper
	written atomic.Int64 // since asked
	counted atomic.Int64 // of written, what bytes does not know yet
}

func (p *space) usage() (bytes, free int64) {
	free = p.free.Load()
	if free >= 0 {
		free = max(free-p.written.Load(), 0)
	}
	return p.bytes.Load() + p.written.Load(), free
}

// askSpace asks the file system when the last answer is a second old.
func (o *Outbox) askSpace() {
	p := &o.space
	now := time.Now().UnixNano()
	if now-p.asked.Load() < int64(time.Second) || !p.mu.TryLock() {
		return
	}
	defer p.mu.Unlock()
	p.bytes.Add(p.written.Swap(0))
	p.free.Store(freeBytes(o.dir))
	p.asked.Store(now)
}

// room refuses new events for which the disk has no room: beside them, both
// memtables of the active segment must fit, because Badger ends the process
// when a mapped file meets a full disk.
func (o *Outbox) room(size int64) error {
	o.askSpace()
	bytes, free := o.space.usage()
	if free >= 0 && free < o.bounds.Load().minFree+2*o.opt.limits.memTable+size {
		return storage.ErrFull
	}
	if bytes+size > o.bounds.Load().maxSize {
		o.wakeHousekeeper()
		return storage.ErrFull
	}
	return nil
}

func (o *Outbox) reservePath() string { return filepath.Join(o.dir, "RESERVE") }

// needReserve gives up the reserve when settling would meet a full disk.
func (o *Outbox) needReserve(size int64) {
	o.askSpace()
	if _, free := o.space.usage(); free < 0 || free > 2*o.opt.limits.memTable+size {
		return
	}
	if err := os.Remove(o.reservePath()); err == nil {
		o.opt.Logger.Warn("outbox gave up its reserve to go on settling", zap.String("path", o.dir))
		o.space.asked.Store(0)
	}
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
	if _, free := o.space.usage(); free >= 0 && free < o.bounds.Load().minFree+2*o.opt.limits.memTable+size {
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
	o.space.bytes.Store(total)
	o.space.asked.Store(0)
	o.space.written.Store(0)
	o.askSpace()
}

// measure returns the size on disk. That of a closed segment is remembered.
func (s *segment) measure() int64 {
	s.use.RLock()
	open := s.db != nil
	s.use.RUnlock()
	s.mu.Lock()
	size, known := s.size, s.sizeKnown
	s.mu.Unlock()
	if known && !open {
		return size
	}
	size = 0
	_ = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // files come and go
		}
		fi, err := d.Info()
		if err != nil {
			return nil
		}
		size += diskSize(fi)
		if checkPermissions && fi.Mode().Perm()&0o077 != 0 {
			if err := os.Chmod(path, 0o600); err != nil && !errors.Is(err, os.ErrNotExist) {
				s.o.opt.Logger.Warn("restricting a file of the outbox failed", zap.Error(err))
			}
		}
		return nil
	})
	s.mu.Lock()
	s.size, s.sizeKnown = size, !open
	s.mu.Unlock()
	return size
}

// isRemoving recognises a segment whose removal a crash cut off.
func isRemoving(name string) bool { return strings.HasSuffix(name, removingSuffix) }

const removingSuffix = ".removing"
