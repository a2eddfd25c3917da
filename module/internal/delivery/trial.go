package delivery

import (
	"context"
	"fmt"

	"github.com/promptreports/caddy-webhooks/module/internal/event"
	"github.com/promptreports/caddy-webhooks/storage"
)

// Test sends an event to one endpoint at once: outside of its queue, whatever
// the event's type, and also when the endpoint is paused or failing. It waits
// for the attempt, which is recorded in the history as a test and changes
// nothing about the endpoint. There is no second attempt.
//
// Errors are ErrUnknownEndpoint, ErrStopping, ErrNotStarted and those of
// storage.Outbox.Accept. An event whose id is kept already is a
// *storage.ConflictError.
func (e *Engine) Test(ctx context.Context, endpoint string, ev *event.Event) (*storage.Delivery, *storage.Attempt, error) {
	s := e.Snapshot()
	if s == nil {
		return nil, nil, ErrNotStarted
	}
	config := s.Endpoints[endpoint]
	if config == nil {
		return nil, nil, ErrUnknownEndpoint
	}
	if err := e.beginTest(); err != nil {
		return nil, nil, err
	}
	defer e.endTest()
	accepted, err := e.outbox.Accept(ctx, []storage.NewEvent{{
		ID: ev.ID, Type: ev.Type, Body: ev.Body, Endpoints: []string{endpoint}, Test: true,
	}})
	if err != nil {
		if isFatal(err) {
			e.fail(err)
		}
		return nil, nil, err
	}
	if accepted[0].Duplicate {
		return nil, nil, &storage.ConflictError{Indexes: []int{0}}
	}
	return e.test(ctx, s, config, ev, accepted[0].Key.Delivery(0))
}

// test makes and records the attempt of a test.
func (e *Engine) test(ctx context.Context, s *Snapshot, config *Endpoint, ev *event.Event, id storage.DeliveryID) (*storage.Delivery, *storage.Attempt, error) {
	sending, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	j := &job{flight: flight{item: item{id: id}, q: &queue{name: config.Name}, snap: s, config: config}}
	j.message = Message{
		Endpoint: config, HeaderPrefix: s.HeaderPrefix, UserAgent: s.UserAgent, Delivery: id,
		EventID: ev.ID, Type: ev.Type, Body: ev.Body, Number: 1,
	}
	e.attempt(sending, j)
	a := &j.outcome.Attempt
	status := storage.StatusFailed
	if a.Verdict == VerdictSuccess {
		status = storage.StatusDelivered
	}
	s.Observer.AttemptDone(config.Name, a.Verdict, a.Code, a.Duration)
	recording := context.WithoutCancel(ctx)
	if err := e.settleOne(recording, storage.Settlement{Delivery: id, Attempt: a, Status: status, Code: a.Code}); err != nil {
		return nil, nil, err
	}
	d, attempts, err := e.outbox.Delivery(recording, id)
	if err != nil {
		return nil, nil, err
	}
	if len(attempts) == 0 {
		return nil, nil, fmt.Errorf("reading the attempt of test %s: %w", id, storage.ErrNotFound)
	}
	return d, &attempts[len(attempts)-1], nil
}

func (e *Engine) beginTest() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopping || e.closed.Load() {
		return ErrStopping
	}
	e.tests++
	return nil
}

func (e *Engine) endTest() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tests--
	e.checkDrained()
}
