//go:build !linux

package badger

import "os"

func syncData(f *os.File) error { return f.Sync() }

// bootID names the start of the system; here it is unknown.
func bootID() string { return "" }
