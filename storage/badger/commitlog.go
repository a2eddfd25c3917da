package badger

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
)

// A commit log makes the commits of the active segment durable: one group of
// operations is one write and one sync. The file is a header and groups:
//
//	header: magic 8, format 4, segment 4, salt 8, zeros 4, CRC-32C 4
//	group:  marker 4, salt 8, number 8, length 4, CRC-32C of the payload 4,
//	        CRC-32C of the group's header 4, payload
//
// Numbers are big-endian. Groups are numbered from 1 without gaps. Both
// checksums of a group start from the format and the segment, and cover salt
// and number; the salt is drawn for every file. So neither bytes of another
// log, nor of this one at another place in the order, nor what a sender puts
// into a payload can pass for the group that is due. The salt stands in every
// group so that groups can be told without the file's header.
//
// Behind the last group there are only zeros, but for one exception: a part of
// the one group whose write was cut off. Everything that writes keeps to that,
// because replaying relies on it to tell that part from damage.
const (
	logFileHeader  = 32
	logGroupHeader = 32

	logMagic      = "\x89CWHLOG\n"
	logMarker     = "\xf1\x8eGr"
	logMarkerSize = len(logMarker) + logSaltSize
	logSaltSize   = 8

	// logFormat is refused when it is newer than this. The header keeps its
	// form in all formats.
	logFormat = 1

	// maxLogPayload bounds what a group may hold.
	maxLogPayload = 1 << 30

	// logAhead is the step in which the file is allocated ahead of its use,
	// and logShort that when there is little room.
	logAhead = 8 << 20
	logShort = 64 << 10

	// logZeros is the step in which blocks that were allocated are written
	// with zeros, ahead of their use. The first write of a block changes the
	// file system's own records, too, and syncing those costs more than
	// syncing the block: half as much again in time and in processor time.
	logZeros = 1 << 20
)

// logKey is what makes the checksums of one log its own.
type logKey struct {
	base uint32 // of format and segment
	salt uint64
}

func newLogKey(segment uint32, salt uint64) logKey {
	b := binary.BigEndian.AppendUint32(nil, logFormat)
	b = binary.BigEndian.AppendUint32(b, segment)
	return logKey{base: crc32.Checksum(b, castagnoli), salt: salt}
}

// marker is what all groups of the log start with.
func (k logKey) marker() []byte {
	return binary.BigEndian.AppendUint64([]byte(logMarker), k.salt)
}

// seal fills in the header of a group.
func (k logKey) seal(group []byte, number uint64) {
	copy(group, logMarker)
	binary.BigEndian.PutUint64(group[4:], k.salt)
	binary.BigEndian.PutUint64(group[12:], number)
	binary.BigEndian.PutUint32(group[20:], uint32(len(group)-logGroupHeader))
	binary.BigEndian.PutUint32(group[24:], k.payloadSum(group))
	binary.BigEndian.PutUint32(group[28:], crc32.Update(k.base, castagnoli, group[:28]))
}

func (k logKey) payloadSum(group []byte) uint32 {
	return crc32.Update(crc32.Update(k.base, castagnoli, group[:24]), castagnoli, group[logGroupHeader:])
}

// parse reads the header of a group at the start of b; size is that of the
// payload.
func (k logKey) parse(b []byte) (number uint64, size int64, ok bool) {
	if string(b[:4]) != logMarker || binary.BigEndian.Uint64(b[4:]) != k.salt ||
		binary.BigEndian.Uint32(b[28:]) != crc32.Update(k.base, castagnoli, b[:28]) {
		return 0, 0, false
	}
	size = int64(binary.BigEndian.Uint32(b[20:]))
	return binary.BigEndian.Uint64(b[12:]), size, size > 0 && size <= maxLogPayload
}

// verify says whether the payload is the one that the group's header, which
// parse accepted, was made for.
func (k logKey) verify(group []byte) bool {
	return binary.BigEndian.Uint32(group[24:]) == k.payloadSum(group)
}

// commitLog is a log that is open for appending. One goroutine may commit,
// while any number read what was committed.
type commitLog struct {
	path   string
	file   *os.File
	key    logKey
	number uint64 // of the next group

	ended  atomic.Int64 // where the last committed group ends
	blocks atomic.Int64 // how far blocks are allocated

	ahead  int64 // in which steps the file is allocated
	size   int64 // of the file
	zeroed int64 // how far blocks are written
	torn   bool  // a part of a failed write stands behind the last group
	blind  bool  // the file system does not allocate
	failed error // answers every commit

	// What tests replace.
	write  func(p []byte, off int64) (int, error)
	sync   func() error
	extend func(from, to int64) error
}

func newCommitLog(f *os.File, path string, key logKey) *commitLog {
	return &commitLog{
		path: path, file: f, key: key, number: 1, ahead: logAhead,
		write:  f.WriteAt, // which retries what a signal interrupts
		sync:   func() error { return syncData(f) },
		extend: func(from, to int64) error { return extendFile(f, from, to) },
	}
}

// createCommitLog makes a log, durable with its name. The file must not exist.
func createCommitLog(path string, segment uint32) (*commitLog, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("creating a commit log: %w", noRoom(err))
	}
	l, err := startCommitLog(f, path, segment)
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(path)
		return nil, fmt.Errorf("creating a commit log: %w", err)
	}
	return l, nil
}

// startCommitLog writes the header of a new log and syncs it.
func startCommitLog(f *os.File, path string, segment uint32) (*commitLog, error) {
	header, key := newLogHeader(segment)
	if _, err := f.WriteAt(header, 0); err != nil {
		return nil, noRoom(err)
	}
	if err := syncData(f); err != nil {
		return nil, fmt.Errorf("syncing %s: %w", path, noRoom(err))
	}
	l := newCommitLog(f, path, key)
	l.size = logFileHeader
	l.ended.Store(logFileHeader)
	l.blocks.Store(logFileHeader)
	return l, nil
}

// newLogHeader draws a salt.
func newLogHeader(segment uint32) ([]byte, logKey) {
	b := append(make([]byte, 0, logFileHeader), logMagic...)
	b = binary.BigEndian.AppendUint32(b, logFormat)
	b = binary.BigEndian.AppendUint32(b, segment)
	var salt [logSaltSize]byte
	_, _ = rand.Read(salt[:]) // never fails
	b = append(b, salt[:]...)
	b = append(b, 0, 0, 0, 0)
	b = appendChecksum(b, 0)
	return b, newLogKey(segment, binary.BigEndian.Uint64(salt[:]))
}

// commit appends a group and syncs it, and returns the offset of its payload.
// The first logGroupHeader bytes of the group are room for its header. When
// the disk is full, the error wraps errNoRoom, and the log is as it was.
// Any other failure is final: after a failed sync the system may take for
// clean what never reached the disk, and a later sync that succeeds proves
// nothing.
func (l *commitLog) commit(group []byte) (at int64, err error) {
	if l.failed != nil {
		return 0, l.failed
	}
	if n := len(group) - logGroupHeader; n <= 0 || n > maxLogPayload {
		return 0, fmt.Errorf("committing to %s: a payload cannot have %d bytes", l.path, n)
	}
	end := l.ended.Load()
	if l.torn {
		if err := l.erase(); err != nil {
			return 0, err
		}
	}
	to := end + int64(len(group))
	if err := l.allocate(to); err != nil {
		return 0, err
	}
	l.key.seal(group, l.number)
	if n, err := l.write(group, end); err != nil {
		return 0, l.undo(n, err)
	}
	if err := l.zero(to); err != nil {
		return 0, l.fail("writing to", err)
	}
	if err := l.sync(); err != nil {
		return 0, l.fail("syncing", err)
	}
	l.number++
	l.ended.Store(to)
	if to > l.blocks.Load() {
		l.blocks.Store(to)
		l.size = max(l.size, to)
	}
	return end + logGroupHeader, nil
}

// allocate makes sure of the blocks up to an offset, and of those up to the
// next step when there is room.
func (l *commitLog) allocate(to int64) error {
	from := l.blocks.Load()
	if l.blind || to <= from {
		return nil
	}
	step := (to + l.ahead - 1) / l.ahead * l.ahead
	err := l.extend(from, step)
	if isNoRoom(err) {
		// What the attempt got before it failed would be the last of the disk.
		_ = l.file.Truncate(l.size)
		step = to
		err = l.extend(from, step)
	}
	if isNoRoom(err) {
		_ = l.file.Truncate(l.size)
		return fmt.Errorf("allocating %s: %w", l.path, noRoom(err))
	}
	// A file system that cannot do it is not asked again: there, the write
	// will tell when there is no room.
	if l.blind = err != nil; !l.blind {
		l.size = max(l.size, step)
		l.blocks.Store(step)
	}
	return nil
}

// zeros is never written to.
var zeros [logZeros]byte

// zero writes the next blocks behind the group that ends at an offset, when it
// reached the last that are written.
func (l *commitLog) zero(from int64) error {
	to := min(from+logZeros, l.blocks.Load())
	if l.blind || from <= l.zeroed || to <= from {
		return nil
	}
	l.zeroed = to
	if _, err := l.file.WriteAt(zeros[:to-from], from); !isNoRoom(err) {
		return err
	}
	return nil // blocks that need others to be written are used as they are
}

// undo answers a write that failed after n bytes. Its traces are erased,
// because a shorter group may come to stand there.
func (l *commitLog) undo(n int, cause error) error {
	if !isNoRoom(cause) {
		return l.fail("writing to", cause)
	}
	if l.torn = n > 0; l.torn {
		// If this fails, too, the next commit begins with it.
		_ = l.erase()
	}
	return fmt.Errorf("writing to %s: %w", l.path, noRoom(cause))
}

// erase cuts off what lies behind the last group, and syncs: were a power cut
// to bring it back behind the next group, it would look like damage. So would
// it if the process were killed halfway through overwriting it with zeros,
// while cutting happens at once. The blocks are then allocated anew.
func (l *commitLog) erase() error {
	end, size, blocks := l.ended.Load(), l.size, l.blocks.Load()
	if err := l.file.Truncate(end); err != nil {
		return fmt.Errorf("cutting off the end of %s: %w", l.path, noRoom(err))
	}
	l.size, l.zeroed = end, end
	l.blocks.Store(end)
	if blocks > end && !l.blind && l.extend(end, size) == nil {
		l.size = size
		l.blocks.Store(size)
	}
	if err := l.sync(); err != nil {
		return l.fail("syncing", err)
	}
	l.torn = false
	return nil
}

// fail ends the use of the log.
func (l *commitLog) fail(doing string, err error) error {
	l.failed = fmt.Errorf("%s %s: %w", doing, l.path, err)
	return l.failed
}

// ReadAt implements [io.ReaderAt] for what was committed.
func (l *commitLog) ReadAt(p []byte, off int64) (int, error) { return l.file.ReadAt(p, off) }

// end returns where the last committed group ends.
func (l *commitLog) end() int64 { return l.ended.Load() }

// allocated returns how far a commit can reach without asking the file system
// for blocks.
func (l *commitLog) allocated() int64 { return l.blocks.Load() }

// close gives back the blocks that were allocated ahead.
func (l *commitLog) close() error {
	var err error
	if l.failed == nil && !l.torn {
		err = l.file.Truncate(l.end())
	}
	return errors.Join(err, l.file.Close())
}

// isNoRoom says whether the disk or a quota is full.
func isNoRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// noRoom makes errNoRoom of what the system says about a full disk.
func noRoom(err error) error {
	if isNoRoom(err) {
		return fmt.Errorf("%w: %w", errNoRoom, err)
	}
	return err
}
