//go:build !unix

package module

import "io/fs"

// isExposed knows nothing of permissions that are no mode bits.
func isExposed(fs.FileInfo) bool { return false }
