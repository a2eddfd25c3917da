package badger

import (
	"os"

	"golang.org/x/sys/unix"
)

// extendFile allocates a file's blocks between two offsets and lets the file
// reach to the second, if it does not yet. What was not written reads as zeros.
func extendFile(f *os.File, from, to int64) error {
	for {
		if err := unix.Fallocate(int(f.Fd()), 0, from, to-from); err != unix.EINTR {
			return err
		}
	}
}
