package module

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
)

// failures are the ways in which a configuration fails, in the order in which
// Caddy comes to them. Each changes a good configuration into one that fails.
var failures = []struct {
	name string
	// fail gets the configuration and that of its webhooks app.
	fail func(h *harness, config, webhooks object)
	// started says that our app starts before the failure: always (+1),
	// never (-1), or depending on the order in which Caddy starts apps (0).
	started int
}{
	{"our own Provision", func(_ *harness, _, webhooks object) {
		webhooks["endpoints"] = object{"next": object{"url": "https://example.com/", "secret": []string{"{env.CADDY_WEBHOOKS_TEST_UNSET}"}}}
	}, -1},
	{"another module's Provision", func(_ *harness, config, _ object) {
		config["apps"].(object)["webhooks_test_failing"] = object{"at": "provision"}
	}, -1},
	{"another app's Start", func(_ *harness, config, _ object) {
		config["apps"].(object)["webhooks_test_failing"] = object{"at": "start"}
	}, 0},
	{"our own Start, opening", func(h *harness, _, webhooks object) {
		file := filepath.Join(h.dir, "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			h.t.Fatal(err)
		}
		webhooks["outbox"] = object{"engine": "badger", "dir": filepath.Join(file, "outbox")}
	}, -1},
	{"after all Starts", func(_ *harness, config, _ object) {
		config["admin"].(object)["remote"] = object{"access_control": []object{{"public_keys": []string{"not a key"}}}}
	}, +1},
}

// failing returns a configuration with an endpoint "next" that fails.
func (h *harness) failing(i int, url string) object {
	webhooks := object{"endpoints": object{"next": object{"url": url}}}
	config := h.config(webhooks)
	failures[i].fail(h, config, webhooks)
	return config
}

// endpointNames asks the admin API for the names of the endpoints.
func (h *harness) endpointNames() []string {
	h.t.Helper()
	status, body := h.get("/webhooks/endpoints")
	if status != 200 {
		h.t.Fatalf("got %d %s from the admin API, want 200", status, body)
	}
	var names []string
	for _, name := range []string{"first", "next"} {
		if strings.Contains(body, `"`+name+`"`) {
			names = append(names, name)
		}
	}
	return names
}

// checkDelivers posts an event, and expects it at the receiver.
func (h *harness) checkDelivers(rc *receiver, id string) {
	h.t.Helper()
	if status, body := h.post(eventJSON(id)); status != 202 || !strings.Contains(body, `"deliveries":1`) {
		h.t.Fatalf("got %d %s, want 202 with one delivery", status, body)
	}
	rc.await(h.t, id)
}

// A configuration that fails, wherever it fails, leaves the old one as it
// was: it delivers, what was pending included, and the admin API is its own.
func TestFailedReloadKeepsOldConfiguration(t *testing.T) {
	for i, f := range failures {
		t.Run(f.name, func(t *testing.T) {
			h := newHarness(t)
			first, next := newReceiver(t), newReceiver(t)
			h.mustLoad(h.config(object{"endpoints": object{"first": first.endpoint()}}))
			h.checkDelivers(first, "before")

			seen := make(map[bool]int)
			startedBefore = func(started bool) { seen[started]++ }
			defer func() { startedBefore = nil }()
			for round := 0; round < 64 && (round < 3 || f.started == 0 && len(seen) < 2); round++ {
				if err := h.load(h.failing(i, next.URL)); err == nil {
					t.Fatal("got a configuration that loads, want one that fails")
				}
				h.checkDelivers(first, fmt.Sprint("after", round))
				if got, want := h.endpointNames(), []string{"first"}; !slices.Equal(got, want) {
					t.Fatalf("got endpoints %v from the admin API, want %v", got, want)
				}
				if got, _ := engines.References(openEngines()[0].location); got != 1 {
					t.Fatalf("got %d references to the engine, want 1", got)
				}
			}
			if f.started == 0 && len(seen) < 2 {
				t.Errorf("got starts before the failure %v, want both orders", slices.Collect(maps.Keys(seen)))
			}

			h.mustLoad(h.config(object{"endpoints": object{"next": next.endpoint()}}))
			h.checkDelivers(next, "last")
			if got, want := h.endpointNames(), []string{"next"}; !slices.Equal(got, want) {
				t.Errorf("got endpoints %v after a good reload, want %v", got, want)
			}
			if got := first.doubled() + next.doubled(); got != 0 {
				t.Errorf("got %d doubled deliveries, want none", got)
			}
		})
	}
}

// The first configuration of all may fail, too.
func TestFailedFirstLoadLeavesNothing(t *testing.T) {
	for i, f := range failures {
		t.Run(f.name, func(t *testing.T) {
			h := newHarness(t)
			if err := h.load(h.failing(i, "https://example.com/")); err == nil {
				t.Fatal("got a configuration that loads, want one that fails")
			}
			if got := len(openEngines()); got != 0 {
				t.Errorf("got %d open engines, want none", got)
			}
			rc := newReceiver(t)
			h.mustLoad(h.config(object{"endpoints": object{"next": rc.endpoint()}}))
			h.checkDelivers(rc, "first")
		})
	}
}

// What cannot change while the outbox is open makes Start fail.
func TestFingerprintCannotChange(t *testing.T) {
	h := newHarness(t)
	fake := newFake(t, "print")
	rc := newReceiver(t)
	config := func(print, applied string) object {
		return h.config(object{
			"outbox":    object{"engine": "fake", "name": "print", "print": print, "applied": applied},
			"endpoints": object{"first": rc.endpoint()},
		})
	}
	h.mustLoad(config("one", "a"))
	err := h.load(config("two", "b"))
	if err == nil || !strings.Contains(err.Error(), "restart Caddy") {
		t.Errorf("got error %v, want one that asks for a restart", err)
	}
	h.checkDelivers(rc, "after")
	h.mustLoad(config("one", "c"))

	// Those of a reload that fails later are never applied.
	broken := config("one", "d")
	broken["admin"].(object)["remote"] = object{"access_control": []object{{"public_keys": []string{"not a key"}}}}
	if err := h.load(broken); err == nil {
		t.Fatal("got a configuration that loads, want one that fails")
	}
	fake.mu.Lock()
	defer fake.mu.Unlock()
	if got, want := fake.applied, []string{"a", "c"}; !slices.Equal(got, want) {
		t.Errorf("got options %v applied one after the other, want %v", got, want)
	}
}

// Validating touches no disk, and does not disturb a running instance.
func TestValidateTouchesNothing(t *testing.T) {
	h := newHarness(t)
	rc := newReceiver(t)
	config := h.config(object{"endpoints": object{"first": rc.endpoint()}})
	validate := func() error {
		var c caddy.Config
		if err := caddy.StrictUnmarshalJSON(encode(t, config), &c); err != nil {
			t.Fatal(err)
		}
		return caddy.Validate(&c)
	}
	if err := validate(); err != nil {
		t.Fatalf("validating: %v", err)
	}
	if _, err := os.Stat(filepath.Join(h.dir, "outbox")); !os.IsNotExist(err) {
		t.Errorf("got an outbox directory after validating (%v), want none", err)
	}
	h.mustLoad(config)
	h.checkDelivers(rc, "before")
	if err := validate(); err != nil {
		t.Errorf("validating beside a running instance: %v", err)
	}
	h.checkDelivers(rc, "after")
}

// Loading the same configuration again, forced or not, changes nothing.
func TestReloadUnchanged(t *testing.T) {
	h := newHarness(t)
	rc := newReceiver(t)
	config := h.config(object{"endpoints": object{"first": rc.endpoint()}})
	h.mustLoad(config)
	before := openEngines()[0]
	if err := caddy.Load(encode(t, config), false); err != nil {
		t.Fatalf("loading the same configuration: %v", err)
	}
	h.mustLoad(config)
	if after := openEngines(); len(after) != 1 || after[0] != before {
		t.Errorf("got another engine after an unchanged reload, want the same")
	}
	h.checkDelivers(rc, "after")
}

// Another path is another outbox: the old one is closed, and what is pending
// in it goes out when it comes back.
func TestReloadChangesOutboxPath(t *testing.T) {
	h := newHarness(t)
	rc := newReceiver(t)
	config := func(dir string, endpoint object) object {
		return h.config(object{
			"outbox":    object{"engine": "badger", "dir": filepath.Join(h.dir, dir)},
			"endpoints": object{"first": endpoint},
		})
	}
	held := rc.endpoint()
	held["paused"] = true
	h.mustLoad(config("one", held))
	if status, body := h.post(eventJSON("held")); status != 202 {
		t.Fatalf("got %d %s, want 202", status, body)
	}
	h.mustLoad(config("two", rc.endpoint()))
	open := openEngines()
	if len(open) != 1 || filepath.Base(open[0].location) != "two" {
		t.Fatalf("got %d engines open, want that of the new path only", len(open))
	}
	h.checkDelivers(rc, "second")
	h.mustLoad(config("one", rc.endpoint()))
	rc.await(t, "held")
	if got := rc.doubled(); got != 0 {
		t.Errorf("got %d doubled deliveries, want none", got)
	}
}

// A reload to another outbox closes the old one, and the attempts under way
// from there would be made again when it is opened again: so it waits for them.
func TestReloadToAnotherOutboxWaitsForAttempts(t *testing.T) {
	h := newHarness(t)
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	rc := newReceiver(t)
	rc.hold(func() {
		select {
		case arrived <- struct{}{}:
		default:
		}
		<-release
	})
	config := func(dir string) object {
		return h.config(object{
			"outbox":       object{"engine": "badger", "dir": filepath.Join(h.dir, dir)},
			"endpoints":    object{"first": rc.endpoint()},
			"grace_period": "10m",
		})
	}
	h.mustLoad(config("one"))
	if status, body := h.post(eventJSON("slow")); status != 202 {
		t.Fatalf("got %d %s, want 202", status, body)
	}
	<-arrived
	old := openEngines()[0].engine
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		h.mustLoad(config("two"))
	}()
	for old.Status().State == delivery.StateRunning { // until the reload has come to the end of the old outbox
		runtime.Gosched()
	}
	close(release)
	<-loaded
	h.checkDelivers(rc, "after")
	h.mustLoad(config("one"))
	h.checkDelivers(rc, "last")
	if got := rc.doubled(); got != 0 {
		t.Errorf("got %d doubled deliveries, want none", got)
	}
}

// An App whose Provision failed, or that never started, is cleaned up; twice
// does no harm.
func TestCleanupAlone(t *testing.T) {
	t.Parallel()
	if err := new(App).Cleanup(); err != nil {
		t.Errorf("cleaning up an App without Provision: %v", err)
	}
	a := &App{}
	a.started, a.gone = make(chan struct{}), make(chan struct{})
	for range 2 {
		if err := a.Stop(); err != nil {
			t.Errorf("stopping an App that was not started: %v", err)
		}
		if err := a.Cleanup(); err != nil {
			t.Errorf("cleaning up an App that was not started: %v", err)
		}
	}
}

// A reload that keeps the outbox does not wait for attempts, however long the
// grace period is, and the engine does not repeat them.
func TestReloadDuringAttempt(t *testing.T) {
	h := newHarness(t)
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	rc := newReceiver(t)
	rc.hold(func() {
		arrived <- struct{}{}
		<-release
	})
	config := func(mostInFlight int) object {
		return h.config(object{"max_in_flight": mostInFlight, "grace_period": "10m", "endpoints": object{"first": rc.endpoint()}})
	}
	h.mustLoad(config(6))
	if status, body := h.post(eventJSON("slow")); status != 202 {
		t.Fatalf("got %d %s, want 202", status, body)
	}
	<-arrived
	h.mustLoad(config(7))
	close(release) // only now: had the reload waited, it would not have ended
	rc.await(t, "slow")
	h.checkDelivers(rc, "quick")
	if got := rc.doubled(); got != 0 {
		t.Errorf("got %d doubled deliveries, want none", got)
	}
}
