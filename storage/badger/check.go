package badger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"google.golang.org/protobuf/proto"
)

// Badger trusts its files: it deletes tables that a shortened manifest does
// not name, drops what follows a flipped byte in a write-ahead log, and
// panics, in goroutines of its own, over damaged tables. So the files of a
// segment are examined before Badger opens them for the first time.

// damage is what is wrong with the files of a segment.
type damage struct {
	manifest error
	tables   map[uint64]error
	logs     map[string]error
}

func (d *damage) err() error {
	errs := []error{d.manifest}
	for _, id := range slices.Sorted(maps.Keys(d.tables)) {
		errs = append(errs, d.tables[id])
	}
	for _, name := range slices.Sorted(maps.Keys(d.logs)) {
		errs = append(errs, d.logs[name])
	}
	return errors.Join(errs...)
}

// expectation is what the state says about the files of a segment.
type expectation struct {
	tables []uint64 // that the manifest must name
	clean  bool     // the outbox was closed

	// indexOnly leaves the blocks of tables unread.
	indexOnly bool
	boot      bool // the system was not restarted since
}

// examine reads the files of a segment.
func examine(dir string, want expectation) (*damage, error) {
	d := &damage{tables: map[uint64]error{}, logs: map[string]error{}}
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return nil, err
	}
	logs, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return nil, err
	}
	named, torn, err := readManifest(dir)
	switch {
	case errors.Is(err, os.ErrNotExist) && len(tables)+len(logs)+len(want.tables) == 0:
		return d, nil // new
	case err != nil:
		d.manifest = fmt.Errorf("examining %s: %w", filepath.Join(dir, badgerdb.ManifestFilename), err)
	case torn && (want.boot || want.clean):
		d.manifest = fmt.Errorf("%s is cut short", filepath.Join(dir, badgerdb.ManifestFilename))
	}
	for _, id := range want.tables {
		if d.manifest == nil && !slices.Contains(named, id) {
			d.manifest = fmt.Errorf("%s does not name table %d", filepath.Join(dir, badgerdb.ManifestFilename), id)
		}
		named = append(named, id)
	}
	slices.Sort(named)
	for _, id := range slices.Compact(named) {
		if err := examineTable(tableName(dir, id), !want.indexOnly); err != nil {
			d.tables[id] = err
		}
	}
	for _, name := range logs {
		if err := examineLog(name, want.boot); err != nil {
			d.logs[name] = err
		}
	}
	return d, nil
}

func tableName(dir string, id uint64) string { return table.NewFilename(id, dir) }

// readManifest returns the tables that the manifest names. It is torn when it
// ends in the middle of a record.
func readManifest(dir string) (tables []uint64, torn bool, err error) {
	f, err := os.Open(filepath.Join(dir, badgerdb.ManifestFilename))
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	m, end, err := badgerdb.ReplayManifestFile(f, 0, badgerdb.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		return nil, false, err
	}
	return slices.Sorted(maps.Keys(m.Tables)), end != fi.Size(), nil
}

// examineTable verifies a table's index and, when all is set, all its blocks.
func examineTable(path string, all bool) (err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("examining a table: %w", err)
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s is damaged: its checksums do not match", path)
		}
	}()
	opt := table.Options{Compression: options.Snappy, BlockSize: 4 << 10}
	t, err := table.OpenInMemoryTable(data, 1, &opt)
	if err == nil && all {
		err = t.VerifyChecksum()
	}
	if err != nil {
		return fmt.Errorf("%s is damaged: %w", path, err)
	}
	return nil
}

// A write-ahead log is a header and entries: meta, user meta, lengths of key
// and value, expiry, key, value, CRC-32C. A transaction is a run of entries
// and one that ends it.
const (
	logHeader   = 20
	bitTxn      = 1 << 6
	bitFinTxn   = 1 << 7
	maxLogKey   = 1 << 16
	finHeader   = 5
	finKey      = "!badger!txn"
	timestamp   = 8
	maxVarint32 = binary.MaxVarintLen32
)

type logEntry struct {
	meta       byte
	key, value []byte
	size       int
}

// version returns the timestamp of the entry's transaction, which ends its
// key.
func (e *logEntry) version() uint64 {
	if len(e.key) < timestamp {
		return 0
	}
	return math.MaxUint64 - binary.BigEndian.Uint64(e.key[len(e.key)-timestamp:])
}

// parseLogEntry reads the entry at the start of b.
func parseLogEntry(b []byte) (e logEntry, ok bool) {
	if len(b) < finHeader {
		return e, false
	}
	e.meta = b[0]
	at := 2
	var lengths [3]uint64
	for i := range lengths {
		v, n := binary.Uvarint(b[at:])
		if n <= 0 {
			return e, false
		}
		lengths[i] = v
		at += n
	}
	key, value := lengths[0], lengths[1]
	if key == 0 || key > maxLogKey || value > uint64(len(b)) || uint64(at)+key+value+crc32.Size > uint64(len(b)) {
		return e, false
	}
	end := at + int(key+value)
	if crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return e, false
	}
	e.key, e.value = b[at:at+int(key)], b[at+int(key):end]
	e.size = end + crc32.Size
	return e, true
}

// lastEntry is how the entry looks that ends a transaction.
func lastEntry(version uint64) []byte {
	value := strconv.FormatUint(version, 10)
	b := append([]byte{bitFinTxn, 0, byte(len(finKey) + timestamp), byte(len(value)), 0}, finKey...)
	b = binary.BigEndian.AppendUint64(b, math.MaxUint64-version)
	b = append(b, value...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// examineLog tells damage from what a crash leaves. A log is written from
// front to back and synced after every group, so at its end may stand a part
// of one group. When something follows that was written later, then what
// stands before it was whole once. That one group may be torn anywhere when
// the system went down (boot is not set), but not when only the process did.
func examineLog(path string, boot bool) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("examining a write-ahead log: %w", err)
	}
	if len(b) < logHeader {
		if len(bytes.Trim(b, "\x00")) != 0 {
			return fmt.Errorf("%s is cut short", path)
		}
		return nil // was just made
	}
	if binary.BigEndian.Uint64(b) != 0 {
		return fmt.Errorf("%s is damaged: its header names a key", path)
	}
	at, open := walkLog(b)
	rest := b[at:]
	later := laterCommits(rest)
	switch {
	case later > 1, later == 1 && boot:
		return fmt.Errorf("%s is damaged at byte %d, and %d commits follow", path, at, later)
	case open != 0 && resembles(rest, lastEntry(open)):
		return fmt.Errorf("%s is damaged at byte %d, where a commit ends", path, at)
	case boot && cutShort(rest, open):
		return fmt.Errorf("%s is cut short", path)
	}
	return nil
}

// walkLog returns where the last entry of the log ends that can be read, and
// the version of the transaction that is not ended there.
func walkLog(b []byte) (at int, open uint64) {
	for at = logHeader; ; {
		e, ok := parseLogEntry(b[at:])
		switch {
		case !ok:
			return at, open
		case e.meta&bitTxn != 0:
			if v := e.version(); open == 0 {
				open = v
			} else if v != open {
				return at, open
			}
		case e.meta&bitFinTxn != 0:
			if string(e.value) != strconv.FormatUint(open, 10) {
				return at, open
			}
			open = 0
		case open != 0:
			return at, open
		}
		at += e.size
	}
}

// laterCommits counts the whole entries that end a transaction.
func laterCommits(b []byte) (n int) {
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte(finKey))
		if i < 0 {
			return n
		}
		at += i
		if at >= finHeader {
			if e, ok := parseLogEntry(b[at-finHeader:]); ok && e.meta&bitFinTxn != 0 {
				n++
			}
		}
		at += len(finKey)
	}
}

// resembles says whether most bytes agree.
func resembles(b, want []byte) bool {
	same := 0
	for i := range min(len(b), len(want)) {
		if b[i] == want[i] && want[i] != 0 {
			same++
		}
	}
	return same > len(want)/2
}

// cutShort says whether the file ends where no log does: in an entry, or
// before the end of a transaction. Badger makes logs twice as long as what
// they will hold, and shortens them only behind a transaction.
func cutShort(rest []byte, open uint64) bool {
	if len(rest) == 0 {
		return open != 0
	}
	if len(bytes.Trim(rest, "\x00")) == 0 {
		return open != 0 && len(rest) < finHeader
	}
	if len(rest) < 2*maxVarint32 || rest[len(rest)-1] != 0 {
		return true
	}
	key, n := binary.Uvarint(rest[2:])
	value, m := binary.Uvarint(rest[2+max(n, 0):])
	return n > 0 && m > 0 && key > 0 && key <= maxLogKey && value <= math.MaxInt32 && key+value+uint64(n+m+2) >= uint64(len(rest))
}

// repair makes the segment one that Badger can open without what is damaged.
// Damaged files are kept beside it, under names that Badger passes over.
func (d *damage) repair(dir string) error {
	for name := range d.logs {
		if err := keepCopy(name); err != nil {
			return err
		}
	}
	if d.manifest == nil && len(d.tables) == 0 {
		return nil
	}
	for id := range d.tables {
		if err := setAside(tableName(dir, id)); err != nil {
			return err
		}
	}
	var set pb.ManifestChangeSet
	names, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return err
	}
	for _, name := range names {
		id, ok := table.ParseFileID(filepath.Base(name))
		if !ok {
			continue
		}
		if err := examineTable(name, true); err != nil {
			if err := setAside(name); err != nil {
				return err
			}
			continue
		}
		set.Changes = append(set.Changes, &pb.ManifestChange{Id: id, Op: pb.ManifestChange_CREATE, Compression: uint32(options.Snappy)})
	}
	return writeManifest(dir, &set)
}

// keepCopy copies a damaged log, of which Badger reads what comes before the
// damage, and then forgets the rest.
func keepCopy(name string) error {
	b, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.WriteFile(damagedName(name), bytes.TrimRight(b, "\x00"), 0o600)
	}
	if err == nil && (len(b) < logHeader || binary.BigEndian.Uint64(b) != 0) {
		err = os.Remove(name)
	}
	if err != nil {
		return fmt.Errorf("setting a damaged file aside: %w", err)
	}
	return nil
}

// setAside keeps a damaged file under another name.
func setAside(name string) error {
	err := os.Rename(name, damagedName(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("setting a damaged file aside: %w", err)
	}
	return nil
}

// writeManifest replaces the manifest by one with a single record.
func writeManifest(dir string, set *pb.ManifestChangeSet) error {
	path := filepath.Join(dir, badgerdb.ManifestFilename)
	if err := setAside(path); err != nil {
		return err
	}
	changes, err := proto.Marshal(set)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	b := append([]byte("Bdgr"), 0, 0, 0, 8)
	b = binary.BigEndian.AppendUint32(b, uint32(len(changes)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(changes, castagnoli))
	return replaceFile(path, append(b, changes...))
}
