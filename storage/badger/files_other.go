//go:build !unix

package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/promptreports/caddy-webhooks/storage"
)

const checkPermissions = false

func syncDir(string) error { return nil }

// dirLock is the hold of this process on an outbox: a file that only one
// process can make. A killed process leaves it behind.
type dirLock struct{ path string }

func lockDir(dir string) (*dirLock, error) {
	path := filepath.Join(dir, "LOCK")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		pid, _ := os.ReadFile(path)
		return nil, fmt.Errorf("%w: %s is held by process %s; if there is none, remove %s", storage.ErrInUse, dir, pid, path)
	}
	if err != nil {
		return nil, fmt.Errorf("locking the outbox: %w", err)
	}
	_, err = fmt.Fprintf(f, "%d", os.Getpid())
	return &dirLock{path}, errors.Join(err, f.Close())
}

func (l *dirLock) release() { _ = os.Remove(l.path) }

func freeBytes(string) int64 { return -1 }

func diskSize(fi os.FileInfo) int64 { return fi.Size() }
