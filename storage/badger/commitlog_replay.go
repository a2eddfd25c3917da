package badger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/bits"
	"os"
	"path/filepath"
)

// Replaying must tell damage, which stops the outbox until somebody decides
// what to do, from what a crash leaves, which is business as usual. A group is
// written only after all groups before it were synced. So the last group may
// be torn, and nobody was told that it is safe; every other must be whole. Of
// a group that does not verify the following is known:
//
//   - When the header of a later group can be found behind it, it is not the
//     last, so it is damaged.
//   - When it lies before what is known to be synced, it is damaged or lost.
//   - When the system went down, pages of the last group may have reached the
//     disk in any order. Nothing else can be concluded.
//   - When only the process ended, the system still wrote all it had been
//     given, and that is a prefix of the last write, with zeros behind. A group
//     of which the last byte is there, or that has something behind it, was
//     written to its end, so it is damaged. A header that does not verify is as
//     good as its own last byte.
//
// This cannot be told apart, and passes for a torn group: damage to the last
// group when the system went down; when it did not, damage to the last group
// if its last byte is a zero (or if its header is damaged and only zeros
// follow its last but one byte); a file that was cut short where a group
// begins or within the last one. Only what is known to be synced helps there.
// It would be worse to take a healthy log for a damaged one.

// logExpectation is what is known about a log before it is read.
type logExpectation struct {
	// end is the offset before which everything was synced, or 0 when that is
	// unknown.
	end int64

	// whole says that the outbox was closed, or that only the process ended
	// and not the system. Which start of the system wrote the log may be noted
	// only once a replay has returned: until then it may still end in what a
	// power cut left.
	whole bool
}

// replayCommitLog calls f for every group, in order, with the offset of its
// payload in the file. The payload is valid only during the call and must not
// be changed. It returns the log ready for more. An error that wraps errDamaged
// says what is lost; f has then been called for all groups before.
func replayCommitLog(path string, segment uint32, want logExpectation, f func(at int64, payload []byte) error) (*commitLog, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case errors.Is(err, os.ErrNotExist) && want.end > 0:
		return nil, fmt.Errorf("commit log %s is missing: %w: %w", path, errDamaged, err)
	case err != nil:
		return nil, fmt.Errorf("opening a commit log: %w", err)
	}
	l, err := replayLogFile(file, path, segment, want, f)
	if err == nil {
		// The process that created the file may have ended before it did that.
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return l, nil
}

func replayLogFile(file *os.File, path string, segment uint32, want logExpectation, f func(int64, []byte) error) (*commitLog, error) {
	fi, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening a commit log: %w", err)
	}
	r := &logReader{file: file, path: path, size: fi.Size()}
	var header []byte
	if r.size >= logFileHeader {
		if header, err = r.at(0, logFileHeader); err != nil {
			return nil, err
		}
	}
	if lastNonZero(header) == 0 {
		return r.restart(segment, want)
	}
	key, err := readLogHeader(header, path, segment)
	if err != nil {
		return nil, err
	}
	l := newCommitLog(file, path, key)
	l.size = r.size
	last, err := r.replay(l, f)
	if err != nil {
		return nil, err
	}
	tail, err := r.scan(l.end(), key, l.number)
	if err == nil {
		err = r.judge(l, tail, want)
	}
	if err == nil {
		err = r.settle(l, last, tail, want)
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

// readLogHeader returns the key of the log whose file starts with b.
func readLogHeader(b []byte, path string, segment uint32) (logKey, error) {
	n := logFileHeader - checksumSize
	if len(b) < logFileHeader || string(b[:len(logMagic)]) != logMagic || crc32.Checksum(b[:n], castagnoli) != binary.BigEndian.Uint32(b[n:]) {
		return logKey{}, fmt.Errorf("commit log %s is damaged at byte 0, in its header: %w", path, errDamaged)
	}
	if format := binary.BigEndian.Uint32(b[8:]); format > logFormat {
		return logKey{}, fmt.Errorf("commit log %s has format %d and this program knows formats up to %d: use a newer program", path, format, logFormat)
	} else if format != logFormat {
		return logKey{}, fmt.Errorf("commit log %s has the unknown format %d", path, format)
	}
	if n := binary.BigEndian.Uint32(b[12:]); n != segment {
		return logKey{}, fmt.Errorf("commit log %s belongs to segment %d, not %d", path, n, segment)
	}
	return newLogKey(segment, binary.BigEndian.Uint64(b[16:])), nil
}

// restart begins the log anew when the header never reached the disk. There
// can be no groups then, because the header is synced before the first.
func (r *logReader) restart(segment uint32, want logExpectation) (*commitLog, error) {
	tail := logTail{}
	if r.size >= logFileHeader {
		var err error
		if tail, err = r.scan(0, logKey{}, math.MaxUint64); err != nil {
			return nil, err
		}
	}
	switch {
	case want.end > r.size:
		return nil, fmt.Errorf("commit log %s is cut short at byte %d, and %d were synced: %w", r.path, r.size, want.end, errDamaged)
	case want.end > 0, tail.last > 0:
		return nil, fmt.Errorf("commit log %s is damaged at byte 0: its header is missing: %w", r.path, errDamaged)
	}
	if err := r.file.Truncate(0); err != nil {
		return nil, fmt.Errorf("starting %s again: %w", r.path, err)
	}
	l, err := startCommitLog(r.file, r.path, segment)
	if err != nil {
		return nil, fmt.Errorf("starting %s again: %w", r.path, err)
	}
	return l, nil
}

// replay calls f for the whole groups and leaves the log behind them. It
// returns where the last one starts, or 0.
func (r *logReader) replay(l *commitLog, f func(int64, []byte) error) (last int64, err error) {
	at := int64(logFileHeader)
	for ; ; l.number++ {
		l.ended.Store(at)
		l.blocks.Store(at)
		if r.size-at <= logGroupHeader {
			return last, nil
		}
		b, err := r.at(at, logGroupHeader)
		if err != nil {
			return 0, err
		}
		number, size, ok := l.key.parse(b)
		if size += logGroupHeader; !ok || number != l.number || size > r.size-at {
			return last, nil
		}
		if b, err = r.at(at, int(size)); err != nil {
			return 0, err
		}
		if !l.key.verify(b) {
			return last, nil
		}
		if err := f(at+logGroupHeader, b[logGroupHeader:]); err != nil {
			return 0, err
		}
		last = at
		at += size
	}
}

// judge tells what stands behind the last whole group from damage.
func (r *logReader) judge(l *commitLog, tail logTail, want logExpectation) error {
	at := l.end()
	switch {
	case tail.later > 0:
		return fmt.Errorf("commit log %s is damaged at byte %d: group %d does not verify, and group %d follows at byte %d: %w",
			r.path, at, l.number, tail.later, tail.laterAt, errDamaged)
	case want.end > r.size:
		return fmt.Errorf("commit log %s is cut short at byte %d: whole groups end at byte %d, and %d were synced: %w",
			r.path, r.size, at, want.end, errDamaged)
	case want.end > at:
		return fmt.Errorf("commit log %s is damaged at byte %d: group %d does not verify, and %d bytes were synced: %w",
			r.path, at, l.number, want.end, errDamaged)
	case !want.whole || tail.last == at:
		return nil
	}
	// The write got at least to here if the last byte before is there.
	written := at + logGroupHeader
	if r.size >= written {
		b, err := r.at(at, logGroupHeader)
		if err != nil {
			return err
		}
		if number, size, ok := l.key.parse(b); ok && number == l.number {
			written += size
		}
	}
	if tail.last >= written {
		return fmt.Errorf("commit log %s is damaged at byte %d: group %d does not verify, though it was written up to byte %d: %w",
			r.path, at, l.number, tail.last, errDamaged)
	}
	return nil
}

// settle makes durable what was replayed. The last group may never have been
// synced, or its sync may have failed, after which the system takes it for
// clean: so it is written again. Of a torn group nothing is left, because the
// next one may be shorter.
func (r *logReader) settle(l *commitLog, last int64, tail logTail, want logExpectation) error {
	if end := l.end(); last > 0 && want.end < end {
		b, err := r.at(last, int(end-last))
		if err != nil {
			return err
		}
		if _, err := l.write(b, last); err != nil && !isNoRoom(err) {
			return fmt.Errorf("writing to %s: %w", r.path, err)
		}
	}
	if fi, err := r.file.Stat(); err == nil && diskSize(fi) >= l.size {
		l.blocks.Store(l.size)
	}
	if tail.last > l.end() {
		return l.erase()
	}
	if err := l.sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", r.path, err)
	}
	return nil
}

// logReader reads a log with few, big reads into one buffer.
type logReader struct {
	file *os.File
	path string
	size int64
	buf  []byte
	base int64 // offset of buf in the file
}

// logReadSize is what one read takes, unless a group is larger.
const logReadSize = 2 << 20

// at returns n bytes of the file, which must be there. They are valid until
// the next call.
func (r *logReader) at(off int64, n int) ([]byte, error) {
	if i := off - r.base; i >= 0 && i+int64(n) <= int64(len(r.buf)) {
		return r.buf[i:][:n], nil
	}
	size := int(min(max(int64(n), logReadSize), r.size-off))
	if cap(r.buf) < size {
		r.buf = make([]byte, 1<<bits.Len(uint(size-1)))
	}
	r.buf, r.base = r.buf[:size], off
	if got, err := r.file.ReadAt(r.buf, off); got < size {
		r.buf = r.buf[:0]
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("reading commit log %s at byte %d: %w: %w", r.path, off+int64(got), errDamaged, err)
	}
	return r.buf[:n], nil
}

// logTail is what stands behind the last whole group.
type logTail struct {
	last    int64  // where the last byte ends that is not zero
	later   uint64 // number of a later group, if one was found
	laterAt int64
}

// scan looks behind an offset for a group with a number greater than the one
// that is due there.
func (r *logReader) scan(from int64, key logKey, due uint64) (logTail, error) {
	tail := logTail{last: from}
	marker := key.marker()
	for at := from; at < r.size; {
		b, err := r.at(at, int(min(logReadSize, r.size-at)))
		if err != nil {
			return tail, err
		}
		if n := lastNonZero(b); n > 0 {
			tail.last = at + int64(n)
		}
		for i := 0; len(b)-i >= logGroupHeader; i++ {
			j := bytes.Index(b[i:], marker)
			if j < 0 || len(b)-i-j < logGroupHeader {
				break
			}
			i += j
			if number, _, ok := key.parse(b[i:]); ok && number > due {
				tail.later, tail.laterAt = number, at+int64(i)
				return tail, nil
			}
		}
		if at+int64(len(b)) == r.size {
			break
		}
		at += int64(len(b)) - (logGroupHeader - 1) // a header may lie across
	}
	return tail, nil
}

// lastNonZero returns where the last byte ends that is not zero.
func lastNonZero(b []byte) int {
	n := len(b)
	for n >= 8 && binary.NativeEndian.Uint64(b[n-8:]) == 0 {
		n -= 8
	}
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return n
}
