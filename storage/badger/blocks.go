package badger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/promptreports/caddy-webhooks/storage"
)

// A packed segment gets no new events, so its indexes by endpoint and by type,
// and its public ids, never change. They are kept in blocks, many to a record:
// a record of its own for each would cost more than all else in it.
//
// A block of an index has the key of its first item and holds items of 12
// bytes: in the index of endpoints the ids of deliveries, in that of types the
// keys of events with their number of deliveries. A block of ids holds those
// whose hash begins with the 12 bits in its key.
const (
	blockItem  = 12
	blockItems = 512
	idBlockLen = 1 + 2
)

func idBlockKey(h idHash) []byte { return []byte{kindID, h[0], h[1] & 0xf0} }

// isBlocked says whether keys of the kind are kept in blocks.
func isBlocked(kind byte) bool { return kind == kindEndpoint || kind == kindType }

// blockCursor walks the items of an index as if each were a record.
type blockCursor struct {
	txn     *badgerdb.Txn
	it      *badgerdb.Iterator
	prefix  []byte
	reverse bool

	hash  []byte // kind and hash of the block
	items []byte
	i     int
	k     []byte
}

func newBlockCursor(txn *badgerdb.Txn, prefix []byte, reverse bool) *blockCursor {
	return &blockCursor{txn: txn, it: newIterator(txn, prefix, reverse), prefix: prefix, reverse: reverse}
}

func (c *blockCursor) seek(key []byte) {
	c.items, c.i = nil, 0
	if c.it.Seek(key); !c.reverse {
		// The key may lie within the block that begins before it.
		before := newIterator(c.txn, c.prefix, true)
		if before.Seek(key); before.Valid() {
			c.it.Seek(before.Item().Key())
		}
		before.Close()
	}
	if !c.load() {
		return
	}
	if !bytes.HasPrefix(key, c.hash) {
		if c.reverse || bytes.Compare(c.hash, key) < 0 {
			c.i = len(c.items)/blockItem - 1
		}
		if c.settle(); !c.reverse && bytes.Compare(c.k, key) < 0 {
			c.next()
		}
		return
	}
	suffix := key[len(c.hash):]
	n := len(c.items) / blockItem
	c.i = sort.Search(n, func(i int) bool { return bytes.Compare(c.item(i)[:c.idLen()], suffix) >= 0 })
	if c.reverse && (c.i == n || !bytes.Equal(c.item(c.i)[:c.idLen()], suffix)) {
		c.i--
	}
	c.settle()
}

func (c *blockCursor) item(i int) []byte { return c.items[i*blockItem:][:blockItem] }

// idLen is the part of an item that belongs to its key.
func (c *blockCursor) idLen() int {
	if c.prefix[0] == kindType {
		return typeKeyLen - 5
	}
	return endpointKeyLen - 5
}

func (c *blockCursor) next() {
	if c.reverse {
		c.i--
	} else {
		c.i++
	}
	c.settle()
}

// settle goes on to the next block when the place is outside of this one.
func (c *blockCursor) settle() {
	for len(c.items) > 0 && (c.i < 0 || c.i >= len(c.items)/blockItem) {
		if c.it.Next(); !c.load() {
			return
		}
		c.i = 0
		if c.reverse {
			c.i = len(c.items)/blockItem - 1
		}
	}
	if len(c.items) > 0 {
		c.k = append(append(c.k[:0], c.hash...), c.item(c.i)[:c.idLen()]...)
	}
}

// load reads the block that the iterator stands on.
func (c *blockCursor) load() bool {
	if c.items = c.items[:0]; !c.it.ValidForPrefix(c.prefix) {
		return false
	}
	c.hash = append(c.hash[:0], c.it.Item().Key()[:5]...)
	err := c.it.Item().Value(func(v []byte) error {
		r, err := openRecord(v)
		if err == nil && (len(r.b) == 0 || len(r.b)%blockItem != 0) {
			err = errDamaged
		}
		c.items = append(c.items, r.b...)
		return err
	})
	if err != nil {
		panic(err) // as Badger does; segment.read makes an error of it
	}
	return true
}

func (c *blockCursor) valid() bool { return len(c.items) > 0 }
func (c *blockCursor) key() []byte { return c.k }
func (c *blockCursor) meta() byte  { return 0 }
func (c *blockCursor) close()      { c.it.Close() }

// value is, of an event, the number of its deliveries.
func (c *blockCursor) value(f func(v []byte) error) error {
	return f(c.item(c.i)[c.idLen():])
}

// findID reads the record of a public id out of its block.
func findID(txn *badgerdb.Txn, h idHash) (item, error) {
	it, err := txn.Get(idBlockKey(h))
	if errors.Is(err, badgerdb.ErrKeyNotFound) {
		return nil, storage.ErrNotFound
	}
	var found blockRecord
	if err == nil {
		err = it.Value(func(v []byte) error {
			return eachID(v, func(at idHash, record []byte) {
				if at == h {
					found = bytes.Clone(record)
				}
			})
		})
	}
	if err != nil {
		return nil, fmt.Errorf("reading ids: %w", err)
	}
	if found == nil {
		return nil, storage.ErrNotFound
	}
	return found, nil
}

// blockRecord is a record that was read out of a block.
type blockRecord []byte

func (blockRecord) meta() byte                           { return 0 }
func (r blockRecord) value(f func(v []byte) error) error { return f(r) }

// eachID calls f for the ids of a block.
func eachID(block []byte, f func(h idHash, record []byte)) error {
	r, err := openRecord(block)
	if err != nil {
		return err
	}
	for len(r.b) > 0 && !r.bad {
		h := r.take(uint64(len(idHash{})))
		if record := r.bytes(); !r.bad {
			f(idHash(h), record)
		}
	}
	return r.err()
}

// putIndex puts the blocks of one list of an index.
func putIndex(tables *tableWriter, kind byte, hash [4]byte, items []byte) error {
	for part := range slices.Chunk(items, blockItems*blockItem) {
		key := append(append([]byte{kind}, hash[:]...), part[:blockItem]...)
		if kind == kindType {
			key = key[:typeKeyLen]
		}
		value := append([]byte{recordVersion}, part...)
		if err := tables.put(key, appendChecksum(value, 0), 0); err != nil {
			return err
		}
	}
	return nil
}

// ids puts the blocks of public ids.
func (p *packer) ids(x *index) error {
	hashes := slices.SortedFunc(maps.Keys(x.ids), func(a, b idHash) int {
		p.pace.step()
		return bytes.Compare(a[:], b[:])
	})
	b := idBlocks{tables: p.tables}
	for _, h := range hashes {
		record, err := p.read(x.ids[h])
		if err == nil {
			err = b.add(h, record)
		}
		if err != nil {
			return err
		}
	}
	return b.flush()
}

// idBlocks puts blocks of public ids, which come in the order of their hashes.
type idBlocks struct {
	tables *tableWriter
	key    []byte // of the block that is being gathered
	block  []byte
}

func (b *idBlocks) add(h idHash, record []byte) error {
	if key := idBlockKey(h); !bytes.Equal(key, b.key) {
		if err := b.flush(); err != nil {
			return err
		}
		b.key, b.block = key, append(b.block[:0], recordVersion)
	}
	b.block = appendBytes(append(b.block, h[:]...), record)
	return nil
}

// flush puts the block that was gathered last, if there is one.
func (b *idBlocks) flush() error {
	if b.key == nil {
		return nil
	}
	return b.tables.put(b.key, appendChecksum(b.block, 0), 0)
}

// types puts the index by type.
func (p *packer) types(x *index) error {
	for _, h := range sortedHashes(x, x.types) {
		items := make([]byte, 0, blockItem*len(x.types[h]))
		for _, i := range x.types[h] {
			e := x.events.at(int(i))
			record, err := p.read(e.place)
			if err != nil {
				return err
			}
			n, err := eventDeliveries(record)
			if err != nil {
				return err
			}
			items = binary.BigEndian.AppendUint16(append(items, e.key[:]...), uint16(n))
		}
		if err := putIndex(p.tables, kindType, h, items); err != nil {
			return err
		}
	}
	return nil
}

// endpoints puts the index by endpoint.
func (p *packer) endpoints(x *index) error {
	for _, h := range sortedHashes(x, x.endpoints) {
		items := make([]byte, 0, blockItem*len(x.endpoints[h]))
		for _, i := range x.endpoints[h] {
			p.pace.step()
			x.mu.RLock()
			id := x.deliveries.at(int(i)).id
			x.mu.RUnlock()
			items = append(items, id[:]...)
		}
		if err := putIndex(p.tables, kindEndpoint, h, items); err != nil {
			return err
		}
	}
	return nil
}
