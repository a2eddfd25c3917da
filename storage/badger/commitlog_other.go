//go:build !linux

package badger

import (
	"errors"
	"os"
)

// extendFile cannot allocate blocks here.
func extendFile(*os.File, int64, int64) error { return errors.ErrUnsupported }
