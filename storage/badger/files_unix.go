//go:build unix

package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/promptreports/caddy-webhooks/storage"
)

// checkPermissions says that file modes mean something here.
const checkPermissions = true

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing directory %s: %w", dir, err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("syncing directory %s: %w", dir, err)
	}
	return nil
}

// dirLock is the hold of this process on an outbox.
type dirLock struct{ f *os.File }

// lockDir takes the lock, which ends with the process whatever happens, and
// leaves the process's id in the file for whoever comes second.
func lockDir(dir string) (*dirLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the outbox: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if err != unix.EWOULDBLOCK {
			return nil, fmt.Errorf("locking the outbox: %w", err)
		}
		var pid [32]byte
		n, _ := f.ReadAt(pid[:], 0)
		return nil, fmt.Errorf("%w: %s is held by process %s", storage.ErrInUse, dir, strings.TrimSpace(string(pid[:n])))
	}
	// Overwriting in place works on a full disk, too.
	if _, err := f.WriteAt(fmt.Appendf(nil, "%-10d\n", os.Getpid()), 0); err != nil && !errors.Is(err, unix.ENOSPC) {
		f.Close()
		return nil, fmt.Errorf("locking the outbox: %w", err)
	}
	return &dirLock{f}, nil
}

// release ends the lock by name: a process that is being started may still
// share the open file, and closing it here would leave the lock with that one.
func (l *dirLock) release() {
	_ = unix.Flock(int(l.f.Fd()), unix.LOCK_UN)
	_ = l.f.Close()
}

// freeBytes returns what the file system has left for us, or -1.
func freeBytes(dir string) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return -1
	}
	return int64(st.Bavail) * int64(st.Bsize)
}

// diskSize is what a file really takes: Badger's logs are sparse.
func diskSize(fi os.FileInfo) int64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512
	}
	return fi.Size()
}
