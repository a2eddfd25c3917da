package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	badgerdb "github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"
)

// database is the second form of a segment: a Badger database, to which
// settlements of what was pending when it was packed are still committed.
type database struct {
	seg *segment
	db  *badgerdb.DB

	maxSize, maxCount int64

	// wal is the write-ahead log of the current memtable, number walID.
	wal   *os.File
	walID int
}

func newDatabase(seg *segment, db *badgerdb.DB) (*database, error) {
	d := &database{
		seg: seg, db: db,
		// Badger refuses what reaches its limits, and adds an entry that ends
		// the transaction.
		maxSize:  db.MaxBatchSize() - 64,
		maxCount: db.MaxBatchCount() - 2,
	}
	if err := d.findWAL(); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *database) limits() (size, count int64) { return d.maxSize, d.maxCount }

func (d *database) close() error {
	return errors.Join(d.wal.Close(), d.db.Close())
}

// findWAL opens the newest write-ahead log.
func (d *database) findWAL() error {
	names, err := filepath.Glob(filepath.Join(d.seg.dir, "*.mem"))
	if err != nil || len(names) == 0 {
		return fmt.Errorf("finding the write-ahead log in %s: %w", d.seg.dir, os.ErrNotExist)
	}
	for _, name := range names {
		var id int
		if _, err := fmt.Sscanf(filepath.Base(name), "%d.mem", &id); err == nil {
			d.walID = max(d.walID, id)
		}
	}
	return d.openWAL()
}

// openWAL opens the file numbered walID and makes its name durable, which
// Badger leaves to the file system. Badger makes the file sparse and writes
// through a mapping, where a full disk kills the process: so its blocks are
// allocated here, as far as the file system can.
func (d *database) openWAL() error {
	f, err := os.OpenFile(walFile(d.seg.dir, d.walID), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("opening the write-ahead log: %w", err)
	}
	if d.wal != nil {
		_ = d.wal.Close() // synced by every commit before
	}
	d.wal = f
	if err := f.Chmod(0o600); err != nil {
		return fmt.Errorf("restricting the write-ahead log: %w", err)
	}
	d.seg.memory.begin(d.seg.memTable, d.walID)
	if size := d.seg.memTable + d.seg.memTable/4; d.seg.o.mayAllocate(size) {
		if err := reserveBlocks(f, size); err != nil {
			d.seg.o.opt.Logger.Debug("allocating a write-ahead log failed", zap.Error(err))
		} else {
			d.seg.memory.allocate()
		}
	}
	return syncDir(d.seg.dir)
}

// sync makes the commit that just ended durable. A transaction lies wholly in
// one log: before it, Badger may have begun a new one, under the next number.
func (d *database) sync() error {
	for {
		if _, err := os.Lstat(walFile(d.seg.dir, d.walID+1)); err != nil {
			if errors.Is(err, os.ErrNotExist) {
				break
			}
			return err
		}
		d.walID++
		if err := d.openWAL(); err != nil {
			return err
		}
	}
	return syncData(d.wal)
}

// commit implements store. Only settlements come here: they have no chunks.
func (d *database) commit(group []*op) error {
	txn := d.db.NewTransaction(true)
	defer txn.Discard()
	for _, p := range group {
		for i := range p.entries {
			if err := txn.SetEntry(p.entries[i].badger()); err != nil {
				return fmt.Errorf("adding to a commit: %w", err)
			}
		}
	}
	return d.commitTxn(txn)
}

// badger returns the entry as Badger wants it.
func (e *entry) badger() *badgerdb.Entry {
	return &badgerdb.Entry{Key: e.key, Value: e.value, UserMeta: e.meta}
}

func (d *database) commitTxn(txn *badgerdb.Txn) error {
	if err := txn.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	if err := d.sync(); err != nil {
		return fmt.Errorf("syncing a commit: %w", err)
	}
	return nil
}
