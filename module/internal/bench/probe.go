//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// probeSize is that of one append, in bytes.
const probeSize = 4 << 10

// probe appends to a file in the folder, and syncs, so many times a second:
// the least that accepting an event durably can cost here.
func probe(ctx context.Context, dir string, rate, n int) (took []time.Duration, err error) {
	f, err := os.Create(filepath.Join(dir, "probe"))
	if err != nil {
		return nil, fmt.Errorf("probing the disk: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(n)*probeSize); err != nil {
		return nil, fmt.Errorf("probing the disk: %w", err)
	}
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	data := make([]byte, probeSize)
	for i := range n {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("probing the disk: %w", ctx.Err())
		case <-tick.C:
		}
		start := time.Now()
		_, err := f.WriteAt(data, int64(i)*probeSize)
		if err == nil {
			err = unix.Fdatasync(int(f.Fd()))
		}
		if err != nil {
			return nil, fmt.Errorf("probing the disk: %w", err)
		}
		took = append(took, time.Since(start))
	}
	return took, nil
}
