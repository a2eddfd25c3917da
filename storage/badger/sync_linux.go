package badger

import (
	"os"
	"strings"
	"sync"

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

// bootID names the start of the system, or is empty. What a process wrote
// survives it until the system goes down.
var bootID = sync.OnceValue(func() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
})
