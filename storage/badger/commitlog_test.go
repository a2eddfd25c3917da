package badger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

const testSegment = 7

// testGroup is a group with a payload that tells which one it is, and ends in
// a byte that is not zero.
func testGroup(i, size int) []byte {
	b := make([]byte, logGroupHeader+size)
	for j := range size {
		b[logGroupHeader+j] = byte(i*31 + j*7)
	}
	b[len(b)-1] |= 1
	return b
}

func newTestLog(t testing.TB) (*commitLog, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "commits")
	l, err := createCommitLog(path, testSegment)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.close() })
	return l, path
}

// writeTestLog makes a log of groups with payloads of the given sizes and
// returns where each starts, and where the last ends.
func writeTestLog(t testing.TB, sizes ...int) (path string, at []int64) {
	t.Helper()
	l, path := newTestLog(t)
	for i, size := range sizes {
		at = append(at, l.end())
		if _, err := l.commit(testGroup(i, size)); err != nil {
			t.Fatal(err)
		}
	}
	return path, append(at, l.end())
}

// replayed returns the payloads in the log.
func replayed(path string, want logExpectation) (payloads [][]byte, l *commitLog, err error) {
	l, err = replayCommitLog(path, testSegment, want, func(_ int64, payload []byte) error {
		payloads = append(payloads, bytes.Clone(payload))
		return nil
	})
	return payloads, l, err
}

// expectGroups replays and expects the test's groups of the given numbers and
// sizes, and that the log takes one more.
func expectGroups(t *testing.T, path string, want logExpectation, sizes []int, numbers ...int) {
	t.Helper()
	got, l, err := replayed(path, want)
	if err != nil {
		t.Fatalf("replaying: %v", err)
	}
	if len(got) != len(numbers) {
		t.Fatalf("got %d groups, want %d", len(got), len(numbers))
	}
	for i, n := range numbers {
		if !bytes.Equal(got[i], testGroup(n, sizes[n])[logGroupHeader:]) {
			t.Fatalf("group %d is not what was committed as group %d", i, n)
		}
	}
	end := l.end()
	l.blind = true // the file stays small
	if _, err := l.commit(testGroup(99, 1)); err != nil {
		t.Fatalf("committing after a replay: %v", err)
	}
	defer l.close()
	again, m, err := replayed(path, logExpectation{end: l.end(), whole: true})
	if err != nil {
		t.Fatalf("replaying again: %v", err)
	}
	defer m.close()
	if len(again) != len(numbers)+1 || m.end() != end+logGroupHeader+1 {
		t.Fatalf("got %d groups up to %d after one more, want %d up to %d", len(again), m.end(), len(numbers)+1, end+logGroupHeader+1)
	}
}

func expectDamage(t *testing.T, path string, want logExpectation, text string) {
	t.Helper()
	_, l, err := replayed(path, want)
	if l != nil {
		_ = l.close()
	}
	if !errors.Is(err, errDamaged) || l != nil {
		t.Fatalf("got log %v and error %v, want only that of damage", l, err)
	}
	if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), text) {
		t.Fatalf("got error %q, want one with %q and the path", err, text)
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// copyLog puts data in a file with some zeros behind, as they are there where
// the file is allocated.
func copyLog(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(memoryDir(t), "commits")
	if err := os.WriteFile(path, append(bytes.Clone(data), make([]byte, 300)...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// memoryDir returns a directory in memory where there is one: some disks sync
// slowly, and thousands of logs are opened here.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "caddy-webhooks-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestCommitLogRoundTrip(t *testing.T) {
	t.Parallel()
	sizes := []int{1, 100, 5000, 3 << 20, 17, 9 << 20, 2}
	l, path := newTestLog(t)
	if fi, err := os.Stat(path); err != nil || (checkPermissions && fi.Mode().Perm() != 0o600) {
		t.Fatalf("got %v and error %v, want a file only for the owner", fi, err)
	}
	var ats []int64
	for i, size := range sizes {
		at, err := l.commit(testGroup(i, size))
		if err != nil {
			t.Fatal(err)
		}
		if at+int64(size) != l.end() || l.allocated() < l.end() {
			t.Fatalf("got a payload at %d, the end %d and blocks up to %d", at, l.end(), l.allocated())
		}
		ats = append(ats, at)
	}
	if _, err := createCommitLog(path, testSegment); !errors.Is(err, os.ErrExist) {
		t.Fatalf("got error %v, want that the file exists", err)
	}
	for i, size := range sizes {
		got := make([]byte, size)
		if _, err := l.ReadAt(got, ats[i]); err != nil || !bytes.Equal(got, testGroup(i, size)[logGroupHeader:]) {
			t.Fatalf("group %d cannot be read back: %v", i, err)
		}
	}
	for _, n := range []int{0, logGroupHeader} {
		if _, err := l.commit(make([]byte, n)); err == nil {
			t.Fatal("a group without a payload was committed")
		}
	}
	end := l.end()
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	i := 0
	m, err := replayCommitLog(path, testSegment, logExpectation{end: end, whole: true}, func(at int64, _ []byte) error {
		if at != ats[i] {
			return fmt.Errorf("got offset %d for group %d, want %d", at, i, ats[i])
		}
		i++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = m.close()
	expectGroups(t, path, logExpectation{end: end, whole: true}, sizes, 0, 1, 2, 3, 4, 5, 6)
}

func TestCommitLogPassesOnErrors(t *testing.T) {
	t.Parallel()
	path, _ := writeTestLog(t, 10)
	boom := errors.New("boom")
	if l, err := replayCommitLog(path, testSegment, logExpectation{}, func(int64, []byte) error { return boom }); !errors.Is(err, boom) || l != nil {
		t.Fatalf("got log %v and error %v, want the function's", l, err)
	}
}

// TestCommitLogTornTail cuts the last group off after every byte: with zeros
// behind, as in an allocated file, and with nothing.
func TestCommitLogTornTail(t *testing.T) {
	t.Parallel()
	sizes := []int{40, 60, 90}
	path, at := writeTestLog(t, sizes...)
	data := readFile(t, path)
	for cut := at[2]; cut < at[3]; cut++ {
		for _, whole := range []bool{true, false} {
			want := logExpectation{end: at[2], whole: whole}
			padded := copyLog(t, data[:cut])
			expectGroups(t, padded, want, sizes, 0, 1)
			short := copyLog(t, nil)
			if err := os.WriteFile(short, data[:cut], 0o600); err != nil {
				t.Fatal(err)
			}
			expectGroups(t, short, want, sizes, 0, 1)
		}
	}
	expectGroups(t, copyLog(t, data[:at[3]]), logExpectation{end: at[3], whole: true}, sizes, 0, 1, 2)
}

// TestCommitLogTornByPowerCut loses parts of the last group in its middle and
// at its start.
func TestCommitLogTornByPowerCut(t *testing.T) {
	t.Parallel()
	sizes := []int{3000, 5000, 20000}
	path, at := writeTestLog(t, sizes...)
	data := readFile(t, path)[:at[3]]
	for from := at[2]; from < at[3]; from += 512 {
		for _, n := range []int64{512, 4096, 8192} {
			lost := bytes.Clone(data)
			clear(lost[from:min(from+n, at[3])])
			expectGroups(t, copyLog(t, lost), logExpectation{end: at[2]}, sizes, 0, 1)
			if from+n < at[3] { // the same without a power cut cannot be
				expectDamage(t, copyLog(t, lost), logExpectation{end: at[2], whole: true}, fmt.Sprintf("at byte %d", at[2]))
			}
		}
	}
}

// TestCommitLogReportsFlips flips every byte of the first groups, and of the
// last one where that can be told.
func TestCommitLogReportsFlips(t *testing.T) {
	t.Parallel()
	path, at := writeTestLog(t, 40, 60, 90)
	data := readFile(t, path)[:at[3]]
	for i := range at[3] {
		for _, want := range []logExpectation{{}, {whole: true}, {end: at[3]}, {end: at[3], whole: true}} {
			if i >= at[2] && want.end == 0 && (!want.whole || i < at[2]+logGroupHeader) {
				continue // looks like a torn group, or may
			}
			flipped := bytes.Clone(data)
			flipped[i] ^= 0x10
			text := fmt.Sprintf("damaged at byte %d", at[2])
			switch {
			case i < at[0]:
				text = "damaged at byte 0"
			case i < at[1]:
				text = fmt.Sprintf("damaged at byte %d", at[0])
			case i < at[2]:
				text = fmt.Sprintf("damaged at byte %d", at[1])
			}
			if i >= 8 && i < 16 {
				text = "damaged at byte 0" // neither another format nor another segment
			}
			expectDamage(t, copyLog(t, flipped), want, text)
		}
	}
	// With the system up, also a flipped header betrays itself by what follows.
	for i := at[2]; i < at[2]+logGroupHeader; i++ {
		flipped := bytes.Clone(data)
		flipped[i] ^= 0x10
		expectDamage(t, copyLog(t, flipped), logExpectation{whole: true}, fmt.Sprintf("damaged at byte %d", at[2]))
	}
}

func TestCommitLogReportsLostGroups(t *testing.T) {
	t.Parallel()
	path, at := writeTestLog(t, 40, 60, 90)
	data := readFile(t, path)[:at[3]]
	for size := range at[3] {
		cut := copyLog(t, nil)
		if err := os.WriteFile(cut, data[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		for _, whole := range []bool{true, false} {
			expectDamage(t, cut, logExpectation{end: at[3], whole: whole}, fmt.Sprintf("cut short at byte %d", size))
		}
	}
	for n := range 3 {
		zeroed := bytes.Clone(data)
		clear(zeroed[at[n]:])
		expectDamage(t, copyLog(t, zeroed), logExpectation{end: at[3]}, fmt.Sprintf("damaged at byte %d", at[n]))
	}
	missing := slicesWithout(data, at[1], at[2])
	expectDamage(t, copyLog(t, missing), logExpectation{}, "group 3 follows")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expectDamage(t, path, logExpectation{end: at[3]}, "missing")
	if _, _, err := replayed(path, logExpectation{}); !errors.Is(err, os.ErrNotExist) || errors.Is(err, errDamaged) {
		t.Fatalf("got error %v, want that the file does not exist", err)
	}
}

func slicesWithout(b []byte, from, to int64) []byte {
	return append(bytes.Clone(b[:from]), b[to:]...)
}

// TestCommitLogFindsFarGroups has the header of the only later group lie
// across the border between two reads, at many positions.
func TestCommitLogFindsFarGroups(t *testing.T) {
	t.Parallel()
	for shift := -1; shift <= logGroupHeader+1; shift += 3 {
		path, at := writeTestLog(t, logReadSize-logGroupHeader-shift, 1)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(make([]byte, at[1]-at[0]), at[0]); err != nil {
			t.Fatal(err)
		}
		f.Close()
		expectDamage(t, path, logExpectation{}, fmt.Sprintf("group 2 follows at byte %d", at[1]))
	}
}

func TestCommitLogHeader(t *testing.T) {
	t.Parallel()
	path, _ := writeTestLog(t, 40)
	data := readFile(t, path)[:200]
	if _, err := replayCommitLog(path, testSegment+1, logExpectation{}, nil); err == nil || errors.Is(err, errDamaged) || !strings.Contains(err.Error(), "belongs to segment 7") {
		t.Fatalf("got error %v, want that the segment is another", err)
	}
	if err := salvageCommitLog(path, testSegment+1); err == nil {
		t.Fatal("the log of another segment was salvaged")
	}
	binary.BigEndian.PutUint32(data[8:], logFormat+1)
	binary.BigEndian.PutUint32(data[28:], crc32.Checksum(data[:28], castagnoli))
	if _, _, err := replayed(copyLog(t, data), logExpectation{}); err == nil || errors.Is(err, errDamaged) || !strings.Contains(err.Error(), "use a newer program") {
		t.Fatalf("got error %v, want that the format is newer", err)
	}
	for _, size := range []int{0, 1, logFileHeader - 1, logFileHeader, 5000} {
		empty := copyLog(t, nil)
		if err := os.WriteFile(empty, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		expectDamage(t, empty, logExpectation{end: logFileHeader}, "at byte")
		expectGroups(t, empty, logExpectation{}, nil)
	}
	clear(data[:logFileHeader])
	expectDamage(t, copyLog(t, data), logExpectation{}, "header is missing")
}

// fullDisk lets a log write only so many bytes more.
func fullDisk(l *commitLog, room int) (free func()) {
	write, extend := l.write, l.extend
	l.blind = true // as if the file system did not allocate
	l.write = func(p []byte, off int64) (int, error) {
		n, err := write(p[:min(len(p), room)], off)
		room -= n
		if err == nil && n < len(p) {
			err = &os.PathError{Op: "write", Path: l.path, Err: syscall.ENOSPC}
		}
		return n, err
	}
	return func() { l.write, l.extend, l.blind = write, extend, false }
}

// TestCommitLogFullDisk has a long group fail after every number of bytes, and
// a shorter one succeed in its place, after which a third is torn.
func TestCommitLogFullDisk(t *testing.T) {
	t.Parallel()
	sizes := []int{30, 10, 70}
	for room := 0; room < 200; room += 7 {
		l, path := newTestLog(t)
		if _, err := l.commit(testGroup(0, sizes[0])); err != nil {
			t.Fatal(err)
		}
		end := l.end()
		free := fullDisk(l, room)
		if _, err := l.commit(testGroup(5, 200)); !errors.Is(err, errNoRoom) || l.end() != end {
			t.Fatalf("got end %d and error %v, want %d and that the disk is full", l.end(), err, end)
		}
		if tail := readFile(t, path)[end:]; lastNonZero(tail) != 0 {
			t.Fatalf("the failed group left something behind")
		}
		free()
		if _, err := l.commit(testGroup(1, sizes[1])); err != nil {
			t.Fatal(err)
		}
		end = l.end()
		if _, err := l.commit(testGroup(2, sizes[2])); err != nil {
			t.Fatal(err)
		}
		data := readFile(t, path)[:end+40]
		for _, whole := range []bool{true, false} {
			expectGroups(t, copyLog(t, data), logExpectation{end: end, whole: whole}, sizes, 0, 1)
		}
	}
}

// TestCommitLogLeftovers leaves a part of a long group behind a shorter one,
// as if it had never been erased.
func TestCommitLogLeftovers(t *testing.T) {
	t.Parallel()
	sizes := []int{30, 10}
	path, at := writeTestLog(t, sizes...)
	data := readFile(t, path)[:at[2]]
	_, l, err := replayed(path, logExpectation{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	long := testGroup(5, 500)
	for number := range uint64(3) {
		l.key.seal(long, number+1)
		left := append(bytes.Clone(data), long[at[2]-at[1]:]...)
		expectGroups(t, copyLog(t, left), logExpectation{end: at[2]}, sizes, 0, 1)
		// A whole copy of an earlier group is none that is due, either.
		left = append(bytes.Clone(data), data[at[0]:at[1]]...)
		expectGroups(t, copyLog(t, left), logExpectation{end: at[2]}, sizes, 0, 1)
	}
}

// TestCommitLogWritesZerosAhead has blocks written before they are used, never
// outside of those that are allocated, and anew after the file was cut.
func TestCommitLogWritesZerosAhead(t *testing.T) {
	t.Parallel()
	l, path := newTestLog(t)
	sizes := []int{100, logZeros / 2, logZeros, 3 * logZeros, 3 * logZeros, logAhead, 100}
	for i, size := range sizes {
		if _, err := l.commit(testGroup(i, size)); err != nil {
			t.Fatal(err)
		}
		if l.blind {
			t.Skip("the file system does not allocate")
		}
		if l.zeroed < l.end() || l.zeroed > l.allocated() || l.zeroed > l.end()+logZeros {
			t.Errorf("group %d, to %d of %d: got zeros up to %d, want them up to a step ahead", i, l.end(), l.allocated(), l.zeroed)
		}
	}
	if err := l.erase(); err != nil || l.zeroed != l.end() {
		t.Errorf("after the file was cut at %d: got zeros up to %d and error %v", l.end(), l.zeroed, err)
	}
	if _, err := l.commit(testGroup(len(sizes), 100)); err != nil || l.zeroed <= l.end() {
		t.Errorf("after a group to %d: got zeros up to %d and error %v", l.end(), l.zeroed, err)
	}
	size := l.allocated()
	if fi, err := os.Stat(path); err != nil || fi.Size() != size {
		t.Errorf("got a file of %v and error %v, want %d bytes, all allocated", fi.Size(), err, size)
	}
	got, _, err := replayed(path, logExpectation{end: l.end(), whole: true})
	if err != nil || len(got) != len(sizes)+1 {
		t.Errorf("replaying: got %d groups and error %v, want %d", len(got), err, len(sizes)+1)
	}
}

// TestCommitLogAllocates counts what is asked of the file system, and has it
// refuse.
func TestCommitLogAllocates(t *testing.T) {
	t.Parallel()
	l, path := newTestLog(t)
	var asked []int64
	answer := func(int64) error { return nil }
	extend := l.extend
	l.extend = func(from, to int64) error {
		asked = append(asked, to)
		if err := answer(to); err != nil {
			return err
		}
		return extend(from, to)
	}
	commit := func(size int) error {
		asked = nil
		_, err := l.commit(testGroup(0, size))
		return err
	}
	for range 3 {
		if err := commit(100); err != nil {
			t.Fatal(err)
		}
	}
	if l.blind {
		t.Skip("the file system does not allocate")
	}
	if len(asked) != 0 || l.allocated() != logAhead {
		t.Fatalf("asked for %v, and blocks are there up to %d", asked, l.allocated())
	}
	full := func(int64) error { return syscall.ENOSPC }
	answer = full
	end := l.end()
	if err := commit(logAhead); !errors.Is(err, errNoRoom) || !errors.Is(err, syscall.ENOSPC) || l.end() != end || len(asked) != 2 {
		t.Fatalf("asked for %v, got end %d and error %v, want that the disk is full", asked, l.end(), err)
	}
	if err := commit(100); err != nil {
		t.Fatalf("committing within the blocks: %v", err)
	}
	answer = func(to int64) error { // room for the group, not for the step
		if to%logAhead == 0 {
			return syscall.EDQUOT
		}
		return nil
	}
	if err := commit(logAhead); err != nil || l.allocated() != l.end() {
		t.Fatalf("got blocks up to %d and error %v, want just the group's", l.allocated(), err)
	}
	answer = func(int64) error { return syscall.EOPNOTSUPP }
	for i := range 2 {
		if err := commit(100); err != nil || len(asked) != 1-i || l.allocated() != l.end() {
			t.Fatalf("asked for %v, got blocks up to %d and error %v, want a plain write", asked, l.allocated(), err)
		}
	}
	got, m, err := replayed(path, logExpectation{end: l.end(), whole: true})
	if err != nil || len(got) != 7 {
		t.Fatalf("got %d groups and error %v, want 7", len(got), err)
	}
	_ = m.close()
}

func TestCommitLogFailedSyncIsFinal(t *testing.T) {
	t.Parallel()
	l, _ := newTestLog(t)
	works := l.sync
	l.sync = func() error { return syscall.EIO }
	_, first := l.commit(testGroup(0, 10))
	l.sync = works
	_, second := l.commit(testGroup(0, 10))
	if !errors.Is(first, syscall.EIO) || errors.Is(first, errNoRoom) || !errors.Is(second, syscall.EIO) || l.end() != logFileHeader {
		t.Fatalf("got end %d and errors %v and %v, want the same error twice", l.end(), first, second)
	}
	l, _ = newTestLog(t)
	_ = l.close()
	if _, err := l.commit(testGroup(0, 10)); !errors.Is(err, os.ErrClosed) {
		t.Fatalf("got error %v, want that the file is closed", err)
	}
}

// TestCommitLogSalvage damages every group but two, and the header, in turn.
func TestCommitLogSalvage(t *testing.T) {
	t.Parallel()
	sizes := []int{40, 60, 90, 20}
	path, at := writeTestLog(t, sizes...)
	data := readFile(t, path)[:at[4]]
	for _, header := range []bool{false, true} {
		for i := at[0]; i < at[3]; i++ {
			damaged := bytes.Clone(data)
			damaged[i] ^= 0x10
			if header {
				damaged[i%logFileHeader] ^= 0x10
			}
			path := copyLog(t, damaged)
			if err := salvageCommitLog(path, testSegment); err != nil {
				t.Fatal(err)
			}
			if kept := readFile(t, path+".damaged"); !bytes.Equal(kept[:len(damaged)], damaged) {
				t.Fatal("the damaged file was not kept as it was")
			}
			var numbers []int
			for n := range sizes {
				if i < at[n] || i >= at[n+1] {
					numbers = append(numbers, n)
				}
			}
			expectGroups(t, path, logExpectation{whole: true}, sizes, numbers...)
		}
	}
}

// TestCommitLogSalvageDistrustsPayloads has a damaged payload hold a group that
// verifies, but has a salt that its maker could only guess.
func TestCommitLogSalvageDistrustsPayloads(t *testing.T) {
	t.Parallel()
	l, path := newTestLog(t)
	forged := testGroup(8, 50)
	newLogKey(testSegment, 12345).seal(forged, 4)
	for i := range 3 {
		g := append(make([]byte, logGroupHeader), forged...)
		if i > 0 {
			g = testGroup(i, 50)
		}
		if _, err := l.commit(g); err != nil {
			t.Fatal(err)
		}
	}
	data := readFile(t, path)[:l.end()]
	data[3] ^= 0xff
	data[logFileHeader] ^= 0xff
	path = copyLog(t, data)
	if err := salvageCommitLog(path, testSegment); err != nil {
		t.Fatal(err)
	}
	expectGroups(t, path, logExpectation{}, []int{50, 50, 50}, 1, 2)
}

func TestCommitLogSalvageOfNothing(t *testing.T) {
	t.Parallel()
	for _, data := range []string{"", "short", strings.Repeat("x", 10000)} {
		path := copyLog(t, []byte(data))
		for range 2 {
			if err := salvageCommitLog(path, testSegment); err != nil {
				t.Fatal(err)
			}
		}
		expectGroups(t, path, logExpectation{}, nil)
	}
	if err := salvageCommitLog(filepath.Join(t.TempDir(), "none"), testSegment); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("got error %v, want that there is no file", err)
	}
}

func TestCommitLogConcurrentReads(t *testing.T) {
	t.Parallel()
	l, _ := newTestLog(t)
	const size, groups = 1000, 50
	var stopped atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			got := make([]byte, size)
			for i := range groups {
				at := logFileHeader + int64(i)*(logGroupHeader+size)
				for l.end() <= at && !stopped.Load() {
					runtime.Gosched()
				}
				if l.end() <= at {
					return
				}
				if _, err := l.ReadAt(got, at+logGroupHeader); err != nil || !bytes.Equal(got, testGroup(i, size)[logGroupHeader:]) || l.allocated() < at {
					t.Errorf("group %d cannot be read back: %v", i, err)
					return
				}
			}
		})
	}
	for i := range groups {
		if _, err := l.commit(testGroup(i, size)); err != nil {
			t.Error(err)
			break
		}
	}
	stopped.Store(true)
	wg.Wait()
}

func TestCommitLogAllocatesNoMemory(t *testing.T) {
	l, _ := newTestLog(t)
	l.sync = func() error { return nil }
	g := testGroup(0, 1000)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := l.commit(g); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Fatalf("got %v allocations for a commit, want none", n)
	}
}

func BenchmarkCommitLogCommit(b *testing.B) {
	for _, size := range []int{1 << 10, 32 << 10} {
		for _, sync := range []bool{true, false} {
			b.Run(fmt.Sprintf("%dKiB/sync=%t", size>>10, sync), func(b *testing.B) {
				l, _ := newTestLog(b)
				if !sync {
					l.sync = func() error { return nil }
				}
				g := testGroup(0, size)
				b.SetBytes(int64(len(g)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := l.commit(g); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkCommitLogReplay(b *testing.B) {
	const total = 256 << 20
	for _, size := range []int{1 << 10, 32 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			l, path := newTestLog(b)
			works := l.sync
			l.sync = func() error { return nil }
			for l.end() < total {
				if _, err := l.commit(testGroup(0, size)); err != nil {
					b.Fatal(err)
				}
			}
			if err := works(); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(l.end())
			b.ReportAllocs()
			for b.Loop() {
				m, err := replayCommitLog(path, testSegment, logExpectation{end: l.end(), whole: true}, func(int64, []byte) error { return nil })
				if err != nil {
					b.Fatal(err)
				}
				_ = m.close()
			}
		})
	}
}

var _ io.ReaderAt = (*commitLog)(nil)
