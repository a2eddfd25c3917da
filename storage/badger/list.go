package badger

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"runtime"
	"slices"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

const (
	// maxExamined bounds the deliveries looked at for one page.
	maxExamined = 5_000

	// giveWay is after how many deliveries one who reads lets others run: nobody
	// waits for a page, or what is sent later, as for a 202.
	giveWay = 128

	// maxWalks bounds the indexes that are walked side by side; a filter for
	// more endpoints examines all deliveries.
	maxWalks = 8
)

// List implements storage.Outbox.
func (o *Outbox) List(ctx context.Context, f storage.Filter, req storage.PageRequest) (*storage.Page, error) {
	if err := o.enter(); err != nil {
		return nil, err
	}
	defer o.gate.RUnlock()
	l := listing{ctx: ctx, filter: f, limit: max(req.Limit, 1), status: statusByte(f.Status), before: lastID}
	if req.Cursor != "" {
		var err error
		if l.before, err = parseCursor(req.Cursor); err != nil {
			return nil, err
		}
	}
	if f.EventID != "" {
		l.event = hashID(f.EventID)
	}
	page := &storage.Page{}
	if f.Status != "" && l.status == 0 {
		return page, ctx.Err()
	}
	segs := *o.segments.Load()
	for i := len(segs) - 1; i >= 0 && !l.done; i-- {
		if !l.wants(segs[i]) {
			continue
		}
		if err := segs[i].view(l.segment); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return nil, err
		}
	}
	page.Deliveries = l.found
	if l.done && !l.ended {
		page.Next = placeCursor(l.before)
	}
	return page, nil
}

// lastID is greater than every delivery's id.
var lastID = storage.DeliveryID(bytes.Repeat([]byte{0xff}, len(storage.DeliveryID{})))

// listing is one call of List.
type listing struct {
	ctx    context.Context
	filter storage.Filter
	status byte
	event  idHash
	limit  int

	// before is the last delivery that was examined.
	before   storage.DeliveryID
	examined int
	found    []storage.Delivery
	done     bool // the page is full, or nothing can follow
	ended    bool // nothing can follow
}

// wants says whether a segment can hold anything that the filter admits.
func (l *listing) wants(s *segment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == (storage.EventKey{}) || s.first.Delivery(0).Compare(l.before) >= 0 {
		return false
	}
	if l.status != 0 && s.counts[l.status] == 0 {
		return false
	}
	f := &l.filter
	if !f.Until.IsZero() && s.first.Milli() >= ceilMilli(f.Until) {
		return false
	}
	if !f.Since.IsZero() && s.reach.Milli() < ceilMilli(f.Since) {
		l.done, l.ended = true, true
		return false
	}
	if !l.hasFacets(s) {
		return false
	}
	if l.status == statusPending && len(f.Endpoints) > 0 {
		return slices.ContainsFunc(f.Endpoints, func(name string) bool { return s.pending[name] != nil })
	}
	return true
}

// hasFacets says whether the segment's filter knows what is filtered by; the
// segment is locked.
func (l *listing) hasFacets(s *segment) bool {
	f := &l.filter
	if f.EventID != "" && !s.ids.has(l.event) ||
		f.Type != "" && !s.ids.has(facet(kindType, hash4(f.Type))) ||
		f.Code != "" && !s.codeless && !s.ids.has(facet(kindCode, hash4(f.Code))) {
		return false
	}
	return len(f.Endpoints) == 0 || slices.ContainsFunc(f.Endpoints, func(name string) bool {
		return s.ids.has(facet(kindEndpoint, hash4(name)))
	})
}

// segment goes through one segment, newest first.
func (l *listing) segment(v view) error {
	if l.filter.EventID != "" {
		return l.ofEvent(v)
	}
	var walks []*backwards
	defer func() {
		for _, w := range walks {
			w.c.close()
		}
	}()
	for _, prefix := range l.prefixes() {
		walks = append(walks, newBackwards(v, prefix, l.start()))
	}
	for !l.done {
		w := newest(walks)
		if w == nil {
			return nil
		}
		if err := l.step(v, w.id(), w.c); err != nil {
			return err
		}
		w.c.next()
	}
	return nil
}

// prefixes chooses the keys to walk: the shortest index that holds all that
// the filter admits.
func (l *listing) prefixes() [][]byte {
	f := &l.filter
	if n := len(f.Endpoints); n > 0 && n <= maxWalks {
		kind := byte(kindEndpoint)
		if l.status == statusFailed {
			kind = kindFailed
		}
		var all [][]byte
		for _, name := range f.Endpoints {
			h := hash4(name)
			p := append([]byte{kind}, h[:]...)
			if !slices.ContainsFunc(all, func(q []byte) bool { return bytes.Equal(p, q) }) {
				all = append(all, p)
			}
		}
		return all
	}
	if f.Type != "" {
		h := hash4(f.Type)
		return [][]byte{append([]byte{kindType}, h[:]...)}
	}
	return [][]byte{{kindDelivery}}
}

// start is where the walks begin: they are strictly before it.
func (l *listing) start() storage.DeliveryID {
	start := l.before
	if u := l.filter.Until; !u.IsZero() {
		if bound := storage.NewEventKey(max(ceilMilli(u), 0), 0).Delivery(0); bound.Compare(start) < 0 {
			start = bound
		}
	}
	return start
}

// step examines what a walk stands on: a delivery or, in the index of types,
// an event.
func (l *listing) step(v view, id storage.DeliveryID, c cursor) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	switch c.key()[0] {
	case kindType:
		return l.deliveriesOf(v, id.Event())
	case kindDelivery:
		return l.examine(id, c)
	}
	record, err := v.get(deliveryKey(id))
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return l.examine(id, record)
}

// ofEvent goes through the events of the public id.
func (l *listing) ofEvent(v view) error {
	_, keys, err := readID(v, l.event)
	if err != nil {
		return err
	}
	for _, k := range slices.Backward(keys) {
		if l.done {
			return nil
		}
		if err := l.deliveriesOf(v, k); err != nil {
			return err
		}
	}
	return nil
}

func (l *listing) deliveriesOf(v view, key storage.EventKey) error {
	if key.Delivery(0).Compare(l.start()) >= 0 {
		return nil
	}
	l.examined++
	w := newBackwards(v, append([]byte{kindDelivery}, key[:]...), l.start())
	defer w.c.close()
	for !l.done && w.valid() {
		if err := l.examine(w.id(), w.c); err != nil {
			return err
		}
		w.c.next()
	}
	return nil
}

// examine adds the delivery to the page if the filter admits it.
func (l *listing) examine(id storage.DeliveryID, it item) error {
	if id.Compare(l.before) >= 0 {
		return nil
	}
	if s := l.filter.Since; !s.IsZero() && id.Event().Milli() < ceilMilli(s) {
		l.done, l.ended = true, true
		return nil
	}
	l.before = id
	if l.examined++; l.examined%giveWay == 0 {
		runtime.Gosched()
	}
	if l.status == 0 || it.meta()&metaStatus == l.status {
		err := it.value(func(v []byte) error {
			h, err := decodeHead(v)
			if err != nil || !l.mayAdmit(&h) {
				return err
			}
			d, err := h.delivery(id)
			if err == nil && l.admits(d) {
				l.found = append(l.found, *d)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if len(l.found) >= l.limit || l.examined >= maxExamined {
		l.done = true
	}
	return nil
}

// mayAdmit spares most refused deliveries their decoding.
func (l *listing) mayAdmit(h *head) bool {
	return l.filter.Code == "" || string(h.code) == l.filter.Code
}

func (l *listing) admits(d *storage.Delivery) bool {
	f := &l.filter
	return (len(f.Endpoints) == 0 || slices.Contains(f.Endpoints, d.Endpoint)) &&
		!slices.Contains(f.NotEndpoints, d.Endpoint) &&
		(f.Type == "" || f.Type == d.Type) &&
		(f.EventID == "" || f.EventID == d.EventID) &&
		(f.Until.IsZero() || d.CreatedAt.Before(f.Until))
}

// backwards walks keys that end with the id of a delivery or an event,
// greatest first.
type backwards struct {
	c      cursor
	prefix []byte
}

// newBackwards starts at the greatest key before the id.
func newBackwards(v view, prefix []byte, before storage.DeliveryID) *backwards {
	w := &backwards{c: v.cursor(prefix, true), prefix: prefix}
	seek := slices.Clone(prefix)
	switch {
	case len(prefix) == eventKeyLen: // the deliveries of one event
		seek = append(seek, 0xff, 0xff)
		if before.Event() == storage.EventKey(prefix[1:]) {
			copy(seek[len(prefix):], before[len(storage.EventKey{}):])
		}
	case prefix[0] == kindType:
		k := before.Event()
		seek = append(seek, k[:]...)
	default:
		seek = append(seek, before[:]...)
	}
	w.c.seek(seek)
	for w.valid() && w.id().Compare(before) >= 0 {
		w.c.next()
	}
	return w
}

func (w *backwards) valid() bool { return w.c.valid() }

// id is where the walk stands; an event counts as its first delivery.
func (w *backwards) id() (id storage.DeliveryID) {
	key := w.c.key()
	switch key[0] {
	case kindDelivery:
		copy(id[:], key[1:])
	default:
		copy(id[:], key[5:])
	}
	return id
}

// newest returns the walk that stands on the greatest id, or nil.
func newest(walks []*backwards) (at *backwards) {
	var id storage.DeliveryID
	for _, w := range walks {
		if !w.valid() {
			continue
		}
		if here := w.id(); at == nil || here.Compare(id) > 0 {
			at, id = w, here
		}
	}
	return at
}

// cursorVersion starts the bytes of a cursor.
const cursorVersion = 1

// placeCursor makes the opaque form of a place in a listing.
func placeCursor(id storage.DeliveryID) string {
	b := append([]byte{cursorVersion}, id[:]...)
	return base64.RawURLEncoding.EncodeToString(appendChecksum(b, 0))
}

func parseCursor(s string) (id storage.DeliveryID, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 1+len(id)+checksumSize {
		return id, storage.ErrBadCursor
	}
	r, err := openRecord(b)
	if err != nil {
		return id, storage.ErrBadCursor
	}
	copy(id[:], r.b)
	return id, nil
}

// ceilMilli is the first whole millisecond at or after the time: ids keep
// no more.
func ceilMilli(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.After(time.UnixMilli(ms)) {
		ms++
	}
	return ms
}
