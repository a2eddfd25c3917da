package badger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/promptreports/caddy-webhooks/storage"
)

// readID returns the keys kept under a public id, none when there are none.
func readID(v view, h idHash) (d digest, keys []storage.EventKey, err error) {
	key := append([]byte{kindID}, h[:]...)
	err = get(v, key, func(b []byte) (err error) {
		d, keys, err = decodeID(b)
		return err
	})
	if errors.Is(err, storage.ErrNotFound) {
		err = nil
	}
	return d, keys, err
}

// readEventRecord reads an event; size is the length of a body kept apart.
func readEventRecord(v view, key storage.EventKey) (e *storage.Event, size int, err error) {
	err = get(v, eventKey(key), func(b []byte) (err error) {
		e, size, err = decodeEvent(key, b)
		return err
	})
	return e, size, err
}

// readEvent reads an event with its body.
func readEvent(v view, key storage.EventKey) (*storage.Event, error) {
	e, size, err := readEventRecord(v, key)
	if err != nil || size == 0 {
		return e, err
	}
	e.Body = make([]byte, 0, size)
	prefix := append([]byte{kindChunk}, key[:]...)
	err = walk(v, prefix, func(c cursor) (bool, error) {
		return true, c.value(func(v []byte) error {
			r, err := openRecord(v)
			e.Body = append(e.Body, r.b...)
			return err
		})
	})
	if err == nil && len(e.Body) != size {
		err = errDamaged
	}
	if err != nil {
		return nil, fmt.Errorf("reading the body of event %x: %w", key, err)
	}
	return e, nil
}

// readDelivery reads a delivery, and the record of the attempt that ended it.
func readDelivery(v view, id storage.DeliveryID) (d *storage.Delivery, ending []byte, err error) {
	err = get(v, deliveryKey(id), func(v []byte) error {
		h, err := decodeHead(v)
		if err == nil {
			ending = bytes.Clone(h.attempt)
			d, err = h.delivery(id)
		}
		return err
	})
	return d, ending, err
}

// view runs f on the segment that holds the event.
func (o *Outbox) view(key storage.EventKey, f func(v view) error) error {
	s := o.find(key)
	if s == nil {
		return storage.ErrNotFound
	}
	return s.view(f)
}

// view runs f on what the segment holds.
func (s *segment) view(f func(v view) error) error {
	if err := s.acquire(); err != nil {
		return err
	}
	defer s.use.RUnlock()
	return s.read(f)
}

// read is view for those who hold the segment. Badger panics over blocks of a
// table that were damaged: that ends the reading and the writing, but not the
// process.
func (s *segment) read(f func(v view) error) (err error) {
	if s.journal != nil {
		return f(&s.journal.index)
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("reading segment %s: %w: %v", s.dir, errDamaged, r)
			s.o.poison(err)
		}
	}()
	txn := s.db.db.NewTransaction(false)
	defer txn.Discard()
	return f(tables{txn})
}

// Event implements storage.Outbox.
func (o *Outbox) Event(ctx context.Context, key storage.EventKey) (*storage.Event, error) {
	if err := o.enter(); err != nil {
		return nil, err
	}
	defer o.gate.RUnlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return o.event(key)
}

func (o *Outbox) event(key storage.EventKey) (e *storage.Event, err error) {
	err = o.view(key, func(v view) (err error) {
		e, err = readEvent(v, key)
		return err
	})
	return e, err
}

// Delivery implements storage.Outbox.
func (o *Outbox) Delivery(ctx context.Context, id storage.DeliveryID) (*storage.Delivery, []storage.Attempt, error) {
	if err := o.enter(); err != nil {
		return nil, nil, err
	}
	defer o.gate.RUnlock()
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	return o.delivery(id, true)
}

func (o *Outbox) delivery(id storage.DeliveryID, withAttempts bool) (d *storage.Delivery, as []storage.Attempt, err error) {
	err = o.view(id.Event(), func(v view) (err error) {
		var ending []byte
		if d, ending, err = readDelivery(v, id); err == nil && withAttempts {
			as, err = readAttempts(v, d, ending)
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return d, as, nil
}

// readAttempts reads a delivery's attempts, the last of which is the ending
// where there is one.
func readAttempts(v view, d *storage.Delivery, ending []byte) (as []storage.Attempt, err error) {
	add := func(v []byte) error {
		a, err := decodeAttempt(v)
		as = append(as, a)
		return err
	}
	if len(ending) == 0 || d.Attempts > 1 {
		prefix := append([]byte{kindAttempt}, d.ID[:]...)
		// A journal is no snapshot: others may have come since d was read.
		last := uint32(d.Attempts)
		if len(ending) > 0 {
			last--
		}
		err = walk(v, prefix, func(c cursor) (bool, error) {
			if binary.BigEndian.Uint32(c.key()[deliveryKeyLen:]) > last {
				return false, nil
			}
			return true, c.value(add)
		})
	}
	if err == nil && len(ending) > 0 {
		err = add(ending)
	}
	return as, err
}

// EventByID implements storage.Outbox.
func (o *Outbox) EventByID(ctx context.Context, id string) (*storage.Event, []storage.Delivery, error) {
	if err := o.enter(); err != nil {
		return nil, nil, err
	}
	defer o.gate.RUnlock()
	h := hashID(id)
	var newest *storage.Event
	var all []storage.Delivery
	for _, s := range *o.segments.Load() {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		if !s.mayHold(h) {
			continue
		}
		err := s.view(func(v view) error {
			_, keys, err := readID(v, h)
			if err != nil || len(keys) == 0 {
				return err
			}
			if newest, err = readEvent(v, keys[len(keys)-1]); err != nil {
				return err
			}
			for _, k := range keys {
				if all, err = appendDeliveries(v, all, k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return nil, nil, err
		}
	}
	if newest == nil {
		return nil, nil, storage.ErrNotFound
	}
	return newest, slices.Clip(all), nil
}

func appendDeliveries(v view, all []storage.Delivery, key storage.EventKey) ([]storage.Delivery, error) {
	prefix := append([]byte{kindDelivery}, key[:]...)
	err := walk(v, prefix, func(c cursor) (bool, error) {
		id := storage.DeliveryID(c.key()[1:])
		return true, c.value(func(v []byte) error {
			h, err := decodeHead(v)
			if err != nil {
				return err
			}
			d, err := h.delivery(id)
			if err == nil {
				all = append(all, *d)
			}
			return err
		})
	})
	return all, err
}
