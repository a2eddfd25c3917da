package api

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
	"github.com/promptreports/caddy-webhooks/storage"
	"github.com/promptreports/caddy-webhooks/storage/storagetest"
)

// FuzzRequest asks for anything: every answer is JSON with a status that is
// documented, and none says that the API itself failed.
func FuzzRequest(f *testing.F) {
	for _, g := range goldens {
		path, query, _ := strings.Cut(g.target, "?")
		f.Add(g.method, path, query, g.body)
	}
	f.Add("GET", "/webhooks/events/%zz", "a=%", "")
	f.Add("GET", "/webhooks/deliveries", "limit=1&cursor=wh_dlv_zzzzzzzzzzzzzzzzzzzz&since=0001-01-01T00:00:00Z", "")

	outbox := storagetest.NewFake(storagetest.FakeOptions{})
	ev := storage.NewEvent{ID: "e1", Type: "a.b", Body: []byte("{}"), Endpoints: []string{"acme", "held"}}
	if _, err := outbox.Accept(f.Context(), []storage.NewEvent{ev}); err != nil {
		f.Fatal(err)
	}
	engine, err := delivery.New(delivery.Options{Outbox: outbox})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = engine.Close() })
	h := New(func() *delivery.Engine { return engine }, "")
	documented := []int{200, 202, 400, 403, 404, 405, 409, 413, 415, 503}

	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		u := &url.URL{Path: path, RawQuery: query}
		if unescaped, err := url.PathUnescape(path); err == nil {
			u.Path, u.RawPath = unescaped, path
		}
		r := (&http.Request{
			Method: method, URL: u, Host: "localhost", Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(body)),
		}).WithContext(t.Context())
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		if !slices.Contains(documented, answer.Code) {
			t.Errorf("got status %d, want one of %v", answer.Code, documented)
		}
		if !json.Valid(answer.Body.Bytes()) {
			t.Errorf("got %q, want JSON", answer.Body)
		}
	})
}
