package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	badgerdb "github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/storage"
)

// writer commits to one segment's database. It takes all that waits, commits
// it as one transaction, syncs once, and only then wakes the callers; what
// came meanwhile is the next group. It never waits for a group to fill.
type writer struct {
	o     *Outbox
	seg   *segment
	db    *badgerdb.DB
	queue *queue
	ended chan struct{}

	maxSize, maxCount int64

	// wal is the write-ahead log of the current memtable, number walID.
	wal   *os.File
	walID int

	group []*op
}

func newWriter(o *Outbox, seg *segment, db *badgerdb.DB) (*writer, error) {
	w := &writer{
		o: o, seg: seg, db: db,
		queue: newQueue(),
		ended: make(chan struct{}),
		// Badger refuses what reaches its limits, and adds an entry that ends
		// the transaction.
		maxSize:  db.MaxBatchSize() - 64,
		maxCount: db.MaxBatchCount() - 2,
	}
	if err := w.findWAL(); err != nil {
		return nil, err
	}
	go w.run()
	return w, nil
}

// findWAL opens the newest write-ahead log.
func (w *writer) findWAL() error {
	names, err := filepath.Glob(filepath.Join(w.seg.dir, "*.mem"))
	if err != nil || len(names) == 0 {
		return fmt.Errorf("finding the write-ahead log in %s: %w", w.seg.dir, os.ErrNotExist)
	}
	for _, name := range names {
		var id int
		if _, err := fmt.Sscanf(filepath.Base(name), "%d.mem", &id); err == nil {
			w.walID = max(w.walID, id)
		}
	}
	return w.openWAL()
}

func (w *writer) walPath(id int) string {
	return logPath(w.seg.dir, id)
}

// openWAL opens the file numbered walID and makes its name durable, which
// Badger leaves to the file system. Badger makes the file sparse and writes
// through a mapping, where a full disk kills the process: so its blocks are
// allocated here, as far as the file system can.
func (w *writer) openWAL() error {
	f, err := os.OpenFile(w.walPath(w.walID), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("opening the write-ahead log: %w", err)
	}
	if w.wal != nil {
		_ = w.wal.Close() // synced by every commit before
	}
	w.wal = f
	if err := f.Chmod(0o600); err != nil {
		return fmt.Errorf("restricting the write-ahead log: %w", err)
	}
	w.seg.memory.begin(w.seg.memTable, w.walID)
	if size := w.seg.memTable + w.seg.memTable/4; w.o.mayAllocate(size) {
		if err := reserveBlocks(f, size); err != nil {
			w.o.opt.Logger.Debug("allocating a write-ahead log failed", zap.Error(err))
		} else {
			w.seg.memory.allocate()
		}
	}
	return syncDir(w.seg.dir)
}

// sync makes the commit that just ended durable. A transaction lies wholly in
// one log: before it, Badger may have begun a new one, under the next number.
func (w *writer) sync() error {
	for {
		if _, err := os.Lstat(w.walPath(w.walID + 1)); err != nil {
			if errors.Is(err, os.ErrNotExist) {
				break
			}
			return err
		}
		w.walID++
		if err := w.openWAL(); err != nil {
			return err
		}
	}
	return syncData(w.wal)
}

// stop waits until what is queued is committed.
func (w *writer) stop() {
	w.queue.close()
	<-w.ended
}

func (w *writer) run() {
	defer close(w.ended)
	defer func() { _ = w.wal.Close() }()
	for {
		ops, ok := w.queue.take()
		if !ok {
			return
		}
		for rest := ops; len(rest) > 0; {
			rest = rest[w.commit(rest):]
		}
		clear(ops)
	}
}

// commit makes one group of the first ops and returns their number.
func (w *writer) commit(ops []*op) int {
	if err := w.o.failure(); err != nil {
		w.finish(ops, err)
		return len(ops)
	}
	if !w.seg.mayCommit(ops) {
		w.finish(ops, storage.ErrFull)
		return len(ops)
	}
	w.group = w.group[:0]
	var size, count int64
	n := 0
	sealed := w.o.sealing(w.seg)
	txn := w.db.NewTransaction(true)
	defer txn.Discard()
	for _, p := range ops {
		if len(p.events) > 0 && sealed {
			w.finish(ops[n:n+1], errSealed)
			n++
			continue
		}
		if p.size > w.maxSize || p.count > w.maxCount {
			w.finish(ops[n:n+1], storage.ErrTooLarge)
			n++
			continue
		}
		if size+p.size > w.maxSize || count+p.count > w.maxCount {
			break
		}
		n++
		size += p.size
		count += p.count
		w.group = append(w.group, p)
		if err := w.stage(txn, p); err != nil {
			w.fail(err)
			return n
		}
	}
	if len(w.group) == 0 {
		return n
	}
	if err := w.commitTxn(txn); err != nil {
		w.fail(err)
		return n
	}
	w.seg.applied(w.group)
	w.o.wrote(w.seg, w.group)
	w.finish(w.group, nil)
	return n
}

// stage gives the op's events their keys, commits their chunks and adds the
// entries to the transaction.
func (w *writer) stage(txn *badgerdb.Txn, p *op) error {
	for i := range p.events {
		p.events[i].stamp(w.o.nextKey())
	}
	if len(p.events) > 0 {
		w.seg.staged(p.events)
	}
	if err := w.commitChunks(p.chunks); err != nil {
		return err
	}
	for i := range p.entries {
		if err := txn.SetEntry(&p.entries[i]); err != nil {
			return fmt.Errorf("adding to a commit: %w", err)
		}
	}
	return nil
}

// commitChunks stores parts of bodies in as many commits as it takes.
func (w *writer) commitChunks(chunks []badgerdb.Entry) error {
	for len(chunks) > 0 {
		txn := w.db.NewTransaction(true)
		var size int64
		n := 0
		for n < len(chunks) && (n == 0 || size+entrySize(&chunks[n]) <= w.maxSize) {
			size += entrySize(&chunks[n])
			if err := txn.SetEntry(&chunks[n]); err != nil {
				txn.Discard()
				return fmt.Errorf("adding to a commit: %w", err)
			}
			n++
		}
		err := w.commitTxn(txn)
		txn.Discard()
		if err != nil {
			return err
		}
		chunks = chunks[n:]
	}
	return nil
}

func (w *writer) commitTxn(txn *badgerdb.Txn) error {
	if hook := w.o.opt.commitHook; hook != nil {
		if err := hook(); err != nil {
			return err
		}
	}
	if err := txn.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	if err := w.sync(); err != nil {
		return fmt.Errorf("syncing a commit: %w", err)
	}
	return nil
}

// fail poisons the outbox and answers the group.
func (w *writer) fail(err error) {
	w.o.poison(err)
	w.finish(w.group, w.o.failure())
}

func (w *writer) finish(ops []*op, err error) {
	w.o.release(ops, err)
	for _, p := range ops {
		p.err = err
		p.done <- struct{}{}
	}
}
