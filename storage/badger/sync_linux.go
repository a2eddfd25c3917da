package badger

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData makes a file's content durable, and of its metadata what is needed
// to read it. Badger writes through a shared mapping; its dirty pages are the
// file's.
func syncData(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}
