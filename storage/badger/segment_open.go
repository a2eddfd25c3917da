package badger

import (
	"fmt"
	"os"
	"path/filepath"

	badgerdb "github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/storage"
)

// acquire sees to it that the segment is open. The caller calls
// s.use.RUnlock when done.
func (s *segment) acquire() error {
	for {
		s.use.RLock()
		if s.journal != nil || s.db != nil {
			s.lastUsed.Store(int64(s.o.uptime()))
			return nil
		}
		s.use.RUnlock()
		s.use.Lock()
		err := s.open()
		s.use.Unlock()
		if err != nil {
			return err
		}
	}
}

// open opens the database, or reads the journal if the segment still is one;
// use is locked.
func (s *segment) open() error {
	if s.journal != nil || s.db != nil {
		return nil
	}
	if s.isRemoved() {
		return storage.ErrNotFound
	}
	if !s.isPacked() {
		return s.openJournal()
	}
	size := max(s.o.opt.limits.memTable, unflushed(s.dir))
	if s.isStored() {
		return s.openToRead(size)
	}
	if err := s.mayOpen(size); err != nil {
		return err
	}
	if err := s.examine(); err != nil {
		return err
	}
	db, err := openBadger(s.dir, size, s.o.opt.Logger)
	if err != nil {
		return fmt.Errorf("opening segment %s: %w", s.dir, err)
	}
	s.memTable = size
	d, err := newDatabase(s, db)
	if err != nil {
		_ = db.Close()
		return err
	}
	s.db = d
	s.w = newWriter(s.o, s, d)
	return nil
}

// openToRead opens the database of a finished segment without a writer, which
// costs a fraction: nothing is created, and nothing in memory for what would
// be settled.
func (s *segment) openToRead(size int64) error {
	if err := s.examine(); err != nil {
		return err
	}
	db, err := badgerdb.Open(databaseOptions(s.dir, size, s.o.opt.Logger).WithReadOnly(true))
	if err != nil {
		return fmt.Errorf("opening segment %s to read: %w", s.dir, err)
	}
	s.db = &database{seg: s, db: db}
	return nil
}

// acquireToSettle is acquire for who will change something, and makes the
// state forget before that the segment is finished, so that the next start
// examines it. It is not finished again before it is held, nor while it is.
func (s *segment) acquireToSettle() error {
	s.intend(1)
	defer s.intend(-1)
	for {
		if err := s.acquire(); err != nil {
			return err
		}
		err := s.o.unstore(s)
		if err == nil && s.w != nil {
			return nil
		}
		s.use.RUnlock()
		if err == nil {
			s.use.Lock()
			if s.db != nil && s.w == nil { // open to read
				err = s.close()
			}
			s.use.Unlock()
		}
		if err != nil {
			return err
		}
	}
}

// intend counts the callers that are on their way to settle something.
func (s *segment) intend(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settling += n
}

func openBadger(dir string, memTable int64, log *zap.Logger) (*badgerdb.DB, error) {
	opt := databaseOptions(dir, memTable, log)
	db, err := badgerdb.Open(opt)
	if err != nil {
		// A kill while a write-ahead log was created leaves it without
		// content; the first attempt to open it fails and repairs it. Keys
		// are not used, so their file can be made anew.
		_ = os.Remove(filepath.Join(dir, badgerdb.KeyRegistryFileName))
		db, err = badgerdb.Open(opt)
	}
	return db, err
}

// unflushed returns the memtable size that write-ahead logs left by an
// unclean stop need: Badger gives them twice that size.
func unflushed(dir string) int64 {
	var size int64
	names, _ := filepath.Glob(filepath.Join(dir, "*.mem"))
	for _, name := range names {
		if fi, err := os.Stat(name); err == nil {
			size = max(size, (fi.Size()+1)/2)
		}
	}
	return size
}

// close ends the writer and closes what is open; use is locked.
func (s *segment) close() error {
	if s.journal != nil {
		s.w.stop()
		err := s.journal.close()
		s.journal, s.w = nil, nil
		return err
	}
	if s.db == nil {
		return nil
	}
	if s.w == nil { // open to read
		err := s.db.db.Close()
		s.db = nil
		s.noteTables() // of which damage may have taken some
		return err
	}
	if !s.awaitRoom() {
		return fmt.Errorf("closing segment %s: %w", s.dir, errNoRoom)
	}
	if s.isStuck() {
		return fmt.Errorf("closing segment %s: its tables cannot be written", s.dir)
	}
	s.w.stop()
	err := s.db.close()
	s.db, s.w = nil, nil
	s.memory.end()
	s.noteTables()
	s.forgetRecent()
	if err != nil {
		return fmt.Errorf("closing segment %s: %w", s.dir, err)
	}
	return nil
}
