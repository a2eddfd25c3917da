package badger

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sort"
	"sync"

	"github.com/promptreports/caddy-webhooks/storage"
)

// index knows where the records of a journal stand in its log, and is a view
// of them under the keys that a database would have. Of the keys that only
// lead to others (by type, endpoint, failure and due time) the log holds
// nothing: they follow from the records.
//
// The segment's writer alone changes it, a whole group at a time and after the
// group was synced, so readers see what is durable and nothing else. What is
// kept for a delivery has no pointers, so that collecting garbage does not
// cost more for a full segment than for an empty one.
type index struct {
	log io.ReaderAt

	mu         sync.RWMutex
	applied    int64                // the place in the log up to which it knows everything
	events     steps[eventPlace]    // by key
	deliveries steps[deliveryPlace] // by id
	ids        map[idHash]place
	chunks     map[storage.EventKey][]place
	attempts   map[storage.DeliveryID][]attemptPlace

	// codes are those of all deliveries.
	codes map[[4]byte]struct{}

	// These are numbers of events and deliveries, in order.
	types, endpoints, failed map[[4]byte][]uint32
	due                      map[[4]byte][]duePlace // by due time and id
}

// place is where a record stands in the log, in 5 bytes, and its length, in 3:
// there is one for every record, and as bytes it needs no padding.
type place [8]byte

// maxRecord is the greatest length of a record, in bytes.
const maxRecord = 1<<24 - 1

func newPlace(at int64, n int) (p place) {
	binary.LittleEndian.PutUint64(p[:], uint64(at)<<24|uint64(n))
	return p
}

func (p place) at() int64 { return int64(binary.LittleEndian.Uint64(p[:]) >> 24) }
func (p place) n() int    { return int(binary.LittleEndian.Uint64(p[:]) & maxRecord) }

type eventPlace struct {
	key storage.EventKey
	place
}

type deliveryPlace struct {
	id   storage.DeliveryID
	meta byte
	place
}

type attemptPlace struct {
	number int
	place
}

// duePlace is a time, in milliseconds, and the number of a delivery.
type duePlace struct {
	ms       int64
	delivery uint32
}

// steps is a slice that grows without being copied.
type steps[T any] struct {
	parts [][]T
	n     int
}

const stepLen = 2048

func (s *steps[T]) add(v T) {
	if s.n%stepLen == 0 {
		s.parts = append(s.parts, make([]T, 0, stepLen))
	}
	last := &s.parts[len(s.parts)-1]
	*last = append(*last, v)
	s.n++
}

func (s *steps[T]) at(i int) *T { return &s.parts[i/stepLen][i%stepLen] }

func (x *index) init(log io.ReaderAt) {
	x.log = log
	x.ids = make(map[idHash]place)
	x.codes = make(map[[4]byte]struct{})
	x.chunks = make(map[storage.EventKey][]place)
	x.attempts = make(map[storage.DeliveryID][]attemptPlace)
	x.types, x.endpoints, x.failed = make(map[[4]byte][]uint32), make(map[[4]byte][]uint32), make(map[[4]byte][]uint32)
	x.due = make(map[[4]byte][]duePlace)
}

// apply takes in the entries of a group that stands at the given place.
func (x *index) apply(at int64, group []byte) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.applied = at + int64(len(group))
	return eachEntry(group, func(e entry, offset int) error {
		p := newPlace(at+int64(offset), len(e.value))
		switch e.key[0] {
		case kindEvent:
			return x.event(storage.EventKey(e.key[1:]), p, e.value)
		case kindDelivery:
			return x.delivery(storage.DeliveryID(e.key[1:]), p, e)
		case kindID:
			x.ids[idHash(e.key[1:])] = p
		case kindChunk:
			key := storage.EventKey(e.key[1:])
			x.chunks[key] = append(x.chunks[key], p)
		case kindAttempt:
			id := storage.DeliveryID(e.key[1:])
			if _, known := x.findDelivery(id); !known {
				return nil // as in delivery
			}
			n := int(binary.BigEndian.Uint32(e.key[deliveryKeyLen:]))
			x.attempts[id] = append(x.attempts[id], attemptPlace{number: n, place: p})
		}
		return nil
	})
}

// end returns the place in the log up to which the index knows everything.
func (x *index) end() int64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.applied
}

func (x *index) event(key storage.EventKey, p place, record []byte) error {
	typ, err := eventType(record)
	if err != nil {
		return err
	}
	h := hash4(typ)
	x.types[h] = append(x.types[h], uint32(x.events.n))
	x.events.add(eventPlace{key: key, place: p})
	return nil
}

func (x *index) delivery(id storage.DeliveryID, p place, e entry) error {
	h, err := decodeHead(e.value)
	if err != nil {
		return err
	}
	endpoint := hash4(string(h.endpoint()))
	x.codes[hash4(string(h.code))] = struct{}{}
	i, known := x.findDelivery(id)
	old := byte(0)
	if known {
		d := x.deliveries.at(i)
		old = d.meta & metaStatus
		d.place, d.meta = p, e.meta
	} else {
		if n := x.events.n; n == 0 || x.events.at(n-1).key != id.Event() {
			return nil // what is left of an event whose loss was accepted
		}
		i = x.deliveries.n
		x.deliveries.add(deliveryPlace{id: id, meta: e.meta, place: p})
		x.endpoints[endpoint] = append(x.endpoints[endpoint], uint32(i))
	}
	if h.status == statusFailed && old != statusFailed {
		x.failed[endpoint] = insertSorted(x.failed[endpoint], uint32(i), func(a, b uint32) int { return int(a) - int(b) })
	}
	if h.next != 0 {
		x.due[endpoint] = insertSorted(x.due[endpoint], duePlace{h.next, uint32(i)}, func(a, b duePlace) int {
			if a.ms != b.ms {
				return int(a.ms - b.ms)
			}
			return int(a.delivery) - int(b.delivery)
		})
	}
	return nil
}

// insertSorted inserts v unless it is there; mostly it belongs near the end.
func insertSorted[T any](s []T, v T, compare func(a, b T) int) []T {
	if n := len(s); n == 0 || compare(s[n-1], v) < 0 {
		return append(s, v)
	}
	i, found := slices.BinarySearchFunc(s, v, compare)
	if found {
		return s
	}
	return slices.Insert(s, i, v)
}

// findDelivery returns the number of the delivery; mu is held.
func (x *index) findDelivery(id storage.DeliveryID) (int, bool) {
	n := x.deliveries.n
	if n == 0 || x.deliveries.at(n-1).id.Compare(id) < 0 {
		return n, false
	}
	i := sort.Search(n, func(i int) bool { return x.deliveries.at(i).id.Compare(id) >= 0 })
	return i, i < n && x.deliveries.at(i).id == id
}

// get implements view for the kinds of which a reader knows the whole key.
func (x *index) get(key []byte) (item, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	found := false
	it := indexItem{x: x}
	switch key[0] {
	case kindEvent:
		k := storage.EventKey(key[1:])
		i := sort.Search(x.events.n, func(i int) bool { return compareKeys(x.events.at(i).key, k) >= 0 })
		if found = i < x.events.n && x.events.at(i).key == k; found {
			it.place = x.events.at(i).place
		}
	case kindDelivery:
		var i int
		if i, found = x.findDelivery(storage.DeliveryID(key[1:])); found {
			d := x.deliveries.at(i)
			it.place, it.m = d.place, d.meta
		}
	case kindID:
		it.place, found = x.ids[idHash(key[1:])]
	}
	if !found {
		return nil, storage.ErrNotFound
	}
	return it, nil
}

// indexItem is a record in the log.
type indexItem struct {
	x     *index
	place place
	m     byte
}

func (it indexItem) meta() byte { return it.m }

var recordBuffers = sync.Pool{New: func() any { return new([]byte) }}

func (it indexItem) value(f func(v []byte) error) error {
	if it.place.n() == 0 {
		return f(nil)
	}
	buf := recordBuffers.Get().(*[]byte)
	defer recordBuffers.Put(buf)
	*buf = slices.Grow((*buf)[:0], it.place.n())[:it.place.n()]
	if _, err := it.x.log.ReadAt(*buf, it.place.at()); err != nil {
		return fmt.Errorf("reading the commit log: %w", err)
	}
	return f(*buf)
}

// cursor implements view.
func (x *index) cursor(prefix []byte, reverse bool) cursor {
	return &indexCursor{indexItem: indexItem{x: x}, prefix: bytes.Clone(prefix), reverse: reverse}
}

// indexCursor finds its place anew, from the key it stands on, whenever it
// moves: so the index may change meanwhile.
type indexCursor struct {
	indexItem
	prefix  []byte
	reverse bool
	k       []byte
	probe   []byte
	i       int
	ok      bool
}

// line is one of the index's lists as a cursor walks it.
type line struct {
	n   int
	key func(b []byte, i int) []byte
	at  func(i int) (place, byte)
}

// line returns the list that holds the keys with the prefix; mu is held.
func (x *index) line(prefix []byte) line {
	switch kind := prefix[0]; kind {
	case kindDelivery:
		return line{
			n:   x.deliveries.n,
			key: func(b []byte, i int) []byte { id := x.deliveries.at(i).id; return append(append(b, kind), id[:]...) },
			at:  func(i int) (place, byte) { d := x.deliveries.at(i); return d.place, d.meta },
		}
	case kindAttempt:
		all := x.attempts[storage.DeliveryID(prefix[1:])]
		return line{
			n: len(all),
			key: func(b []byte, i int) []byte {
				return binary.BigEndian.AppendUint32(append(b, prefix...), uint32(all[i].number))
			},
			at: func(i int) (place, byte) { return all[i].place, 0 },
		}
	case kindChunk:
		all := x.chunks[storage.EventKey(prefix[1:])]
		return line{
			n:   len(all),
			key: func(b []byte, i int) []byte { return binary.BigEndian.AppendUint16(append(b, prefix...), uint16(i)) },
			at:  func(i int) (place, byte) { return all[i], 0 },
		}
	case kindDue:
		all := x.due[[4]byte(prefix[1:])]
		return line{n: len(all), key: func(b []byte, i int) []byte {
			id := x.deliveries.at(int(all[i].delivery)).id
			return append(appendMilli(append(b, prefix[:5]...), all[i].ms), id[:]...)
		}}
	default:
		return x.numbers(prefix)
	}
}

// numbers is line for the lists of numbers.
func (x *index) numbers(prefix []byte) line {
	hash := [4]byte(prefix[1:])
	lists := map[byte]map[[4]byte][]uint32{kindType: x.types, kindEndpoint: x.endpoints, kindFailed: x.failed}
	all := lists[prefix[0]][hash]
	return line{n: len(all), key: func(b []byte, i int) []byte {
		b = append(b, prefix[:5]...)
		if prefix[0] == kindType {
			key := x.events.at(int(all[i])).key
			return append(b, key[:]...)
		}
		id := x.deliveries.at(int(all[i])).id
		return append(b, id[:]...)
	}}
}

func (c *indexCursor) seek(key []byte) {
	c.x.mu.RLock()
	defer c.x.mu.RUnlock()
	l := c.x.line(c.prefix)
	c.i = c.search(&l, key)
	if c.reverse && (c.i == l.n || !bytes.Equal(c.keyAt(&l, c.i), key)) {
		c.i--
	}
	c.load(&l)
}

// search returns the first place at or after the key.
func (c *indexCursor) search(l *line, key []byte) int {
	return sort.Search(l.n, func(i int) bool { return bytes.Compare(c.keyAt(l, i), key) >= 0 })
}

func (c *indexCursor) keyAt(l *line, i int) []byte {
	c.probe = l.key(c.probe[:0], i)
	return c.probe
}

func (c *indexCursor) next() {
	c.x.mu.RLock()
	defer c.x.mu.RUnlock()
	l := c.x.line(c.prefix)
	if c.i >= l.n || !bytes.Equal(c.keyAt(&l, c.i), c.k) {
		c.i = c.search(&l, c.k) // something was inserted before it
	}
	if c.reverse {
		c.i--
	} else {
		c.i++
	}
	c.load(&l)
}

// load takes over the item at the place.
func (c *indexCursor) load(l *line) {
	if c.ok = c.i >= 0 && c.i < l.n; !c.ok {
		return
	}
	c.k = append(c.k[:0], c.keyAt(l, c.i)...)
	c.ok = bytes.HasPrefix(c.k, c.prefix)
	if c.place, c.m = (place{}), 0; l.at != nil {
		c.place, c.m = l.at(c.i)
	}
}

func (c *indexCursor) valid() bool { return c.ok }
func (c *indexCursor) key() []byte { return c.k }
func (c *indexCursor) close()      {}
