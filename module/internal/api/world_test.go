package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
	"github.com/promptreports/caddy-webhooks/module/internal/event"
	"github.com/promptreports/caddy-webhooks/module/internal/signature"
	"github.com/promptreports/caddy-webhooks/module/internal/subscription"
	"github.com/promptreports/caddy-webhooks/storage"
	"github.com/promptreports/caddy-webhooks/storage/storagetest"
)

// world is the API over the real engine, an outbox in memory, and receivers
// that are functions. It lives in a bubble, so its times are always the same.
type world struct {
	*Handler
	engine *delivery.Engine
	outbox *storagetest.Fake

	// writes counts the changes to the outbox.
	writes atomic.Int64

	mu   sync.Mutex
	seen []*http.Request // what the receivers got
}

// inWorld runs a test in a world of its own.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{outbox: storagetest.NewFake(storagetest.FakeOptions{})}
		w.outbox.SetHooks(storagetest.FakeHooks{
			BeforeAccept:           func([]storage.NewEvent) error { w.writes.Add(1); return nil },
			BeforeSettle:           func([]storage.Settlement) error { w.writes.Add(1); return nil },
			BeforeSetEndpointState: func(string, storage.EndpointState) error { w.writes.Add(1); return nil },
		})
		var err error
		w.engine, err = delivery.New(delivery.Options{Outbox: w.outbox, Rand: func() float64 { return 0.5 }})
		if err != nil {
			t.Fatal(err)
		}
		lease := w.engine.Attach(w.snapshot(t, "acme", "broken", "folder", "held"))
		w.Handler = New(func() *delivery.Engine { return w.engine }, "1.2.3")
		ids := 0
		w.newID = func(time.Time) string {
			ids++
			return fmt.Sprintf("wh_evt_test%d", ids)
		}
		t.Cleanup(func() {
			lease.Release()
			if err := w.engine.Close(); err != nil {
				t.Error(err)
			}
			if err := w.outbox.Close(); err != nil {
				t.Error(err)
			}
		})
		test(t, w)
	})
}

// RoundTrip implements http.RoundTripper: acme takes everything, and broken
// nothing.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
	}
	w.mu.Lock()
	w.seen = append(w.seen, r)
	w.mu.Unlock()
	time.Sleep(12500 * time.Microsecond)
	res := &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: -1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"received":true}`)),
	}
	if strings.HasPrefix(r.URL.Host, "down") {
		res.StatusCode = http.StatusServiceUnavailable
	}
	if strings.HasPrefix(r.URL.Host, "broken") {
		res.StatusCode, res.Body = http.StatusBadRequest, io.NopCloser(bytes.NewReader([]byte{0xff, 0xfe, 'x'}))
		res.Header.Set("Content-Type", "application/octet-stream")
	}
	return res, nil
}

// canaries must be in no answer.
const (
	canarySecret   = "Canary7s3cretQ9xLmZ2vKp4w"
	canaryUser     = "canary-userinfo"
	canaryPassword = "canary-password"
	canaryQuery    = "canary-query"
	canaryHeader   = "canary-header"
)

// snapshot configures the named endpoints.
func (w *world) snapshot(t *testing.T, names ...string) *delivery.Snapshot {
	t.Helper()
	secret, err := signature.ParseSecret(canarySecret)
	if err != nil {
		t.Fatal(err)
	}
	hmac, err := signature.NewHMAC([]signature.Secret{secret}, signature.HMACOptions{Header: "X-Webhook-Signature"})
	if err != nil {
		t.Fatal(err)
	}
	standard, err := signature.NewStandard([]signature.Secret{secret})
	if err != nil {
		t.Fatal(err)
	}
	s := &delivery.Snapshot{
		Endpoints: map[string]*delivery.Endpoint{}, EventTypes: []string{"prompt.created", "prompt.updated", "version.promoted"},
		HeaderPrefix: "X-Webhook", UserAgent: "caddy-webhooks/1.2.3", MaxInFlight: 64, Logger: zap.NewNop(), Observer: nobody{},
	}
	for _, name := range names {
		ep := &delivery.Endpoint{
			Name: name, DisplayURL: "https://" + name + ".example/hooks", Timeout: 30 * time.Second, MaxInFlight: 16,
			Retry: delivery.RetryPolicy{
				MaxAttempts: 3, Schedule: []time.Duration{time.Minute}, MaxAge: time.Hour, OnStatus: delivery.DefaultOnStatus(),
			},
			Header:  http.Header{"Authorization": {"Bearer " + canaryHeader}},
			Signers: []signature.Signer{hmac, standard}, Transport: w,
		}
		ep.URL, err = url.Parse("https://" + canaryUser + ":" + canaryPassword + "@" + name + ".example/hooks?token=" + canaryQuery)
		if err != nil {
			t.Fatal(err)
		}
		s.Endpoints[name] = ep
	}
	if ep := s.Endpoints["acme"]; ep != nil {
		ep.Description, ep.Events = "Takes <everything> & more", []string{"prompt.*"}
		ep.DisableAfter = 120 * time.Hour
	}
	if ep := s.Endpoints["folder"]; ep != nil {
		ep.Filters = []subscription.Filter{{Field: "metadata.folderId", Values: []string{"fld_1", "fld_2"}}}
		ep.RateLimit = delivery.RateLimit{Attempts: 1, Per: time.Minute}
	}
	if ep := s.Endpoints["held"]; ep != nil {
		ep.Paused, ep.Signers = true, nil
	}
	s.Names = slices.Sorted(maps.Keys(s.Endpoints))
	var subs []subscription.Subscription
	for _, name := range s.Names {
		subs = append(subs, subscription.Subscription{Patterns: s.Endpoints[name].Events, Filters: s.Endpoints[name].Filters})
	}
	if s.Index, err = subscription.NewIndex(subs); err != nil {
		t.Fatal(err)
	}
	return s
}

// nobody is told and does nothing.
type nobody struct{}

func (nobody) AttemptDone(string, string, string, time.Duration)                                {}
func (nobody) DeliveryDone(delivery.Done)                                                       {}
func (nobody) EndpointChanged(string, delivery.EndpointHealth, delivery.EndpointHealth, string) {}

// publish has an event accepted and waits until nothing more happens at once.
func (w *world) publish(t *testing.T, body string) storage.Accepted {
	t.Helper()
	parser := event.Parser{Exact: true}
	ev, prob := parser.Event([]byte(body))
	if prob != nil {
		t.Fatal(prob)
	}
	accepted, err := w.engine.Publish(t.Context(), []delivery.Publication{{Event: ev}})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	return accepted[0]
}

// deliveryOf returns the id of the event's delivery to the endpoint.
func (w *world) deliveryOf(t *testing.T, eventID, endpoint string) string {
	t.Helper()
	_, deliveries, err := w.outbox.EventByID(t.Context(), eventID)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range deliveries {
		if d.Endpoint == endpoint {
			return d.ID.String()
		}
	}
	t.Fatalf("event %s has no delivery to %s", eventID, endpoint)
	return ""
}

// do asks the API. A body that is not empty is sent as JSON.
func (w *world) do(method, target, body string) *httptest.ResponseRecorder {
	return ask(w, method, target, body, nil)
}

func ask(h http.Handler, method, target, body string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	maps.Copy(r.Header, header)
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	return answer
}

// errorOf returns the text of an error, and fails where the answer is none.
func errorOf(t *testing.T, answer *httptest.ResponseRecorder) string {
	t.Helper()
	var body map[string]string
	if err := json.Unmarshal(answer.Body.Bytes(), &body); err != nil || len(body) != 1 || body["error"] == "" {
		t.Fatalf("got %s, want an error", answer.Body)
	}
	if got := answer.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("got content type %q", got)
	}
	return body["error"]
}

// get returns a good answer of the API.
func get[T any](t *testing.T, w *world, target string) T {
	t.Helper()
	answer := w.do(http.MethodGet, target, "")
	var body T
	if answer.Code != http.StatusOK {
		t.Fatalf("%s: got %d %s", target, answer.Code, answer.Body)
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	return body
}

// listed is the answer of a listing, as far as tests look at it.
type listed struct {
	Deliveries []struct {
		ID       string  `json:"id"`
		EventID  string  `json:"event_id"`
		Endpoint string  `json:"endpoint"`
		Status   string  `json:"status"`
		Code     string  `json:"code"`
		ReplayOf *string `json:"replay_of"`
	} `json:"deliveries"`
	NextCursor *string `json:"next_cursor"`
}
