package module

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// errorOf returns the text of Caddy's error form.
func errorOf(t *testing.T, body string) string {
	t.Helper()
	var e struct{ Error string }
	if err := json.Unmarshal([]byte(body), &e); err != nil || e.Error == "" {
		t.Errorf("got %q, want an error in JSON", body)
	}
	return e.Error
}

func TestAdminRoutes(t *testing.T) {
	h := newIngest(t)
	if status, body := h.post(eventJSON("shown")); status != 202 {
		t.Fatalf("got %d %s, want 202", status, body)
	}
	tests := []struct {
		name, method, path string
		status             int
		want               string
	}{
		{"status", "GET", "/webhooks/status", 200, `"pending":1`},
		{"event types", "GET", "/webhooks/event_types", 200, "test.happened"},
		{"endpoints", "GET", "/webhooks/endpoints", 200, `"held"`},
		{"endpoint", "GET", "/webhooks/endpoints/held", 200, `"paused"`},
		{"deliveries", "GET", "/webhooks/deliveries?endpoint=held", 200, `"shown"`},
		{"event", "GET", "/webhooks/events/shown", 200, `"shown"`},
		{"unknown endpoint", "GET", "/webhooks/endpoints/none", 404, "error"},
		{"unknown path", "GET", "/webhooks/none", 404, "error"},
		{"root", "GET", "/webhooks/", 404, "error"},
		{"wrong method", "DELETE", "/webhooks/endpoints/held", 405, "error"},
		{"bad parameter", "GET", "/webhooks/deliveries?limit=many", 400, "limit"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, body := h.adminDo(tt.method, tt.path)
			if status != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("got %d %s, want %d with %s", status, body, tt.status, tt.want)
			}
			if status >= 400 {
				errorOf(t, body)
			}
		})
	}
}

// No GET changes anything.
func TestAdminReadsChangeNothing(t *testing.T) {
	h := newIngest(t)
	for _, path := range []string{
		"/webhooks/endpoints/held/test", "/webhooks/endpoints/held/pause", "/webhooks/endpoints/held/resume",
		"/webhooks/deliveries/x/retry", "/webhooks/deliveries/x/cancel",
	} {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH"} {
			if status, body := h.adminDo(method, path); status != 405 {
				t.Errorf("got %d %s for %s %s, want 405", status, body, method, path)
			}
		}
	}
}

func (h *harness) adminDo(method, path string) (int, string) {
	h.t.Helper()
	resp, answer := insist(h.t, func() (*http.Response, error) {
		req, err := http.NewRequest(method, "http://localhost"+path, nil)
		if err != nil {
			return nil, err
		}
		return h.admin.Do(req)
	})
	return resp.StatusCode, answer
}

func TestAdminWithoutApp(t *testing.T) {
	h := newHarness(t)
	config := h.config(object{})
	delete(config, "apps")
	h.mustLoad(config)
	status, body := h.get("/webhooks/status")
	if got := errorOf(t, body); status != 404 || !strings.Contains(got, "not configured") {
		t.Errorf("got %d %s, want 404 that says so", status, body)
	}
}

// While Caddy starts or stops, there is no configuration to speak of.
func TestAdminWithoutConfiguration(t *testing.T) {
	newHarness(t)
	if got := activeEngine(); got != nil {
		t.Errorf("got engine %v, want none", got)
	}
	a := new(AdminAPI)
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	if err := a.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	if err := a.serve(rec, httptest.NewRequest("GET", "http://localhost/webhooks/status", nil)); err != nil {
		t.Fatal(err)
	}
	if errorOf(t, rec.Body.String()); rec.Code != 503 || rec.Header().Get("Retry-After") == "" {
		t.Errorf("got %d, want 503 with Retry-After", rec.Code)
	}
}
