package badger

import (
	"context"
	"fmt"
	"slices"

	"github.com/promptreports/caddy-webhooks/storage"
)

// Settle implements storage.Outbox. Settlements of one segment share a
// commit; those of several segments are committed one segment after another.
func (o *Outbox) Settle(ctx context.Context, settlements []storage.Settlement) error {
	if err := o.enter(); err != nil {
		return err
	}
	defer o.gate.RUnlock()
	if err := o.ready(ctx); err != nil {
		return err
	}
	if len(settlements) == 1 {
		s := o.find(settlements[0].Delivery.Event())
		if s == nil {
			return storage.ErrNotFound
		}
		return o.settle(ctx, s, settlements)
	}
	var order []*segment
	groups := make(map[*segment][]storage.Settlement)
	for i := range settlements {
		s := o.find(settlements[i].Delivery.Event())
		if s == nil {
			return storage.ErrNotFound
		}
		if groups[s] == nil {
			order = append(order, s)
		}
		groups[s] = append(groups[s], settlements[i])
	}
	for _, s := range order {
		if err := o.settle(ctx, s, groups[s]); err != nil {
			return err
		}
	}
	return nil
}

func (o *Outbox) settle(ctx context.Context, s *segment, settlements []storage.Settlement) error {
	p := newOp(3*len(settlements), 0)
	for i := range settlements {
		p.deliveries = append(p.deliveries, settlements[i].Delivery)
	}
	if err := o.deliveries.wait(ctx, p.deliveries); err != nil {
		return err
	}
	err := o.settleRoom(settlements)
	if err == nil {
		err = s.acquireToSettle()
	}
	if err != nil {
		o.deliveries.release(p.deliveries)
		return err
	}
	defer s.use.RUnlock()
	if err := p.settlements(s, settlements); err != nil {
		o.deliveries.release(p.deliveries)
		return err
	}
	if err := o.submit(ctx, s, p); err != nil {
		return err
	}
	p.recycle()
	return nil
}

// unstore makes the state forget that a segment is finished before anything
// about it changes, so that the next start examines it.
func (o *Outbox) unstore(s *segment) error {
	s.mu.Lock()
	stored := s.stored
	s.stored = false
	s.mu.Unlock()
	if !stored {
		return nil
	}
	err := o.saveState()
	if err != nil {
		s.mu.Lock()
		s.stored = true
		s.mu.Unlock()
	}
	return err
}

// settlements encodes all of them; the segment's use is held.
func (p *op) settlements(s *segment, settlements []storage.Settlement) error {
	p.changes = slices.Grow(p.changes, len(settlements))
	for i := range settlements {
		c := &settlements[i]
		status := statusByte(c.Status)
		if status == 0 {
			return fmt.Errorf("settling %s: status %q is not kept", c.Delivery, c.Status)
		}
		if record := s.takeRecent(c.Delivery); record != nil {
			if err := p.settlement(c, status, record); err != nil {
				return err
			}
			continue
		}
		err := s.read(func(v view) error {
			return get(v, deliveryKey(c.Delivery), func(record []byte) error {
				return p.settlement(c, status, record)
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *op) settlement(s *storage.Settlement, status byte, record []byte) error {
	h, err := decodeHead(record)
	if err != nil {
		return fmt.Errorf("reading %s: %w", s.Delivery, err)
	}
	p.rewrite(s, status, h)
	return nil
}

// rewrite appends what the settlement changes about the delivery. The attempt
// that ends a delivery, which most have no other of, becomes part of the
// delivery's record; any other gets a record of its own.
func (p *op) rewrite(s *storage.Settlement, status byte, h head) {
	id := s.Delivery
	c := change{
		endpoint: string(h.endpoint()), code: s.Code, id: id,
		oldStatus: h.status, oldFresh: h.next == 0, oldDue: h.due(id),
		newStatus: status,
	}
	size := 256 + len(h.attempt)
	if a := s.Attempt; a != nil {
		size += 2*(192+len(a.Body)) + 128*len(a.Header)
	}
	p.buf = slices.Grow(p.buf, size)
	if len(h.attempt) > 0 { // it was ended before
		p.put(appendAttemptKey(p.buf, id, h.attempts), func(b []byte) []byte { return append(b, h.attempt...) }, 0)
		h.attempt = nil
	}
	h.status = status
	h.code = []byte(s.Code)
	h.next = 0
	if status == statusPending {
		h.next = milli(s.NextAttemptAt)
	}
	if a := s.Attempt; a != nil {
		h.attempts++
		h.statusCode = a.StatusCode
		h.last = micro(a.StartedAt)
		encode := func(b []byte) []byte { return appendAttempt(b, a) }
		if status == statusPending {
			p.put(appendAttemptKey(p.buf, id, h.attempts), encode, 0)
		} else {
			h.attempt = p.encode(encode)
		}
	}
	record := p.put(append(append(p.buf, kindDelivery), id[:]...), func(b []byte) []byte { return appendDelivery(b, &h) }, h.meta())
	c.newFresh, c.newDue = h.next == 0, h.due(id)
	if status == statusPending {
		c.record = record
	}
	if status == statusFailed && c.oldStatus != statusFailed {
		p.put(appendIndexKey(p.buf, kindFailed, hash4(c.endpoint), id), nil, 0)
	}
	if h.next != 0 {
		p.put(appendDueKey(p.buf, hash4(c.endpoint), h.next, id), nil, 0)
	}
	p.changes = append(p.changes, c)
}

// encode appends something to the op's buffer and returns it.
func (p *op) encode(appendTo func([]byte) []byte) []byte {
	start := len(p.buf)
	p.buf = appendTo(p.buf)
	return p.record(start)
}

// put adds an entry whose key was just appended to the op's buffer, and
// returns its value.
func (p *op) put(withKey []byte, value func([]byte) []byte, meta byte) []byte {
	key := slices.Clip(withKey[len(p.buf):])
	p.buf = withKey
	var v []byte
	if value != nil {
		v = p.encode(value)
	}
	p.set(entry{key: key, value: v, meta: meta})
	return v
}
