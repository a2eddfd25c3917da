package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/storage"
)

// maxExaminedBytes bounds, in bytes, how much of the tables is read to start after
// an unclean stop: some tenths of a second. The housekeeper reads the rest.
const maxExaminedBytes = 128 << 20

// vetting is what is known about the files of a segment. The segment's use
// guards it, except where that is said.
type vetting struct {
	want expectation    // of the database
	log  logExpectation // of the journal
	// due says that the files were there before this process.
	due bool
	// loss is what is damaged; damaged is that as readers see it.
	loss, damaged error
	// unread are the tables whose blocks are still to be verified, and tables
	// those that the manifest names; mu guards both.
	unread []uint64
	tables []uint64

	// stuck is since when the oldest memtable waits to be flushed; only the
	// housekeeper uses it.
	stuck    time.Time
	stuckLog int
}

// expect takes over what the state says about the segment's files.
func (s *segment) expect(st state, seg segmentState) {
	s.vet.due = true
	s.vet.tables = seg.Tables
	boot := st.Boot != "" && st.Boot == bootID()
	s.vet.want = expectation{tables: seg.Tables, clean: st.Clean, boot: boot}
	s.vet.log = logExpectation{end: seg.Journal, whole: boot || st.Clean}
}

// isDamaged says whether readers are told of damage.
func (s *segment) isDamaged() bool {
	s.use.RLock()
	defer s.use.RUnlock()
	return s.vet.damaged != nil
}

// mayPutOff says whether so much was examined already to start that these
// tables are for the housekeeper.
func (o *Outbox) mayPutOff(dir string) bool {
	tables, _ := filepath.Glob(filepath.Join(dir, "*.sst"))
	size := int64(0)
	for _, name := range tables {
		if fi, err := os.Stat(name); err == nil {
			size += fi.Size()
		}
	}
	return o.examined.Add(size) > maxExaminedBytes
}

// examine reads the files before Badger opens them for the first time; use is
// locked.
func (s *segment) examine() error {
	if s.vet.damaged != nil {
		return s.vet.damaged
	}
	if !s.vet.due || s.o.opt.limits.unexamined {
		return nil
	}
	want := s.vet.want
	// A loss that is accepted is looked for everywhere: what turned up
	// later would be another.
	if !s.o.lossy {
		want.indexOnly = want.clean || s.o.mayPutOff(s.dir)
	}
	d, err := examine(s.dir, want)
	if err != nil {
		return err
	}
	if err := d.err(); err != nil {
		err = fmt.Errorf("segment %s: %w", segmentName(s.n), err)
		if !s.o.lossy {
			s.vet.loss = err
			s.vet.damaged = fmt.Errorf("%w: %w", storage.ErrNotFound, err)
			if !s.o.recovering {
				s.o.poison(err)
			}
			return s.vet.damaged
		}
		s.o.opt.Logger.Warn("outbox goes on without what is damaged", zap.String("path", s.dir), zap.Error(err))
		if err := d.repair(s.dir); err != nil {
			return err
		}
	}
	s.vet.due = false
	named, _, err := readManifest(s.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if want.indexOnly {
		s.mu.Lock()
		s.vet.unread = named
		s.mu.Unlock()
	}
	return keepOrphans(s.dir, named)
}

const orphan = ".orphan"

// keepOrphans renames the tables that the manifest does not name, which
// Badger would delete. A crash in a flush leaves one, and its log.
func keepOrphans(dir string, named []uint64) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return err
	}
	for _, name := range names {
		var id uint64
		if _, err := fmt.Sscanf(filepath.Base(name), "%d.sst", &id); err != nil || slices.Contains(named, id) {
			continue
		}
		if err := os.Rename(name, name+orphan); err != nil {
			return fmt.Errorf("keeping a table: %w", err)
		}
	}
	return nil
}

// dropOrphans removes them when nothing is missing.
func dropOrphans(segs []*segment) {
	for _, s := range segs {
		names, _ := filepath.Glob(filepath.Join(s.dir, "*.sst"+orphan))
		for _, name := range names {
			_ = os.Remove(name)
		}
	}
}

// noteTables remembers which tables the manifest names by now.
func (s *segment) noteTables() {
	named, torn, err := readManifest(s.dir)
	if err != nil || torn {
		return // being written
	}
	s.mu.Lock()
	s.vet.tables = named
	s.mu.Unlock()
}

// scrub verifies one of the tables that were not when the outbox opened.
func (o *Outbox) scrub() {
	for _, s := range *o.segments.Load() {
		s.mu.Lock()
		n := len(s.vet.unread)
		id := uint64(0)
		if n > 0 {
			id = s.vet.unread[n-1]
			s.vet.unread = s.vet.unread[:n-1]
		}
		s.mu.Unlock()
		if n == 0 {
			continue
		}
		err := examineTable(tableName(s.dir, id), true)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			o.poison(fmt.Errorf("segment %s: %w", segmentName(s.n), err))
		}
		return
	}
}

// maxFlush is how long a memtable may wait to be flushed. Badger tries for
// ever, and only logs it.
const maxFlush = 15 * time.Second

// watchFlushes poisons the outbox when a database cannot write its tables any
// more: before long its writer would wait for ever.
func (o *Outbox) watchFlushes() {
	now := o.opt.Now()
	for _, s := range *o.segments.Load() {
		log := s.oldestLog()
		switch {
		case log == 0 || log != s.vet.stuckLog:
			s.vet.stuckLog, s.vet.stuck = log, now
		case now.Sub(s.vet.stuck) > maxFlush:
			s.stuck.Store(int64(log))
			o.poison(fmt.Errorf("segment %s: %s is not written to a table since %v", segmentName(s.n), walFile(s.dir, log), now.Sub(s.vet.stuck)))
		}
	}
}

// isStuck says whether closing the database would wait for a flush for ever.
func (s *segment) isStuck() bool {
	log := s.stuck.Load()
	return log != 0 && int64(s.oldestLog()) == log
}

// oldestLog returns the number of the oldest write-ahead log but the current
// one, or zero.
func (s *segment) oldestLog() int {
	s.memory.mu.Lock()
	memTable, log := s.memory.memTable, s.memory.log
	s.memory.mu.Unlock()
	if memTable == 0 {
		return 0
	}
	oldest := 0
	for log--; log > 0; log-- {
		if _, err := os.Lstat(walFile(s.dir, log)); err != nil {
			break
		}
		oldest = log
	}
	return oldest
}
