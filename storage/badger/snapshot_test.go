package badger

import (
	"bytes"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// snapshot are the files of an outbox, in memory. Directories have no size.
type snapshot []snapshotFile

type snapshotFile struct {
	path string // in the outbox
	dir  bool
	data []byte
	size int64 // of the file: behind the data are zeros
}

func readSnapshot(dir string) (all snapshot, err error) {
	for path := range filesOf(dir) {
		f := snapshotFile{path: strings.TrimPrefix(path, dir)}
		fi, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if f.dir = fi.IsDir(); !f.dir {
			if f.data, err = os.ReadFile(path); err != nil {
				return nil, err
			}
			f.size = int64(len(f.data))
			f.data = bytes.Clone(bytes.TrimRight(f.data, "\x00"))
		}
		all = append(all, f)
	}
	return all, nil
}

// write makes the files, without taking room for zeros.
func (s snapshot) write(dir string) error {
	for _, f := range s {
		path := filepath.Join(dir, f.path)
		var err error
		if f.dir {
			err = os.MkdirAll(path, 0o700)
		} else if err = os.WriteFile(path, f.data, 0o600); err == nil {
			err = os.Truncate(path, f.size)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyOf copies the files of an outbox that is in use, which is what a kill
// would leave.
func copyOf(t *testing.T, o *Outbox) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "outbox")
	overlay(t, dir, o.dir)
	return dir
}

// overlay copies files of an outbox, or only the named one, or those in the
// named directory, to another.
func overlay(t *testing.T, dir, from string, part ...string) {
	t.Helper()
	rel := filepath.Join(part...)
	all, err := readSnapshot(filepath.Join(from, rel))
	if err == nil {
		err = all.write(filepath.Join(dir, rel))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func filesOf(dir string) iter.Seq[string] {
	return func(yield func(string) bool) {
		_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err == nil && !yield(path) {
				return fs.SkipAll
			}
			return err
		})
	}
}
