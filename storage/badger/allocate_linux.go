package badger

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// allocateFile makes a file that really takes up its size.
func allocateFile(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("allocating %s: %w", path, err)
	}
	if err := errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, size), f.Close()); err != nil {
		return fmt.Errorf("allocating %s: %w", path, err)
	}
	return nil
}

// reserveBlocks allocates the first blocks of a file without changing what it
// holds or how long it is.
func reserveBlocks(f *os.File, size int64) error {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
}
