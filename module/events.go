package module

import (
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
)

// The Caddy events that the app emits. Their data are "endpoint", and what the
// observer adds.
const (
	eventDeliveryFailed    = "webhooks_delivery_failed"
	eventEndpointFailing   = "webhooks_endpoint_failing"
	eventEndpointRecovered = "webhooks_endpoint_recovered"
	eventEndpointPaused    = "webhooks_endpoint_paused"
	eventStoreFailed       = "webhooks_store_failed"
)

// eventQueueSize bounds the Caddy events that wait for their handlers.
const eventQueueSize = 256

type caddyEvent struct {
	name string
	data map[string]any
}

// eventQueue emits Caddy events one after another in a goroutine of its own,
// because their handlers may be slow, for example run programs. Each goes to
// the handlers of the configuration that is then current: those of an old one
// are cancelled.
type eventQueue struct {
	pooled  *pooledEngine
	waiting chan caddyEvent
	dropped atomic.Int64
	quit    chan struct{}
	done    sync.WaitGroup
}

// startEventQueue watches over the outbox, too: its failure is an event, also
// when it failed before. So there must be somebody to be told.
func startEventQueue(p *pooledEngine) *eventQueue {
	q := &eventQueue{pooled: p, waiting: make(chan caddyEvent, eventQueueSize), quit: make(chan struct{})}
	q.done.Go(q.run)
	return q
}

// offer queues an event, and drops it where too many wait: the engine must not
// wait for handlers. A nil queue drops everything.
func (q *eventQueue) offer(e caddyEvent) {
	if q == nil {
		return
	}
	select {
	case q.waiting <- e:
	default:
		q.dropped.Add(1)
	}
}

// stop ends the queue, if there is one, and waits for the event that is being
// handled.
func (q *eventQueue) stop() {
	if q == nil {
		return
	}
	close(q.quit)
	q.done.Wait()
}

func (q *eventQueue) run() {
	failed := q.pooled.outbox.Failed()
	for {
		select {
		case <-q.quit:
			return
		case <-failed:
			failed = nil
			q.storeFailed()
		case e := <-q.waiting:
			q.emit(e)
		}
	}
}

func (q *eventQueue) emit(e caddyEvent) {
	if o := q.pooled.observer(); o != nil {
		o.emit(e, q.quit)
	}
	if n := q.dropped.Swap(0); n > 0 {
		zap.New(q.pooled.log).Named("webhooks").Warn("caddy events dropped, because their handlers are too slow", zap.Int64("events", n))
	}
}

func (q *eventQueue) storeFailed() {
	p := q.pooled
	reason := "unknown"
	if err := p.outbox.Usage().Err; err != nil {
		reason = err.Error()
	}
	q.emit(caddyEvent{name: eventStoreFailed, data: map[string]any{"outbox": p.location, "error": reason}})
}
