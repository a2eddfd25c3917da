package badger

import (
	"fmt"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"go.uber.org/zap"
)

// Defaults of Options.
const (
	DefaultRetention  = 30 * 24 * time.Hour
	DefaultMaxSize    = 10 << 30
	DefaultMinFree    = 256 << 20
	DefaultMaxPending = 10_000_000
)

// Options configure an outbox. The zero value means all defaults.
type Options struct {
	// Retention is how long finished deliveries and their events are kept,
	// at least; a segment of them is removed as a whole. Default 30 days.
	Retention time.Duration

	// MaxSize is the size on disk, in bytes, above which new events are
	// refused with storage.ErrFull. The oldest finished segments are removed
	// before that. Default 10 GiB.
	MaxSize int64

	// MinFree is the space, in bytes, that the file system must have left for
	// new events to be accepted. Default 256 MiB.
	MinFree int64

	// MaxPending is the number of pending deliveries above which new events
	// are refused with storage.ErrBacklogFull. Default 10,000,000.
	MaxPending int

	// AcceptDataLoss opens for writing an outbox of which something is
	// missing or damaged: what is left becomes the new whole. It does so once:
	// after it was set when the outbox was opened, it is ignored until the
	// outbox was opened without it.
	AcceptDataLoss bool

	// Logger is told of what operators should know. Default: none.
	Logger *zap.Logger

	// Now is the clock. Default time.Now.
	Now func() time.Time

	// limits are the sizes that tests make small.
	limits limits

	// commitHook runs before every commit of a segment's writer and may fail
	// it; for tests.
	commitHook func() error

	// packHook runs before packing hands anything over to the database and may
	// fail it; for tests.
	packHook func() error
}

// limits bound a segment and the memory of its database.
type limits struct {
	// deliveries, bytes and age end the active segment.
	deliveries int
	bytes      int64
	age        time.Duration

	// memTable is the size of a database's memtables; a commit to it holds at
	// most 15 % of that.
	memTable int64

	// idle is the number of databases that stay open although they are not
	// used, and readers how many are only read and may stay open while they are.
	idle, readers int

	// drain is how long a sealed segment in which something is pending stays a
	// journal, because settling costs less there, and journals is how many such
	// there may be, because each takes some ten megabytes of memory.
	drain    time.Duration
	journals int

	// repack is the time between two attempts to pack a segment, of which the
	// first failed.
	repack time.Duration

	// tick is the period of the housekeeper; negative turns it off.
	tick time.Duration

	// blind turns the watermark off, and unexamined the examination of files.
	blind, unexamined bool

	// reserve is the size of the file that is given up for settling when the
	// disk is full.
	reserve int64
}

var defaultLimits = limits{
	deliveries: 100_000,
	bytes:      128 << 20,
	age:        time.Hour,
	memTable:   1 << 20,
	idle:       4,
	readers:    32,
	drain:      10 * time.Minute,
	journals:   8,
	repack:     time.Minute,
	tick:       time.Second,
	reserve:    32 << 20,
}

func (o Options) withDefaults() (Options, error) {
	if o.Retention < 0 || o.MaxSize < 0 || o.MinFree < 0 || o.MaxPending < 0 {
		return o, fmt.Errorf("outbox options must not be negative")
	}
	def(&o.Retention, DefaultRetention)
	def(&o.MaxSize, DefaultMaxSize)
	def(&o.MinFree, DefaultMinFree)
	def(&o.MaxPending, DefaultMaxPending)
	def(&o.limits.deliveries, defaultLimits.deliveries)
	def(&o.limits.bytes, defaultLimits.bytes)
	def(&o.limits.age, defaultLimits.age)
	def(&o.limits.memTable, defaultLimits.memTable)
	def(&o.limits.idle, defaultLimits.idle)
	def(&o.limits.readers, defaultLimits.readers)
	def(&o.limits.drain, defaultLimits.drain)
	def(&o.limits.journals, defaultLimits.journals)
	def(&o.limits.repack, defaultLimits.repack)
	def(&o.limits.tick, defaultLimits.tick)
	def(&o.limits.reserve, defaultLimits.reserve)
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, nil
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// databaseOptions are those of one segment.
//
// Badger's own SyncWrites is off because it syncs twice a commit, the write
// ahead log and the value log that is always empty here, and only logs a
// failure of the latter; the writer syncs the one file that matters itself.
// Values never reach the value log: what is written through Badger is
// settlements, which are short. Compaction would rewrite what retention removes as a whole.
func databaseOptions(dir string, memTable int64, log *zap.Logger) badgerdb.Options {
	return badgerdb.DefaultOptions(dir).
		WithSyncWrites(false).
		WithDetectConflicts(false).
		WithNumVersionsToKeep(1).
		WithNumCompactors(0).
		WithNumLevelZeroTables(1 << 20).
		WithNumLevelZeroTablesStall(1<<20 + 1).
		WithMemTableSize(memTable).
		// Badger begins a table in twice this much memory, and what it needs
		// for a whole memtable by doubling would be twice what it uses.
		WithBaseTableSize(memTable * 5 / 4).
		WithNumMemtables(2).
		WithValueThreshold(min(1<<20, memTable*15/100)).
		WithValueLogFileSize(1 << 20).
		WithCompression(options.Snappy).
		WithBlockCacheSize(1 << 20).
		WithMetricsEnabled(false).
		WithLogger(dbLogger{log.Sugar()})
}

// dbLogger passes Badger's messages on one level lower: what it calls
// information is noise to an operator. Errors stay errors.
type dbLogger struct{ log *zap.SugaredLogger }

func (l dbLogger) Errorf(f string, v ...any)   { l.log.Errorf(f, v...) }
func (l dbLogger) Warningf(f string, v ...any) { l.log.Infof(f, v...) }
func (l dbLogger) Infof(f string, v ...any)    { l.log.Debugf(f, v...) }
func (l dbLogger) Debugf(string, ...any)       {}
