package badger

import (
	"context"
	"errors"
	"fmt"

	badgerdb "github.com/dgraph-io/badger/v4"

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
	ids := make([]storage.DeliveryID, len(settlements))
	for i := range settlements {
		ids[i] = settlements[i].Delivery
	}
	for {
		wait := o.deliveries.claim(ids)
		if wait == nil {
			break
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := o.unstore(s)
	var db *badgerdb.DB
	if err == nil {
		db, err = s.acquire()
	}
	if err != nil {
		o.deliveries.release(ids)
		return err
	}
	defer s.use.RUnlock()
	p := newOp(3 * len(settlements))
	p.deliveries = ids
	if err := p.settlements(db, settlements); err != nil {
		o.deliveries.release(ids)
		return err
	}
	o.needReserve(p.queued)
	return o.submit(ctx, s, p)
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
	return o.saveState()
}

// settlements encodes all of them.
func (p *op) settlements(db *badgerdb.DB, settlements []storage.Settlement) error {
	txn := db.NewTransaction(false)
	defer txn.Discard()
	p.changes = make([]change, 0, len(settlements))
	for i := range settlements {
		if err := p.settlement(txn, &settlements[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *op) settlement(txn *badgerdb.Txn, s *storage.Settlement) error {
	status := statusByte(s.Status)
	if status == 0 {
		return fmt.Errorf("settling %s: status %q is not kept", s.Delivery, s.Status)
	}
	id := s.Delivery
	item, err := txn.Get(deliveryKey(id))
	if errors.Is(err, badgerdb.ErrKeyNotFound) {
		return storage.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", id, err)
	}
	return item.Value(func(v []byte) error {
		h, err := decodeHead(v)
		if err != nil {
			return fmt.Errorf("reading %s: %w", id, err)
		}
		p.rewrite(s, status, h)
		return nil
	})
}

// rewrite appends what the settlement changes about the delivery.
func (p *op) rewrite(s *storage.Settlement, status byte, h head) {
	id := s.Delivery
	c := change{
		endpoint: string(h.endpoint()), id: id,
		oldStatus: h.status, oldFresh: h.next == 0, oldDue: h.due(id),
		newStatus: status,
	}
	h.status = status
	h.code = []byte(s.Code)
	h.next = 0
	if status == statusPending {
		h.next = milli(s.NextAttemptAt)
	}
	buf := make([]byte, 0, 384)
	if a := s.Attempt; a != nil {
		h.attempts++
		h.statusCode = a.StatusCode
		h.last = micro(a.StartedAt)
		buf = make([]byte, 0, 384+len(a.Body)+64*len(a.Header))
	}
	cut := func(start int) []byte { return buf[start:len(buf):len(buf)] }

	buf = append(append(buf, kindDelivery), id[:]...)
	key, start := cut(0), len(buf)
	buf = appendDelivery(buf, &h)
	p.set(badgerdb.Entry{Key: key, Value: cut(start), UserMeta: h.meta()})

	if s.Attempt != nil {
		start = len(buf)
		buf = appendAttemptKey(buf, id, h.attempts)
		key, start = cut(start), len(buf)
		buf = appendAttempt(buf, s.Attempt)
		p.set(badgerdb.Entry{Key: key, Value: cut(start)})
	}
	c.newFresh, c.newDue = h.next == 0, h.due(id)
	if status == statusFailed && c.oldStatus != statusFailed {
		start = len(buf)
		buf = appendIndexKey(buf, kindFailed, hash4(c.endpoint), id)
		p.set(badgerdb.Entry{Key: cut(start)})
	}
	if h.next != 0 {
		start = len(buf)
		buf = appendDueKey(buf, hash4(c.endpoint), h.next, id)
		p.set(badgerdb.Entry{Key: cut(start)})
	}
	p.changes = append(p.changes, c)
}
