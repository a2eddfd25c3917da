package badger

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// salvageCommitLog makes a log that can be replayed out of all whole groups
// that can be found in a damaged one, before and behind the damage. The
// damaged file is kept under a name that ends in ".damaged". Where even the
// header is unreadable, the salt counts that most groups have: others may
// come from within a payload, which a sender chose.
func salvageCommitLog(path string, segment uint32) error {
	data, err := readLogData(path)
	if err != nil {
		return fmt.Errorf("salvaging %s: %w", path, err)
	}
	var groups []foundGroup
	key, err := readLogHeader(data[:min(len(data), logFileHeader)], path, segment)
	switch {
	case err == nil:
		groups = findGroups(data, key.marker(), segment)
	case errors.Is(err, errDamaged):
		groups = ofMostFrequentSalt(findGroups(data, []byte(logMarker), segment))
	default:
		return fmt.Errorf("salvaging: %w", err) // nothing is wrong with the file
	}
	slices.SortStableFunc(groups, func(a, b foundGroup) int {
		return cmp.Compare(a.number, b.number)
	})
	groups = slices.CompactFunc(groups, func(a, b foundGroup) bool { return a.number == b.number })
	if err := keepLogCopy(path, data); err != nil {
		return fmt.Errorf("salvaging %s: %w", path, err)
	}
	if err := rewriteLog(path, segment, data, groups); err != nil {
		return fmt.Errorf("salvaging %s: %w", path, err)
	}
	return nil
}

// readLogData reads a file. What the disk does not give back is zeros.
func readLogData(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	data := make([]byte, fi.Size())
	const sector = 4096
	for at := 0; at < len(data); {
		n, err := f.ReadAt(data[at:], int64(at))
		at += n
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			at = (at + sector) / sector * sector
		}
	}
	return data, nil
}

// foundGroup is a whole group in the data of a damaged log.
type foundGroup struct {
	number   uint64
	salt     uint64
	at, size int
}

// findGroups finds the whole groups that start with a marker. What lies in a
// whole group is not looked at.
func findGroups(data, marker []byte, segment uint32) (groups []foundGroup) {
	for at := 0; ; {
		i := bytes.Index(data[at:], marker)
		if i < 0 || len(data)-at-i < logGroupHeader {
			return groups
		}
		at += i
		b := data[at:]
		key := newLogKey(segment, binary.BigEndian.Uint64(b[len(logMarker):]))
		number, size, ok := key.parse(b)
		size += logGroupHeader
		if !ok || size > int64(len(b)) || !key.verify(b[:size]) {
			at++
			continue
		}
		groups = append(groups, foundGroup{number: number, salt: key.salt, at: at, size: int(size)})
		at += int(size)
	}
}

func ofMostFrequentSalt(groups []foundGroup) []foundGroup {
	count := map[uint64]int{}
	var most uint64
	for _, g := range groups {
		if count[g.salt]++; count[g.salt] > count[most] {
			most = g.salt
		}
	}
	return slices.DeleteFunc(groups, func(g foundGroup) bool { return g.salt != most })
}

// keepLogCopy gives a file a second name, which takes no room, or copies it
// where it can have only one. An earlier attempt may have done so already.
func keepLogCopy(path string, data []byte) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	whole := data[:lastNonZero(data)]
	before, kept := keptDamage(path)
	for _, name := range before {
		if was, err := os.Stat(name); err == nil && os.SameFile(was, fi) {
			return nil
		}
		if b, err := os.ReadFile(name); err == nil && bytes.Equal(b, whole) {
			return nil
		}
	}
	if err := os.Link(path, kept); err == nil {
		return syncDir(filepath.Dir(path))
	}
	return replaceFile(kept, whole)
}

// rewriteLog puts a log of the groups in the place of a file. They are
// numbered anew, and the salt is new.
func rewriteLog(path string, segment uint32, data []byte, groups []foundGroup) (err error) {
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	header, key := newLogHeader(segment)
	_, err = f.Write(header)
	for i, g := range groups {
		if err != nil {
			break
		}
		group := data[g.at : g.at+g.size]
		key.seal(group, uint64(i)+1)
		_, err = f.Write(group)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp)
		return noRoom(err)
	}
	return syncDir(filepath.Dir(path))
}
