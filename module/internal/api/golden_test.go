package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden answers anew")

// history fills the world: delivered, refused, held and orphaned deliveries,
// and a test.
func (w *world) history(t *testing.T) {
	t.Helper()
	leaver := w.snapshot(t, "acme", "broken", "folder", "held", "leaver")
	leaver.Endpoints["leaver"].Paused = true
	lease := w.engine.Attach(leaver)
	w.publish(t, `{"id":"e1","type":"prompt.created","timestamp":"1999-12-31T10:30:00Z","data":{"a": 1.0},"metadata":{"folderId":"fld_1"}}`)
	lease.Release()
	w.publish(t, `{"id":"e2","type":"version.promoted","timestamp":"1999-12-31T10:30:00Z","data":{"html":"<b>&\u2028"}}`)
}

// goldens are requests, in order, with the status of their answers, which lie
// in testdata. {e1:acme} stands for the id of the event's delivery to the
// endpoint.
var goldens = []struct {
	name, method, target, body string
	status                     int
}{
	{"status", "GET", "/webhooks/status", "", 200},
	{"event_types", "GET", "/webhooks/event_types", "", 200},
	{"endpoints", "GET", "/webhooks/endpoints", "", 200},
	{"endpoint", "GET", "/webhooks/endpoints/acme", "", 200},
	{"endpoint_unknown", "GET", "/webhooks/endpoints/nobody", "", 404},
	{"deliveries", "GET", "/webhooks/deliveries", "", 200},
	{"deliveries_page", "GET", "/webhooks/deliveries?endpoint=broken&limit=1", "", 200},
	{"deliveries_none", "GET", "/webhooks/deliveries?endpoint=nobody", "", 200},
	{"deliveries_orphaned", "GET", "/webhooks/deliveries?status=orphaned", "", 200},
	{"delivery_delivered", "GET", "/webhooks/deliveries/{e1:acme}", "", 200},
	{"delivery_failed", "GET", "/webhooks/deliveries/{e2:broken}", "", 200},
	{"delivery_held", "GET", "/webhooks/deliveries/{e2:held}", "", 200},
	{"delivery_malformed", "GET", "/webhooks/deliveries/wh_dlv_x", "", 400},
	{"delivery_unknown", "GET", "/webhooks/deliveries/wh_dlv_00000000000000000000", "", 404},
	{"event", "GET", "/webhooks/events/e1", "", 200},
	{"event_html", "GET", "/webhooks/events/e2", "", 200},
	{"event_unknown", "GET", "/webhooks/events/e3", "", 404},
	{"test", "POST", "/webhooks/endpoints/acme/test", "", 200},
	{"test_with_data", "POST", "/webhooks/endpoints/broken/test", `{"type":"version.promoted","data":{"b":2}}`, 200},
	{"test_event", "GET", "/webhooks/events/wh_evt_test2", "", 200},
	{"test_unknown_type", "POST", "/webhooks/endpoints/acme/test", `{"type":"prompt.deleted"}`, 400},
	{"test_bad_data", "POST", "/webhooks/endpoints/acme/test", `{"data":[]}`, 400},
	{"pause", "POST", "/webhooks/endpoints/acme/pause", "", 200},
	{"resume", "POST", "/webhooks/endpoints/acme/resume", "{}", 200},
	{"resume_configured", "POST", "/webhooks/endpoints/held/resume", "", 409},
	{"pause_unknown", "POST", "/webhooks/endpoints/nobody/pause", "", 404},
	{"retry_finished", "POST", "/webhooks/deliveries/{e2:broken}/retry", "", 202},
	{"retry_unknown", "POST", "/webhooks/deliveries/wh_dlv_00000000000000000000/retry", "", 404},
	{"cancel", "POST", "/webhooks/deliveries/{e2:held}/cancel", "", 200},
	{"cancel_finished", "POST", "/webhooks/deliveries/{e1:acme}/cancel", "", 409},
	{"unknown_path", "GET", "/webhooks/nothing", "", 404},
	{"wrong_method", "DELETE", "/webhooks/deliveries/{e1:acme}", "", 405},
	{"bad_parameter", "GET", "/webhooks/deliveries?limit=0", "", 400},
	{"status_after", "GET", "/webhooks/status", "", 200},
}

func TestGoldenAnswers(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.history(t)
		for _, g := range goldens {
			answer := w.do(g.method, w.target(t, g.target), g.body)
			if answer.Code != g.status {
				t.Errorf("%s: got status %d, want %d", g.name, answer.Code, g.status)
			}
			var got bytes.Buffer
			if err := json.Indent(&got, answer.Body.Bytes(), "", "  "); err != nil {
				t.Fatalf("%s: %v in %s", g.name, err, answer.Body)
			}
			compare(t, g.name, got.Bytes())
			time.Sleep(100 * time.Millisecond)
		}
		if v := w.outbox.Violations(); len(v) > 0 {
			t.Errorf("the engine did what it must not: %q", v)
		}
	})
}

// target puts ids of deliveries in place of {event:endpoint}.
func (w *world) target(t *testing.T, target string) string {
	before, rest, ok := strings.Cut(target, "{")
	if !ok {
		return target
	}
	name, after, _ := strings.Cut(rest, "}")
	ev, endpoint, _ := strings.Cut(name, ":")
	return before + w.deliveryOf(t, ev, endpoint) + after
}

// compare compares an answer with the golden one.
func compare(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestEveryRouteHasAGoldenAnswer(t *testing.T) {
	t.Parallel()
	good := map[string]bool{}
	for _, g := range goldens {
		path, _, _ := strings.Cut(g.target, "?")
		r, err := http.NewRequest(g.method, strings.NewReplacer("{", "", "}", "").Replace(path), nil)
		if err != nil {
			t.Fatal(err)
		}
		if route, _, _ := find(r); route != nil && g.status < 300 {
			good[route.method+" "+route.path] = true
		}
	}
	for _, pattern := range Patterns() {
		if !good[pattern] {
			t.Errorf("%s has no golden answer", pattern)
		}
	}
}

func TestPayloadIsShownVerbatim(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.history(t)
		for _, id := range []string{"e1", "e2"} {
			ev, _, err := w.outbox.EventByID(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			answer := w.do("GET", "/webhooks/events/"+id, "").Body.Bytes()
			if want := append(append([]byte(`,"payload":`), ev.Body...), "}\n"...); !bytes.HasSuffix(answer, want) {
				t.Errorf("got %s, want it to end with %s", answer, want)
			}
		}
	})
}

func TestNoAnswerHoldsSecrets(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.history(t)
		var answers strings.Builder
		for _, g := range goldens {
			answer := w.do(g.method, w.target(t, g.target), g.body)
			answers.Write(answer.Body.Bytes())
			if err := answer.Header().Write(&answers); err != nil {
				t.Fatal(err)
			}
		}
		// What must not be shown was really sent.
		signatures := []string{canarySecret, canaryUser, canaryPassword, canaryQuery, canaryHeader}
		w.mu.Lock()
		defer w.mu.Unlock()
		sent := map[string]bool{}
		for _, r := range w.seen {
			sent[canaryQuery] = sent[canaryQuery] || strings.Contains(r.URL.RawQuery, canaryQuery)
			sent[canaryHeader] = sent[canaryHeader] || strings.Contains(r.Header.Get("Authorization"), canaryHeader)
			for _, name := range []string{"X-Webhook-Signature", "Webhook-Signature"} {
				if value := r.Header.Get(name); value != "" {
					sent[name] = true
					signatures = append(signatures, value)
				}
			}
		}
		if len(sent) != 4 {
			t.Fatalf("got only %v on the wire", sent)
		}
		for _, canary := range signatures {
			if strings.Contains(answers.String(), canary) {
				t.Errorf("an answer holds %q", canary)
			}
		}
	})
}
