package delivery

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/promptreports/caddy-webhooks/module/internal/signature"
	"github.com/promptreports/caddy-webhooks/storage"
)

// bodySigner signs with the body itself, so that a receiver can tell whether
// headers and body belong together.
type bodySigner struct{}

func (bodySigner) Sign(msg signature.Message, set func(name, value string)) {
	set("X-Sig", string(msg.Body))
}

func (bodySigner) Headers() []string { return []string{"X-Sig"} }

// TestConcurrentSends holds that attempts do not mix up what they share: the
// maps of headers and the buffers for bodies.
func TestConcurrentSends(t *testing.T) {
	t.Parallel()
	receiver := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if want := string(body); err != nil || r.Header.Get("X-Sig") != want || r.Header.Get("X-Webhook-Attempt") != want ||
			len(r.Header) != 7 { // with Content-Length
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = w.Write(body)
	})
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0", "HTTP/2.0 as in Caddy"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewUnstartedServer(receiver)
			s.EnableHTTP2 = protocol != "HTTP/1.1"
			s.StartTLS()
			defer s.Close()
			transport := &http.Transport{
				TLSClientConfig:    &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs},
				DisableCompression: true, ForceAttemptHTTP2: protocol == "HTTP/2.0", MaxIdleConnsPerHost: 8,
			}
			defer transport.CloseIdleConnections()
			if protocol == "HTTP/2.0 as in Caddy" {
				if err := http2.ConfigureTransport(transport); err != nil {
					t.Fatal(err)
				}
			}
			var wg sync.WaitGroup
			for worker := range 8 {
				wg.Go(func() {
					m := testMessage(t, s.URL, transport)
					m.HeaderPrefix, m.Endpoint.Signers = "X-Webhook", []signature.Signer{bodySigner{}}
					m.Endpoint.Timeout = 30 * time.Second
					for i := range 50 {
						m.Number = worker*1000 + i
						m.Body = fmt.Append(nil, m.Number)
						m.Delivery = storage.NewEventKey(int64(worker), uint32(i)).Delivery(0)
						a := Send(t.Context(), m).Attempt
						if a.Code != "http_200" || string(a.Body) != string(m.Body) {
							t.Errorf("got %s with %q, want http_200 with %q", a.Code, a.Body, m.Body)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// TestHeadersEnd holds that no header of one attempt shows up in the next.
func TestHeadersEnd(t *testing.T) {
	t.Parallel()
	var got http.Header
	m := testMessage(t, "https://example.com/", roundTrip(func(r *http.Request) (*http.Response, error) {
		got = r.Header.Clone()
		httptrace.ContextClientTrace(r.Context()).WroteRequest(httptrace.WroteRequestInfo{})
		return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
	}))
	own := http.Header{"X-Own": {"secret"}}
	for range 20 { // the map is likely, but not bound, to be used again
		m.Endpoint.Header, m.TraceParent = own, "00-1-2-01"
		Send(t.Context(), m)
		if got.Get("X-Own") == "" || got.Get("Traceparent") == "" {
			t.Fatalf("got %v, want the endpoint's own header and the trace", got)
		}
		m.Endpoint.Header, m.TraceParent = nil, ""
		Send(t.Context(), m)
		if len(got) != 5 {
			t.Fatalf("got %v, want our five headers only", got)
		}
	}
}

// TestSwitchingProtocols holds that the raw connection is closed.
func TestSwitchingProtocols(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{})
	h := serve(t, func(p *peer) {
		answer("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")(p)
		close(closed)
	})
	Send(t.Context(), testMessage(t, "http://"+h.addr, guarded(t, nil)))
	select {
	case <-closed:
	case <-time.After(patience):
		t.Error("got the connection open, want it closed")
	}
}
