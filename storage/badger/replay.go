package badger

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/promptreports/caddy-webhooks/storage"
)

// Replay implements storage.Outbox.
//
// The new delivery belongs to a copy of the event under a key of its own, in
// the active segment: so ids go on sorting by creation, and retention can
// remove the old segment.
func (o *Outbox) Replay(ctx context.Context, of storage.DeliveryID) (*storage.Delivery, error) {
	if err := o.enter(); err != nil {
		return nil, err
	}
	defer o.gate.RUnlock()
	if err := o.ready(ctx); err != nil {
		return nil, err
	}
	d, _, err := o.delivery(of, false)
	if err != nil {
		return nil, err
	}
	e, err := o.event(of.Event())
	if err != nil {
		return nil, err
	}
	hash := hashID(e.ID)
	for {
		if err := o.ids.wait(ctx, []idHash{hash}); err != nil {
			return nil, err
		}
		p, err := o.replay(ctx, e, d, hash)
		if errors.Is(err, errSealed) {
			o.giveBack(p)
			continue
		}
		if err != nil {
			return nil, err
		}
		id := p.events[0].key.Delivery(0)
		return &storage.Delivery{
			ID: id, EventID: d.EventID, Type: d.Type, Endpoint: d.Endpoint, Status: storage.StatusPending,
			Test: d.Test, CreatedAt: id.Time().UTC(), NextAttemptAt: id.Time().UTC(), ReplayOf: of,
		}, nil
	}
}

// replay commits the copy; the claim on the id is given back unless the
// error is errSealed.
func (o *Outbox) replay(ctx context.Context, e *storage.Event, d *storage.Delivery, hash idHash) (*op, error) {
	s := o.active.Load()
	if err := s.acquire(); err != nil {
		o.ids.release([]idHash{hash})
		return nil, err
	}
	defer s.use.RUnlock()
	var sum digest
	var older []storage.EventKey
	err := s.read(func(v view) (err error) {
		sum, older, err = readID(v, hash)
		return err
	})
	if err == nil && len(older) == 0 {
		var kept *keptEvent
		if kept, err = o.lookup(hash, s); kept != nil {
			sum = kept.digest
		} else if err == nil {
			full := sha256.Sum256(e.Body)
			sum = digest(full[:digestSize])
		}
	}
	copyOf := *e
	copyOf.Deliveries = 1
	p := newOp(3, 512+len(e.Body))
	p.ids = []idHash{hash}
	p.accept(hash, e.Type, []string{d.Endpoint}, statusPending)
	b := builder{op: p}
	b.event(&copyOf, sum, older, d.ID)
	if err == nil {
		err = o.admit(p)
	}
	if err != nil {
		o.ids.release(p.ids)
		return nil, err
	}
	return p, o.submit(ctx, s, p)
}
