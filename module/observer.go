package module

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
	"github.com/promptreports/caddy-webhooks/storage"
)

// observer turns what the engine tells about one configuration into metrics
// and Caddy events.
type observer struct {
	// endpoints holds the counters of each endpoint; nil where the
	// configuration does not ask for them.
	endpoints map[string]*trafficChild

	// queue takes the Caddy events; nil before Start.
	queue atomic.Pointer[eventQueue]

	ctx    caddy.Context
	events *caddyevents.App

	// started is closed when all apps of the configuration have started.
	started chan struct{}
}

// newObserver registers the metrics with the registry of the configuration.
func newObserver(ctx caddy.Context, endpoints []string, perEndpoint bool) (*observer, error) {
	if err := registerMetrics(ctx.GetMetricsRegistry()); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	app, err := ctx.App("events")
	if err != nil {
		return nil, fmt.Errorf("loading the events app: %w", err)
	}
	o := &observer{ctx: ctx, events: app.(*caddyevents.App), started: make(chan struct{})}
	if err := o.events.On("started", startedHandler{sync.OnceFunc(func() { close(o.started) })}); err != nil {
		return nil, fmt.Errorf("subscribing to the start: %w", err)
	}
	if perEndpoint {
		o.endpoints = make(map[string]*trafficChild, len(endpoints))
		for _, name := range endpoints {
			o.endpoints[name] = byEndpoint.child(name)
		}
	}
	return o, nil
}

// AttemptDone implements delivery.Observer.
func (o *observer) AttemptDone(endpoint, verdict, _ string, duration time.Duration) {
	allTraffic.attemptDone(verdict, duration)
	if c := o.endpoints[endpoint]; c != nil {
		c.attemptDone(verdict, duration)
	}
}

// DeliveryDone implements delivery.Observer.
func (o *observer) DeliveryDone(d delivery.Done) {
	allTraffic.deliveryDone(d.Status, d.Latency)
	if c := o.endpoints[d.Endpoint]; c != nil {
		c.deliveryDone(d.Status, d.Latency)
	}
	if d.Status == string(storage.StatusFailed) {
		o.queue.Load().offer(caddyEvent{name: eventDeliveryFailed, data: map[string]any{
			"endpoint":    d.Endpoint,
			"delivery_id": d.DeliveryID.String(),
			"event_id":    d.EventID,
			"type":        d.Type,
			"code":        d.Code,
			"attempts":    d.Attempts,
		}})
	}
}

// EndpointChanged implements delivery.Observer.
func (o *observer) EndpointChanged(endpoint string, from, to delivery.EndpointHealth, reason string) {
	var name string
	switch to {
	case delivery.Healthy:
		name = eventEndpointRecovered
	case delivery.Failing:
		name = eventEndpointFailing
	case delivery.Paused:
		name = eventEndpointPaused
	}
	o.queue.Load().offer(caddyEvent{name: name, data: map[string]any{
		"endpoint": endpoint,
		"from":     string(from),
		"reason":   reason,
	}})
}

// emit tells the handlers of the configuration, and waits for them. It waits
// for the start, too: Caddy starts apps in random order, and the events app has
// no handlers before its own. It emits nothing when quit is closed first, or
// when the start fails.
func (o *observer) emit(e caddyEvent, quit <-chan struct{}) {
	select {
	case <-o.started:
		o.events.Emit(o.ctx, e.name, e.data)
	case <-o.ctx.Done():
	case <-quit:
	}
}

// startedHandler takes the Caddy event "started". Modules may have events of
// that name, too; Caddy's own has no origin, and comes once.
type startedHandler struct{ close func() }

// Handle implements caddyevents.Handler.
func (h startedHandler) Handle(_ context.Context, e caddy.Event) error {
	if e.Origin() == nil {
		h.close()
	}
	return nil
}

// forget removes the series of those endpoints which no running configuration
// has. It is called when the observer's own configuration goes, be it replaced
// or failed.
func (o *observer) forget() {
	if o == nil || len(o.endpoints) == 0 {
		return
	}
	kept := make(map[string]bool)
	for _, p := range openEngines() {
		if current := p.observer(); current != nil {
			for name := range current.endpoints {
				kept[name] = true
			}
		}
	}
	for name := range o.endpoints {
		if !kept[name] {
			byEndpoint.forget(name)
		}
	}
}

// Interface guards
var (
	_ delivery.Observer   = (*observer)(nil)
	_ caddyevents.Handler = startedHandler{}
)
