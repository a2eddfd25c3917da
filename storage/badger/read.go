package badger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/promptreports/caddy-webhooks/storage"
)

// get reads one value; a missing key is storage.ErrNotFound.
func get(txn *badgerdb.Txn, key []byte, f func(v []byte) error) error {
	item, err := txn.Get(key)
	if errors.Is(err, badgerdb.ErrKeyNotFound) {
		return storage.ErrNotFound
	}
	if err == nil {
		err = item.Value(f)
	}
	if err != nil {
		return fmt.Errorf("reading record %x: %w", key, err)
	}
	return nil
}

// walk calls f for the keys with the prefix, in order, from the one given on,
// until f answers false.
func walk(txn *badgerdb.Txn, prefix, from []byte, f func(item *badgerdb.Item) (bool, error)) error {
	opt := badgerdb.DefaultIteratorOptions
	opt.PrefetchValues = false
	opt.Prefix = prefix
	it := txn.NewIterator(opt)
	defer it.Close()
	for it.Seek(from); it.ValidForPrefix(prefix); it.Next() {
		if more, err := f(it.Item()); err != nil || !more {
			return err
		}
	}
	return nil
}

// readID returns the keys kept under a public id, none when there are none.
func readID(txn *badgerdb.Txn, h idHash) (d digest, keys []storage.EventKey, err error) {
	key := append([]byte{kindID}, h[:]...)
	err = get(txn, key, func(v []byte) (err error) {
		d, keys, err = decodeID(v)
		return err
	})
	if errors.Is(err, storage.ErrNotFound) {
		err = nil
	}
	return d, keys, err
}

// readEventRecord reads an event; size is the length of a body kept apart.
func readEventRecord(txn *badgerdb.Txn, key storage.EventKey) (e *storage.Event, size int, err error) {
	err = get(txn, eventKey(key), func(v []byte) (err error) {
		e, size, err = decodeEvent(key, v)
		return err
	})
	return e, size, err
}

// readEvent reads an event with its body.
func readEvent(txn *badgerdb.Txn, key storage.EventKey) (*storage.Event, error) {
	e, size, err := readEventRecord(txn, key)
	if err != nil || size == 0 {
		return e, err
	}
	e.Body = make([]byte, 0, size)
	prefix := append([]byte{kindChunk}, key[:]...)
	err = walk(txn, prefix, prefix, func(item *badgerdb.Item) (bool, error) {
		return true, item.Value(func(v []byte) error {
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
func readDelivery(txn *badgerdb.Txn, id storage.DeliveryID) (d *storage.Delivery, ending []byte, err error) {
	err = get(txn, deliveryKey(id), func(v []byte) error {
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
func (o *Outbox) view(key storage.EventKey, f func(txn *badgerdb.Txn) error) error {
	s := o.find(key)
	if s == nil {
		return storage.ErrNotFound
	}
	return s.view(f)
}

// view runs f in a transaction that reads. Badger panics over blocks of a table
// that were damaged: that ends the transaction and the writing, but not the
// process.
func (s *segment) view(f func(txn *badgerdb.Txn) error) (err error) {
	db, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.use.RUnlock()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("reading segment %s: %w: %v", s.dir, errDamaged, r)
			s.o.poison(err)
		}
	}()
	txn := db.NewTransaction(false)
	defer txn.Discard()
	return f(txn)
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
	err = o.view(key, func(txn *badgerdb.Txn) (err error) {
		e, err = readEvent(txn, key)
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
	err = o.view(id.Event(), func(txn *badgerdb.Txn) (err error) {
		var ending []byte
		if d, ending, err = readDelivery(txn, id); err == nil && withAttempts {
			as, err = readAttempts(txn, d, ending)
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
func readAttempts(txn *badgerdb.Txn, d *storage.Delivery, ending []byte) (as []storage.Attempt, err error) {
	add := func(v []byte) error {
		a, err := decodeAttempt(v)
		as = append(as, a)
		return err
	}
	if len(ending) == 0 || d.Attempts > 1 {
		prefix := append([]byte{kindAttempt}, d.ID[:]...)
		err = walk(txn, prefix, prefix, func(item *badgerdb.Item) (bool, error) { return true, item.Value(add) })
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
		err := s.view(func(txn *badgerdb.Txn) error {
			_, keys, err := readID(txn, h)
			if err != nil || len(keys) == 0 {
				return err
			}
			if newest, err = readEvent(txn, keys[len(keys)-1]); err != nil {
				return err
			}
			for _, k := range keys {
				if all, err = appendDeliveries(txn, all, k); err != nil {
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

func appendDeliveries(txn *badgerdb.Txn, all []storage.Delivery, key storage.EventKey) ([]storage.Delivery, error) {
	prefix := append([]byte{kindDelivery}, key[:]...)
	err := walk(txn, prefix, prefix, func(item *badgerdb.Item) (bool, error) {
		id := storage.DeliveryID(item.Key()[1:])
		return true, item.Value(func(v []byte) error {
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
