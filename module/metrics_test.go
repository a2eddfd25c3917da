package module

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
)

// series returns the value of a series of the metrics page, or -1.
func (h *harness) series(name string) float64 {
	h.t.Helper()
	status, body := h.get("/metrics")
	if status != 200 {
		h.t.Fatalf("got %d %s from the metrics, want 200", status, body)
	}
	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				h.t.Fatalf("reading %q: %v", line, err)
			}
			return v
		}
	}
	return -1
}

// counted calls f, and expects the series to have grown by as much.
func (h *harness) counted(name string, by float64, f func()) {
	h.t.Helper()
	before := max(h.series(name), 0)
	f()
	if got := h.series(name) - before; got != by {
		h.t.Errorf("got %s grown by %v, want %v", name, got, by)
	}
}

func TestMetricsOfIngest(t *testing.T) {
	h := newIngest(t)
	h.counted(`caddy_webhooks_events_total{result="accepted"}`, 3, func() {
		h.post(eventJSON("m1"))
		h.post("[" + eventJSON("m2") + "," + eventJSON("m3") + "]")
	})
	h.counted(`caddy_webhooks_events_total{result="malformed-json"}`, 1, func() { h.post("{") })
	h.counted(`caddy_webhooks_events_total{result="duplicate"}`, 1, func() {
		body := `{"id":"m4","type":"test.happened","timestamp":"2026-01-02T03:04:05Z","data":{}}`
		h.post(body)
		h.post(body)
	})
	for name, want := range map[string]float64{
		"caddy_webhooks_deliveries_pending":         4,
		"caddy_webhooks_deliveries_in_flight":       0,
		"caddy_webhooks_store_failed":               0,
		`caddy_webhooks_endpoints{state="paused"}`:  1,
		`caddy_webhooks_endpoints{state="healthy"}`: 0,
		`caddy_webhooks_endpoints{state="failing"}`: 0,
	} {
		if got := h.series(name); got != want {
			t.Errorf("got %s %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"caddy_webhooks_oldest_pending_seconds", "caddy_webhooks_outbox_bytes"} {
		if got := h.series(name); got < 0 {
			t.Errorf("got no %s, want one", name)
		}
	}
	h.fake.Poison(fmt.Errorf("failing on purpose"))
	if got := h.series("caddy_webhooks_store_failed"); got != 1 {
		t.Errorf("got store_failed %v of a poisoned outbox, want 1", got)
	}
}

// Counters keep their values over reloads, good and failed, and the labels
// follow the configuration that runs.
func TestMetricsSurviveReloads(t *testing.T) {
	h := newHarness(t)
	newFake(t, "metrics")
	rc := newReceiver(t)
	config := func(perEndpoint bool, names ...string) object {
		endpoints := object{}
		for _, name := range names {
			endpoints[name] = rc.endpoint()
		}
		return h.config(object{
			"outbox":    object{"engine": "fake", "name": "metrics"},
			"metrics":   object{"per_endpoint": perEndpoint},
			"endpoints": endpoints,
		})
	}
	deliver := func(id string) {
		t.Helper()
		if status, body := h.post(eventJSON(id)); status != 202 {
			t.Fatalf("got %d %s, want 202", status, body)
		}
		h.awaitIdle()
	}
	const (
		attempts = `caddy_webhooks_attempts_total{verdict="success"}`
		counts   = `caddy_webhooks_attempt_duration_seconds_count`
		latency  = `caddy_webhooks_delivery_latency_seconds_count`
		total    = `caddy_webhooks_deliveries_total{status="delivered"}`
		ofOne    = `caddy_webhooks_deliveries_total{endpoint="one",status="delivered"}`
		ofTwo    = `caddy_webhooks_deliveries_total{endpoint="two",status="delivered"}`
	)
	h.mustLoad(config(false, "one"))
	for i, name := range []string{attempts, counts, latency, total} {
		h.counted(name, 1, func() { deliver(fmt.Sprint("a", i)) })
	}
	before := h.series(total)

	failing := config(false, "one")
	failing["apps"].(object)["webhooks_test_failing"] = object{"at": "start"}
	if err := h.load(failing); err == nil {
		t.Fatal("got a configuration that loads, want one that fails")
	}
	if got := h.series(total); got != before {
		t.Errorf("got %v delivered after a failed reload, want %v", got, before)
	}

	h.mustLoad(config(true, "one", "two"))
	if got := h.series(total); got != -1 {
		t.Errorf("got %v of a series without the endpoint, want none", got)
	}
	h.counted(ofTwo, 1, func() { deliver("b") })
	if got := h.series(`caddy_webhooks_deliveries_pending{endpoint="one"}`); got != 0 {
		t.Errorf("got %v pending of an endpoint, want 0", got)
	}

	// A reload that fails forgets nothing that still runs.
	failing = config(true, "other")
	failing["admin"].(object)["remote"] = object{"access_control": []object{{"public_keys": []string{"not a key"}}}}
	if err := h.load(failing); err == nil {
		t.Fatal("got a configuration that loads, want one that fails")
	}
	if got := h.series(ofOne); got != 1 {
		t.Errorf("got %v delivered to one after a failed reload, want 1", got)
	}

	h.mustLoad(config(true, "one"))
	if got := h.series(ofTwo); got != -1 {
		t.Errorf("got %v of an endpoint that is gone, want no series", got)
	}
	if got := h.series(ofOne); got != 1 {
		t.Errorf("got %v delivered to one, want 1", got)
	}
	h.mustLoad(config(false, "one"))
	if got, want := h.series(total), before+2; got != want {
		t.Errorf("got %v delivered altogether, want %v", got, want)
	}
}

// awaitIdle waits until nothing is pending.
func (h *harness) awaitIdle() {
	h.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if s := openEngines()[0].engine.Status(); s.Pending == 0 && s.InFlight == 0 {
			return
		}
	}
	h.t.Fatal("got deliveries pending for 10 s, want none")
}

// The names and the help of all metrics are as Prometheus wants them, with and
// without the endpoint as a label.
func TestMetricsLint(t *testing.T) {
	h := newHarness(t)
	newFake(t, "lint")
	want := []string{
		"caddy_webhooks_attempt_duration_seconds", "caddy_webhooks_attempts_total",
		"caddy_webhooks_deliveries_in_flight", "caddy_webhooks_deliveries_pending", "caddy_webhooks_deliveries_total",
		"caddy_webhooks_delivery_latency_seconds", "caddy_webhooks_endpoints", "caddy_webhooks_events_total",
		"caddy_webhooks_oldest_pending_seconds", "caddy_webhooks_outbox_bytes", "caddy_webhooks_store_failed",
	}
	for _, perEndpoint := range []bool{false, true} {
		t.Run(fmt.Sprintf("per_endpoint=%t", perEndpoint), func(t *testing.T) {
			h.mustLoad(h.config(object{
				"outbox":    object{"engine": "fake", "name": "lint"},
				"metrics":   object{"per_endpoint": perEndpoint},
				"endpoints": object{"first": object{"url": "https://example.com/", "paused": true}},
			}))
			reg := prometheus.NewPedanticRegistry()
			for range 2 { // of the admin API and of the app
				if err := registerMetrics(reg); err != nil {
					t.Fatalf("registering: %v", err)
				}
			}
			families, err := reg.Gather()
			if err != nil {
				t.Fatalf("gathering: %v", err)
			}
			names := make(map[string]bool)
			for _, f := range families {
				names[f.GetName()] = true
				labelled := false
				for _, l := range f.GetMetric()[0].GetLabel() {
					labelled = labelled || l.GetName() == "endpoint"
				}
				if labelled && !perEndpoint {
					t.Errorf("got the endpoint as a label of %s, want it on demand only", f.GetName())
				}
			}
			if got := slices.Sorted(maps.Keys(names)); !slices.Equal(got, want) {
				t.Errorf("got metrics %v, want %v", got, want)
			}
			problems, err := testutil.GatherAndLint(reg)
			if err != nil || len(problems) > 0 {
				t.Errorf("got %v, %v from the linter, want nothing", problems, err)
			}
		})
	}
}

func BenchmarkObserver(b *testing.B) {
	o := &observer{endpoints: map[string]*trafficChild{"first": byEndpoint.child("first")}}
	b.Cleanup(func() { byEndpoint.forget("first") })
	done := delivery.Done{Endpoint: "first", Status: "delivered", Latency: 1000}
	b.ReportAllocs()
	for b.Loop() {
		o.AttemptDone("first", "success", "", 1000)
		o.DeliveryDone(done)
	}
}
