package module

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
)

func init() {
	caddy.RegisterModule(new(eventRecorder))
}

// eventRecorder is a handler of Caddy events.
type eventRecorder struct{}

// recordEvent is what an eventRecorder calls.
var recordEvent func(caddy.Event)

func (*eventRecorder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.webhooks_test", New: func() caddy.Module { return new(eventRecorder) }}
}

func (*eventRecorder) Handle(_ context.Context, e caddy.Event) error {
	recordEvent(e)
	return nil
}

// eventsHarness runs a configuration whose Caddy events go to f.
func eventsHarness(t *testing.T, endpoint object, f func(caddy.Event)) (*harness, *openFake) {
	t.Helper()
	h, fake := newHarness(t), newFake(t, "events")
	loadEvents(h, endpoint, f)
	return h, fake
}

func loadEvents(h *harness, endpoint object, f func(caddy.Event)) {
	recordEvent = f
	config := h.config(object{"outbox": object{"engine": "fake", "name": "events"}, "endpoints": object{"first": endpoint}})
	config["apps"].(object)["events"] = object{"subscriptions": []object{{
		"modules": []string{"webhooks"}, "handlers": []object{{"handler": "webhooks_test"}},
	}}}
	h.mustLoad(config)
}

func TestCaddyEvents(t *testing.T) {
	events := make(chan caddy.Event, 16)
	rc := newReceiver(t)
	rc.reply(http.StatusGone)
	h, fake := eventsHarness(t, rc.endpoint(), func(e caddy.Event) { events <- e })
	expect := func(data map[string]map[string]any) {
		t.Helper()
		for len(data) > 0 {
			select {
			case e := <-events:
				want, ok := data[e.Name()]
				if !ok {
					t.Fatalf("got event %s %v, want one of %v", e.Name(), e.Data, data)
				}
				for name, value := range want {
					if e.Data[name] != value {
						t.Errorf("got %s %v of %s, want %v", name, e.Data[name], e.Name(), value)
					}
				}
				delete(data, e.Name())
			case <-time.After(10 * time.Second):
				t.Fatalf("got no event for 10 s, want %v", data)
			}
		}
	}
	if status, body := h.post(eventJSON("gone")); status != 202 {
		t.Fatalf("got %d %s, want 202", status, body)
	}
	expect(map[string]map[string]any{
		eventDeliveryFailed: {"endpoint": "first", "event_id": "gone", "type": "test.happened", "code": "gone", "attempts": 1},
		eventEndpointPaused: {"endpoint": "first", "from": "healthy", "reason": "gone"},
	})
	o := openEngines()[0].observer()
	o.EndpointChanged("first", delivery.Healthy, delivery.Failing, "timeout_headers")
	expect(map[string]map[string]any{eventEndpointFailing: {"endpoint": "first", "reason": "timeout_headers"}})
	o.EndpointChanged("first", delivery.Failing, delivery.Healthy, "")
	expect(map[string]map[string]any{eventEndpointRecovered: {"endpoint": "first", "from": "failing"}})
	fake.Poison(errors.New("failing on purpose"))
	expect(map[string]map[string]any{eventStoreFailed: {"outbox": "/fake/events"}})
}

func TestDisablingIsACaddyEvent(t *testing.T) {
	paused := make(chan caddy.Event, 16)
	rc := newReceiver(t)
	rc.reply(http.StatusServiceUnavailable)
	endpoint := rc.endpoint()
	endpoint["disable_after"] = "1ns"
	h, _ := eventsHarness(t, endpoint, func(e caddy.Event) {
		if e.Name() == eventEndpointPaused {
			paused <- e
		}
	})
	for _, id := range []string{"e1", "e2", "e3"} {
		if status, body := h.post(eventJSON(id)); status != 202 {
			t.Fatalf("got %d %s, want 202", status, body)
		}
	}
	select {
	case e := <-paused:
		if e.Data["endpoint"] != "first" || e.Data["reason"] != "disabled" {
			t.Errorf("got %v, want that first is disabled", e.Data)
		}
	case <-time.After(10 * time.Second):
		t.Error("got no event for 10 s, want that the endpoint is paused")
	}
}

// An outbox that failed before anybody could be told is an event all the same.
func TestStoreFailedBeforeTheStart(t *testing.T) {
	events := make(chan caddy.Event, 16)
	h, fake := newHarness(t), newFake(t, "events")
	fake.Poison(errors.New("data is missing"))
	loadEvents(h, object{"url": "https://example.com/"}, func(e caddy.Event) { events <- e })
	select {
	case e := <-events:
		if e.Name() != eventStoreFailed {
			t.Errorf("got event %s, want %s", e.Name(), eventStoreFailed)
		}
	case <-time.After(10 * time.Second):
		t.Error("got no event for 10 s, want that the store failed")
	}
}

// Caddy starts apps in random order. What happens before the events app knows
// its handlers waits for it.
func TestCaddyEventsWaitForTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
		defer cancel()
		events := new(caddyevents.App)
		if err := events.Provision(ctx); err != nil {
			t.Fatal(err)
		}
		o := &observer{ctx: ctx, events: events, started: make(chan struct{})}
		var got atomic.Int32
		recordEvent = func(caddy.Event) { got.Add(1) }
		quit := make(chan struct{})
		go o.emit(caddyEvent{name: eventStoreFailed}, quit)
		synctest.Wait()
		if err := events.On("", new(eventRecorder)); err != nil {
			t.Fatal(err)
		}
		close(o.started)
		synctest.Wait()
		if got.Load() != 1 {
			t.Errorf("got %d events, want the one from before the start", got.Load())
		}

		never := &observer{ctx: ctx, events: events, started: make(chan struct{})}
		go never.emit(caddyEvent{name: eventStoreFailed}, quit)
		close(quit) // else the bubble ends in a deadlock
	})
}

// The engine does not wait for slow handlers.
func TestCaddyEventsDoNotBlock(t *testing.T) {
	release, handled := make(chan struct{}), make(chan struct{}, 2*eventQueueSize)
	_, _ = eventsHarness(t, object{"url": "https://example.com/", "paused": true}, func(caddy.Event) {
		handled <- struct{}{}
		<-release
	})
	q := openEngines()[0].events
	for range 2 * eventQueueSize {
		q.offer(caddyEvent{name: eventDeliveryFailed})
	}
	if got := q.dropped.Load(); got < eventQueueSize-1 {
		t.Errorf("got %d events dropped, want %d at least", got, eventQueueSize-1)
	}
	close(release)
	for range eventQueueSize {
		<-handled
	}
}

// Interface guards
var _ caddyevents.Handler = (*eventRecorder)(nil)
