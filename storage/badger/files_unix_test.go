//go:build unix

package badger

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestReleaseWithSharedFile has a second descriptor of the lock, as a child
// process has between its fork and its exec.
func TestReleaseWithSharedFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := unix.Dup(int(lock.f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(shared)
	if again, err := lockDir(dir); err == nil {
		again.release()
		t.Error("locking twice: got no error")
	}
	lock.release()
	lock, err = lockDir(dir)
	if err != nil {
		t.Fatalf("locking again: got %v", err)
	}
	lock.release()
}
