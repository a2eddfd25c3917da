//go:build linux

package badger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/promptreports/caddy-webhooks/storage"
)

// smallDisk is a file system of its own that the test can fill. It holds what
// the tests accept at once, twice: a log is allocated ahead, and until the file
// system is asked again what was written into that counts as well.
const smallDisk = 48 << 20

// diskLimits suit a small disk.
func diskLimits() limits {
	return limits{deliveries: 1 << 20, memTable: 256 << 10, reserve: 6 << 20, tick: 50 * time.Millisecond}
}

// onSmallDisk runs the test again in a process that has a small disk mounted
// and whose death by SIGBUS is seen here. What the process prints is returned.
func onSmallDisk(t *testing.T, mode string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"=disk-"+mode+":"+dir)
	// A mount namespace of its own takes the mount away with the process.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	unprepared := errors.Is(err, os.ErrPermission) || strings.Contains(string(out), "cannot mount")
	if unprepared && os.Getenv("CI") == "" {
		t.Skipf("a small disk cannot be mounted here: %v: %s", err, out)
	}
	return string(out), err
}

// diskChild mounts the disk and does what the mode says.
func diskChild(run func(d *disk) error, dir string) int {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		fmt.Println("cannot mount:", err)
		return 3
	}
	if err := unix.Mount("none", dir, "tmpfs", 0, fmt.Sprint("size=", smallDisk)); err != nil {
		fmt.Println("cannot mount:", err)
		return 3
	}
	d := newDisk(filepath.Join(dir, "outbox"))
	d.foreign = filepath.Join(dir, "foreign")
	if err := run(d); err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	fmt.Println("done")
	return 0
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"events", "foreign", "settle", "start", "packed", "pack", "pack blindly"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			out, err := onSmallDisk(t, mode)
			if err != nil || !strings.HasSuffix(out, "done\n") {
				t.Errorf("got %v, want the process to end well:\n%s", err, excerpt(out))
			}
		})
	}
}

// TestDiskFullUnwatched shows that TestDiskFull sees what it guards against:
// without the watermark the same process dies, of what Badger writes through a
// mapping.
func TestDiskFullUnwatched(t *testing.T) {
	t.Parallel()
	out, err := onSmallDisk(t, "packed blindly")
	if err == nil || !strings.Contains(out, "SIGBUS") {
		t.Errorf("got %v, want death by SIGBUS:\n%s", err, excerpt(out))
	}
}

// disk is an outbox on a small disk, and what it acknowledged.
type disk struct {
	dir, foreign string
	limits       limits
	hook         func() error // of packing
	o            *Outbox
	n            int
	acked        map[string]storage.EventKey
	settled      []storage.DeliveryID
}

func newDisk(dir string) *disk {
	return &disk{dir: dir, limits: diskLimits(), acked: map[string]storage.EventKey{}}
}

func (d *disk) open(opt Options) (err error) {
	if opt.MinFree == 0 {
		opt.MinFree = 4 << 20
	}
	opt.limits, opt.packHook = d.limits, d.hook
	d.o, err = Open(d.dir, opt)
	return err
}

// accept posts an event whose body nothing can compress.
func (d *disk) accept() error {
	d.n++
	id := fmt.Sprint("event ", d.n)
	body := make([]byte, 3000)
	_, _ = rand.Read(body)
	got, err := d.o.Accept(context.Background(), []storage.NewEvent{{ID: id, Type: "t", Body: body, Endpoints: []string{"x"}}})
	if err == nil {
		d.acked[id] = got[0].Key
	}
	return err
}

func (d *disk) acceptUntilFull() error {
	for range 1 << 16 {
		if err := d.accept(); err != nil {
			if !errors.Is(err, storage.ErrFull) {
				return fmt.Errorf("accepting: %w", err)
			}
			return nil
		}
	}
	return errors.New("the disk never became full")
}

// settle settles some of what was accepted and not settled before.
func (d *disk) settle(n int) error {
	body := make([]byte, 4000)
	done := map[storage.DeliveryID]bool{}
	for _, id := range d.settled {
		done[id] = true
	}
	for _, key := range d.acked {
		id := key.Delivery(0)
		if done[id] {
			continue
		}
		if n--; n < 0 {
			return nil
		}
		_, _ = rand.Read(body)
		err := d.o.Settle(context.Background(), []storage.Settlement{{
			Delivery: id, Status: storage.StatusDelivered, Attempt: &storage.Attempt{Number: 1, Body: body},
		}})
		if err != nil {
			return fmt.Errorf("settling after %d: %w", len(d.settled), err)
		}
		d.settled = append(d.settled, id)
	}
	return nil
}

// fillForeign fills the disk to the last block.
func (d *disk) fillForeign() error {
	f, err := os.Create(d.foreign)
	if err != nil {
		return err
	}
	block := make([]byte, 64<<10)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		return err
	}
	for err = nil; err == nil; {
		_, err = f.Write(block[:512])
	}
	return f.Close()
}

// acceptsAgain waits for as long as an operator may have to.
func (d *disk) acceptsAgain() error {
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err = d.accept(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("ten seconds after there was room again: %w", err)
}

// check closes the outbox, opens it again and finds all that was acknowledged.
func (d *disk) check() error {
	if err := d.o.Usage().Err; err != nil {
		return fmt.Errorf("usage: %w", err)
	}
	if err := d.o.Close(); err != nil {
		return fmt.Errorf("closing: %w", err)
	}
	if err := d.open(Options{}); err != nil {
		return err
	}
	defer d.o.Close()
	if err := d.o.Usage().Err; err != nil {
		return fmt.Errorf("opened again: %w", err)
	}
	for id, key := range d.acked {
		e, err := d.o.Event(context.Background(), key)
		if err != nil || e.ID != id || len(e.Body) != 3000 {
			return fmt.Errorf("event %s: %w", id, err)
		}
	}
	for _, id := range d.settled {
		got, as, err := d.o.Delivery(context.Background(), id)
		if err != nil || got.Status != storage.StatusDelivered || len(as) != 1 {
			return fmt.Errorf("delivery %s: %w", id, err)
		}
	}
	fmt.Printf("%d events, %d settled\n", len(d.acked), len(d.settled))
	return nil
}

func (d *disk) fillByEvents() error {
	if err := d.open(Options{}); err != nil {
		return err
	}
	if err := d.acceptUntilFull(); err != nil {
		return err
	}
	if len(d.acked) < 1000 {
		return fmt.Errorf("got %d events on the disk, want most of it used", len(d.acked))
	}
	if err := d.settle(150); err != nil {
		return err
	}
	return d.check()
}

func (d *disk) fillByForeign() error {
	if err := d.open(Options{}); err != nil {
		return err
	}
	for range 1200 { // several memtables, the last one in use
		if err := d.accept(); err != nil {
			return err
		}
	}
	if err := d.fillForeign(); err != nil {
		return err
	}
	if err := d.acceptUntilFull(); err != nil {
		return err
	}
	if err := d.settle(150); err != nil {
		return err
	}
	for _, key := range d.acked {
		if _, err := d.o.Event(context.Background(), key); err != nil {
			return fmt.Errorf("reading: %w", err)
		}
	}
	if err := os.Remove(d.foreign); err != nil {
		return err
	}
	if err := d.acceptsAgain(); err != nil {
		return err
	}
	return d.check()
}

// settleUntilRefused uses the reserve up.
func (d *disk) settleUntilRefused() error {
	if err := d.open(Options{}); err != nil {
		return err
	}
	for range 2500 {
		if err := d.accept(); err != nil {
			return err
		}
	}
	if err := d.fillForeign(); err != nil {
		return err
	}
	err := d.settle(2500)
	if !errors.Is(err, storage.ErrFull) || len(d.settled) < 200 {
		return fmt.Errorf("settled %d on a reserve of %d bytes: got %w, want ErrFull in the end", len(d.settled), diskLimits().reserve, err)
	}
	// Closing writes the last memtable on what is left of the reserve.
	if err := d.check(); err != nil {
		return err
	}
	return nil
}

// diskModes are what a process with a small disk can do.
var diskModes = map[string]func(d *disk) error{
	"events":         (*disk).fillByEvents,
	"foreign":        (*disk).fillByForeign,
	"settle":         (*disk).settleUntilRefused,
	"start":          (*disk).startFull,
	"packed":         (*disk).settlePacked,
	"packed blindly": func(d *disk) error { d.limits.blind = true; return d.settlePacked() },
	"pack":           (*disk).fillWhilePacking,
	"pack blindly":   func(d *disk) error { d.limits.blind = true; return d.fillWhilePacking() },
}

func init() {
	for mode, f := range diskModes {
		childModes["disk-"+mode] = func(dir string) int { return diskChild(f, dir) }
	}
}
