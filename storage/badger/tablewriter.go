package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2/z"
)

// tableWriter writes a database from records in the order of their keys: one
// table after another, and the manifest that names them. Badger's own writer
// builds up to 16 tables at once, in memory, and writes them through mappings,
// where a full disk ends the process; here it is an error.
type tableWriter struct {
	dir string
	// mayWrite says whether the disk has room for so many bytes.
	mayWrite func(size int64) error

	memory  *z.AllocatorPool
	builder *table.Builder
	size    int // of the records in builder
	key     []byte
	named   pb.ManifestChangeSet
}

const (
	// tableSize is that of a table's records, in bytes, before they are
	// compressed, and tableMemory what building it takes: each block once as
	// it is, and once as it might become if it cannot be compressed. More
	// would be twice more.
	tableSize   = 2560 << 10
	tableMemory = 8 << 20
	// recordSize is what a record takes beside its key and value, at most.
	recordSize = 24
	// lowestLevel is where Badger expects tables that do not overlap.
	lowestLevel = 6
	// firstVersion is the timestamp of all records.
	firstVersion = 1
)

func newTableWriter(dir string, mayWrite func(size int64) error) *tableWriter {
	return &tableWriter{dir: dir, mayWrite: mayWrite, memory: z.NewAllocatorPool(1)}
}

func (w *tableWriter) put(key, value []byte, meta byte) error {
	if w.builder == nil {
		w.builder = table.NewTableBuilder(table.Options{
			TableSize: tableMemory / 2, BlockSize: 4 << 10, BloomFalsePositive: 0.01,
			Compression: options.Snappy, AllocPool: w.memory,
		})
	}
	w.key = binary.BigEndian.AppendUint64(append(w.key[:0], key...), math.MaxUint64-firstVersion)
	w.builder.Add(w.key, y.ValueStruct{Value: value, UserMeta: meta}, 0)
	if w.size += len(w.key) + len(value) + recordSize; w.size < tableSize {
		return nil
	}
	return w.write()
}

// write writes what is gathered as one table.
func (w *tableWriter) write() error {
	if w.builder == nil {
		return nil
	}
	data := w.builder.Finish()
	w.builder.Close()
	w.builder, w.size = nil, 0
	if err := w.mayWrite(int64(len(data))); err != nil {
		return err
	}
	id := uint64(len(w.named.Changes)) + 1
	if err := writeSynced(tableName(w.dir, id), data); err != nil {
		return err
	}
	w.named.Changes = append(w.named.Changes, &pb.ManifestChange{
		Id: id, Op: pb.ManifestChange_CREATE, Level: lowestLevel, Compression: uint32(options.Snappy),
	})
	return nil
}

// finish writes the last table and the manifest.
func (w *tableWriter) finish() error {
	if err := w.write(); err != nil {
		return err
	}
	if err := w.mayWrite(slack); err != nil {
		return err
	}
	return writeManifest(w.dir, &w.named)
}

// release gives back the memory, after finish or instead of it.
func (w *tableWriter) release() {
	if w.builder != nil {
		w.builder.Finish() // ends the builder's goroutines
		w.builder.Close()
	}
	w.memory.Release()
}

// writeSynced writes a new file.
func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("writing a table: %w", err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing a table: %w", noRoom(err))
	}
	return nil
}
