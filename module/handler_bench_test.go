package module

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
	"github.com/promptreports/caddy-webhooks/module/internal/subscription"
	"github.com/promptreports/caddy-webhooks/storage"
)

// swallowingOutbox accepts at once and keeps nothing, so that what is measured
// is the way to it and back.
type swallowingOutbox struct{ storage.Outbox }

func (swallowingOutbox) Accept(_ context.Context, events []storage.NewEvent) ([]storage.Accepted, error) {
	return make([]storage.Accepted, len(events)), nil
}

func (swallowingOutbox) Pending() map[string]storage.PendingCount { return nil }

func (swallowingOutbox) EndpointStates(context.Context) (map[string]storage.EndpointState, error) {
	return nil, nil
}

func (swallowingOutbox) Failed() <-chan struct{} { return nil }

// startedApp is an App that Caddy runs.
func startedApp(e *delivery.Engine) *App {
	a := &App{}
	a.pooled, a.observer = &pooledEngine{engine: e}, &observer{started: make(chan struct{})}
	close(a.observer.started)
	return a
}

// deadlineWriter is a ResponseWriter that keeps only the status.
type deadlineWriter struct {
	header http.Header
	status int
}

func (w *deadlineWriter) Header() http.Header             { return w.header }
func (w *deadlineWriter) WriteHeader(status int)          { w.status = status }
func (w *deadlineWriter) Write(b []byte) (int, error)     { return len(b), nil }
func (w *deadlineWriter) SetReadDeadline(time.Time) error { return nil }

func BenchmarkHandler(b *testing.B) {
	engine, err := delivery.New(delivery.Options{Outbox: swallowingOutbox{}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = engine.Close() })
	index, err := subscription.NewIndex(nil)
	if err != nil {
		b.Fatal(err)
	}
	lease := engine.Attach(&delivery.Snapshot{Index: index, MaxInFlight: 1, Logger: zap.NewNop(), Observer: &observer{}})
	b.Cleanup(lease.Release)
	app := startedApp(engine)
	h := &Handler{app: app, parser: newParser(app), admission: &ingest, logger: zap.NewNop(), Tokens: []string{testToken}}
	if err := h.provisionTokens(); err != nil {
		b.Fatal(err)
	}
	if err := h.provisionLimits(); err != nil {
		b.Fatal(err)
	}

	body := []byte(`{"type":"version.promoted","data":{"templateId":"tmpl_1a2b3c","version":12,"from":"staging","to":"production","text":"` +
		string(bytes.Repeat([]byte("lorem ipsum "), 30)) + `"},"metadata":{"folderId":"fld_42","userEmail":"someone@example.com"}}`)
	r := httptest.NewRequest("POST", "http://127.0.0.1:9000/", nil)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+testToken)
	r.ContentLength = int64(len(body))
	reader := bytes.NewReader(body)
	r.Body = io.NopCloser(reader)
	w := &deadlineWriter{header: http.Header{}}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset(body)
		clear(w.header)
		if err := h.ServeHTTP(w, r, nil); err != nil || w.status != 202 {
			b.Fatalf("got status %d, %v, want 202", w.status, err)
		}
	}
}
