//go:build !linux

package delivery

import "testing"

func blackhole(t *testing.T) string {
	t.Helper()
	t.Skip("no way is known to make this system drop packets to itself")
	return ""
}
