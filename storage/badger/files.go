package badger

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

// replaceFile puts data in the place of a file so that a crash leaves the
// old content or the new, and is durable when it returns.
func replaceFile(path string, data []byte) (err error) {
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("replacing %s: %w", path, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = unsynced(f.Sync())
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err == nil {
		err = unsynced(syncDir(filepath.Dir(path)))
	}
	if err != nil {
		return fmt.Errorf("replacing %s: %w", path, err)
	}
	return nil
}

// replaceFile replaces a file of the open outbox, which a failed sync poisons
// as that of a commit does: what else the disk keeps is not known any more.
func (o *Outbox) replaceFile(path string, data []byte) error {
	err := replaceFile(path, data)
	if !errors.Is(err, errUnsynced) || isNoRoom(err) {
		return err // without room, the old file stands, and a new one is tried later
	}
	o.poison(err)
	return o.failure()
}

// errUnsynced means that a sync failed.
var errUnsynced = errors.New("a sync failed")

func unsynced(err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", errUnsynced, err)
	}
	return nil
}

// checksumMark begins the last line of a file that people may read.
const checksumMark = "\n# crc32c "

// withChecksum adds a line to a text from which cutChecksum tells whether it
// is whole.
func withChecksum(text []byte) []byte {
	return fmt.Appendf(bytes.Clone(text), "%s%08x\n", checksumMark, crc32.Checksum(text, castagnoli))
}

func cutChecksum(data []byte) (text []byte, whole bool) {
	text, _, _ = bytes.Cut(data, []byte(checksumMark))
	return text, bytes.Equal(data, withChecksum(text))
}

// keptDamage lists what is kept of a damaged file, and the name for the next.
func keptDamage(path string) (kept []string, next string) {
	next = path + damagedSuffix
	for {
		if _, err := os.Lstat(next); err != nil {
			return kept, next
		}
		kept = append(kept, next)
		next = fmt.Sprint(path, damagedSuffix, len(kept)+1)
	}
}

// damagedName is the name under which a damaged file is kept.
func damagedName(path string) string {
	_, next := keptDamage(path)
	return next
}
