//go:build !linux

package badger

import "os"

// allocateFile makes a file that really takes up its size.
func allocateFile(path string, size int64) error {
	return os.WriteFile(path, make([]byte, size), 0o600)
}

// reserveBlocks does nothing where there is no call for it.
func reserveBlocks(*os.File, int64) error { return nil }
