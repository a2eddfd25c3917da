package badger

import (
	"errors"
	"fmt"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/promptreports/caddy-webhooks/storage"
)

// view reads the records of one segment under the keys of keys.go, wherever
// they are: in the journal or in the tables.
type view interface {
	// get reads one record; a missing one is storage.ErrNotFound.
	get(key []byte) (item, error)

	// cursor walks the keys with the prefix, backwards if reverse is set. It
	// stands nowhere before the first seek.
	cursor(prefix []byte, reverse bool) cursor
}

// item is one record.
type item interface {
	// meta returns the user meta.
	meta() byte
	// value calls f with the value, which is only good until f returns.
	value(f func(v []byte) error) error
}

// cursor stands on an item while it is valid.
type cursor interface {
	item
	// seek goes to the first key at or after the given one, or, backwards, at
	// or before it.
	seek(key []byte)
	next()
	valid() bool
	// key is only good until the cursor moves.
	key() []byte
	close()
}

// get reads one value; a missing key is storage.ErrNotFound.
func get(v view, key []byte, f func(v []byte) error) error {
	it, err := v.get(key)
	if err == nil {
		err = it.value(f)
	}
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("reading record %x: %w", key, err)
	}
	return err
}

// walk calls f for the keys with the prefix, in order, until f answers false.
func walk(v view, prefix []byte, f func(c cursor) (bool, error)) error {
	c := v.cursor(prefix, false)
	defer c.close()
	for c.seek(prefix); c.valid(); c.next() {
		if more, err := f(c); err != nil || !more {
			return err
		}
	}
	return nil
}

// tables is the view of a Badger database.
type tables struct{ txn *badgerdb.Txn }

func (t tables) get(key []byte) (item, error) {
	if key[0] == kindID {
		return findID(t.txn, idHash(key[1:]))
	}
	it, err := t.txn.Get(key)
	if errors.Is(err, badgerdb.ErrKeyNotFound) {
		return nil, storage.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return tableItem{it}, nil
}

func (t tables) cursor(prefix []byte, reverse bool) cursor {
	if isBlocked(prefix[0]) {
		return newBlockCursor(t.txn, prefix, reverse)
	}
	return &tableCursor{it: newIterator(t.txn, prefix, reverse), prefix: prefix}
}

func newIterator(txn *badgerdb.Txn, prefix []byte, reverse bool) *badgerdb.Iterator {
	opt := badgerdb.DefaultIteratorOptions
	opt.PrefetchValues = false
	opt.Reverse = reverse
	opt.Prefix = prefix
	return txn.NewIterator(opt)
}

type tableItem struct{ it *badgerdb.Item }

func (i tableItem) meta() byte                         { return i.it.UserMeta() }
func (i tableItem) value(f func(v []byte) error) error { return i.it.Value(f) }

type tableCursor struct {
	it     *badgerdb.Iterator
	prefix []byte
}

func (c *tableCursor) seek(key []byte)                    { c.it.Seek(key) }
func (c *tableCursor) next()                              { c.it.Next() }
func (c *tableCursor) valid() bool                        { return c.it.ValidForPrefix(c.prefix) }
func (c *tableCursor) key() []byte                        { return c.it.Item().Key() }
func (c *tableCursor) meta() byte                         { return c.it.Item().UserMeta() }
func (c *tableCursor) value(f func(v []byte) error) error { return c.it.Item().Value(f) }
func (c *tableCursor) close()                             { c.it.Close() }
