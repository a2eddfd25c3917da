package badger

import (
	"os"
	"sync"
)

// memory is what a segment's database holds in memtables: their logs are
// written, and Badger will write them once more, as tables, through a mapping.
type memory struct {
	mu       sync.Mutex
	memTable int64 // zero while the database is closed
	current  int64 // bytes committed to the current memtable
	log      int   // number of its write-ahead log

	// allocated says that the log has its blocks: what fits in it needs no
	// room on the disk.
	allocated bool
}

// begin starts a memtable whose log has the given number.
func (m *memory) begin(memTable int64, log int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.memTable, m.current, m.log, m.allocated = memTable, 0, log, false
}

func (m *memory) allocate() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.allocated = true
}

// fits says whether so much more goes for sure into the current log, and that
// has its blocks.
func (m *memory) fits(size int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.allocated && m.current+size < m.memTable
}

func (m *memory) add(size int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current += size
}

func (m *memory) end() { m.begin(0, 0) }

// unflushed returns how much the flush of all memtables will write, at most.
func (s *segment) unflushed() int64 {
	s.memory.mu.Lock()
	memTable, current, log := s.memory.memTable, s.memory.current, s.memory.log
	s.memory.mu.Unlock()
	if memTable == 0 {
		return 0
	}
	// A memtable is full at its size in the log or in memory, and the last
	// commit may go beyond by what a commit holds.
	full := memTable + memTable/5
	need := int64(0)
	if current > 0 {
		need = min(current+current/2, full) + slack
	}
	for log--; log > 0; log-- {
		if _, err := os.Lstat(walFile(s.dir, log)); err != nil {
			break
		}
		need += full
	}
	return need
}

// flushing says whether a memtable before the current one is being flushed.
func (s *segment) flushing() bool {
	s.memory.mu.Lock()
	memTable, log := s.memory.memTable, s.memory.log
	s.memory.mu.Unlock()
	if memTable == 0 || log < 2 {
		return false
	}
	_, err := os.Lstat(walFile(s.dir, log-1))
	return err == nil
}
