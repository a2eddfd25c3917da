//go:build unix

package module

import (
	"io/fs"
	"os"
	"syscall"
)

// isExposed says whether others may read or change a file. One that belongs to
// another user is ours by its group, as those of Kubernetes are.
func isExposed(info fs.FileInfo) bool {
	const group, world = 0o060, 0o006
	stat, ok := info.Sys().(*syscall.Stat_t)
	ours := !ok || int(stat.Uid) == os.Geteuid()
	return info.Mode()&world != 0 || ours && info.Mode()&group != 0
}
