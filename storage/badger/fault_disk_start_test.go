//go:build linux

package badger

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/promptreports/caddy-webhooks/storage"
)

// startFull kills a process and opens its outbox on a full disk.
func (d *disk) startFull() error {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"=disk-write:"+d.dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	in := bufio.NewScanner(out)
	for in.Scan() && len(d.acked) < 1000 {
		var n int
		var key []byte
		if _, err := fmt.Sscanf(in.Text(), "accepted %d %x", &n, &key); err != nil || len(key) != 10 {
			return fmt.Errorf("the writer said %q", in.Text())
		}
		d.acked[fmt.Sprint("event ", n)] = storage.EventKey(key)
		d.n = 1 << 20
	}
	_ = cmd.Process.Kill()
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	if err := d.fillForeign(); err != nil {
		return err
	}
	// With the reserve it opens for settling.
	if err := d.open(Options{MinFree: 8 << 20}); err != nil {
		return fmt.Errorf("with a reserve: %w", err)
	}
	if err := d.accept(); !errors.Is(err, storage.ErrFull) {
		return fmt.Errorf("accepting on a full disk: got %w, want ErrFull", err)
	}
	if err := d.settle(50); err != nil {
		return err
	}
	if err := d.o.Close(); err != nil {
		return err
	}
	// Without it, it says what it needs.
	if err := d.fillForeign(); err != nil {
		return err
	}
	err = d.open(Options{})
	if err == nil || !strings.Contains(err.Error(), "needs") || !errors.Is(err, storage.ErrFull) {
		return fmt.Errorf("without a reserve: got %w, want an error that says how much it needs", err)
	}
	fmt.Println(err)
	if err := os.Remove(d.foreign); err != nil {
		return err
	}
	if err := d.open(Options{}); err != nil {
		return err
	}
	if err := d.acceptsAgain(); err != nil {
		return err
	}
	return d.check()
}

// diskWriter accepts for ever and prints the keys.
func diskWriter(dir string) int {
	d := newDisk(dir)
	if err := d.open(Options{}); err != nil {
		fmt.Println(err)
		return 1
	}
	for {
		if err := d.accept(); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Printf("accepted %d %x\n", d.n, d.acked[fmt.Sprint("event ", d.n)])
	}
}

func init() {
	childModes["disk-write"] = diskWriter
}
