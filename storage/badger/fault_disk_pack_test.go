//go:build linux

package badger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// awaitPacked waits until the segment has the given form, or has not.
func (d *disk) awaitPacked(n int, packed bool) error {
	for deadline := time.Now().Add(patienceOfTests); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if segs := *d.o.segments.Load(); len(segs) > n && segs[n-1].isPacked() == packed {
			return nil
		}
	}
	return fmt.Errorf("segment %d: got forms %s, want it packed %t", n, formsOf(d.o), packed)
}

// acceptPacked accepts events, of which so many lie in the first segment, which
// is then packed.
func (d *disk) acceptPacked(n int) error {
	d.limits.deliveries, d.limits.drain, d.limits.repack = n, 1, 50*time.Millisecond
	d.limits.reserve = 1 << 20
	if err := d.open(Options{MinFree: 1 << 20}); err != nil {
		return err
	}
	for range n {
		if err := d.accept(); err != nil {
			return err
		}
	}
	for deadline := time.Now().Add(patienceOfTests); d.o.active.Load().n == 1; time.Sleep(time.Millisecond) {
		if err := d.accept(); err != nil || time.Now().After(deadline) {
			return fmt.Errorf("sealing: %w", err)
		}
	}
	return nil
}

// settlePacked settles in a packed segment on a full disk.
func (d *disk) settlePacked() error {
	const n = 600
	if err := d.acceptPacked(n); err != nil {
		return err
	}
	if err := d.awaitPacked(1, true); err != nil {
		return err
	}
	if err := d.settleFirst(1, 10); err != nil {
		return err
	}
	if err := d.fillForeign(); err != nil {
		return err
	}
	err := d.settleFirst(10, n)
	if !errors.Is(err, storage.ErrFull) || len(d.settled) < 20 {
		return fmt.Errorf("settled %d on a reserve of %d bytes: got %w, want ErrFull in the end", len(d.settled), d.limits.reserve, err)
	}
	if err := os.Remove(d.foreign); err != nil {
		return err
	}
	if err := d.settleFirst(len(d.settled)+1, n); err != nil {
		return err
	}
	return d.check()
}

// settleFirst settles the events from one number to before another.
func (d *disk) settleFirst(from, to int) error {
	body := make([]byte, 4000)
	for i := from; i < to; i++ {
		_, _ = rand.Read(body)
		id := d.acked[fmt.Sprint("event ", i)].Delivery(0)
		err := d.o.Settle(context.Background(), []storage.Settlement{{
			Delivery: id, Status: storage.StatusDelivered, Attempt: &storage.Attempt{Number: 1, Body: body},
		}})
		if err != nil {
			return fmt.Errorf("settling event %d: %w", i, err)
		}
		d.settled = append(d.settled, id)
	}
	return nil
}

// fillWhilePacking fills the disk when the first table was written: packing
// gives up, nothing is lost, and it succeeds once there is room.
func (d *disk) fillWhilePacking() error {
	calls := 0
	filled := make(chan error, 1)
	d.hook = func() error {
		if calls++; calls == 2 {
			filled <- d.fillForeign()
		}
		return nil
	}
	const n = 1000
	if err := d.acceptPacked(n); err != nil {
		return err
	}
	if err := <-filled; err != nil {
		return err
	}
	s := (*d.o.segments.Load())[0]
	for deadline := time.Now().Add(patienceOfTests); d.o.packing.Load() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("packing does not end")
		}
	}
	if got := formOf(s); got != "journal" {
		return fmt.Errorf("after the disk was full: got the form %s, want the journal", got)
	}
	if err := d.o.Usage().Err; err != nil {
		return fmt.Errorf("packing on a full disk: %w", err)
	}
	for id, key := range d.acked {
		if e, err := d.o.Event(context.Background(), key); err != nil || e.ID != id {
			return fmt.Errorf("reading event %s: %w", id, err)
		}
	}
	if err := os.Remove(d.foreign); err != nil {
		return err
	}
	if err := d.awaitPacked(1, true); err != nil {
		return err
	}
	if err := d.settleFirst(1, 20); err != nil {
		return err
	}
	d.hook = nil
	return d.check()
}
