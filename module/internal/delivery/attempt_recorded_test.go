package delivery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/net/http2"

	"github.com/promptreports/caddy-webhooks/module/internal/subscription"
	"github.com/promptreports/caddy-webhooks/storage"
	"github.com/promptreports/caddy-webhooks/storage/storagetest"
)

// doneObserver tells of the deliveries that are finished.
type doneObserver chan Done

func (doneObserver) AttemptDone(string, string, string, time.Duration)              {}
func (doneObserver) EndpointChanged(string, EndpointHealth, EndpointHealth, string) {}
func (o doneObserver) DeliveryDone(d Done)                                          { o <- d }

// TestEveryRequestIsRecorded holds that the outbox has an attempt for each
// request that a receiver got, whatever the receiver does to provoke more.
func TestEveryRequestIsRecorded(t *testing.T) { //nolint:tparallel // counts goroutines
	leaked := checkLeaks(t)
	ca := newAuthority(t)
	cert := ca.issue(t, nil)
	overH2 := func(act func(f framer, stream uint32)) func(*peer) {
		return overHTTP2(cert, nil, func(f framer) {
			for stream, ok := f.headers(); ok; stream, ok = f.headers() {
				act(f, stream)
			}
		})
	}
	const attempts = 5
	t.Run("rows", func(t *testing.T) {
		for name, test := range map[string]struct {
			scheme string
			handle func(*peer)
			code   string
		}{
			"500": {"http", func(p *peer) {
				for p.request() && p.send("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n") {
				}
			}, "http_500"},
			"redirects to itself": {"http", func(p *peer) {
				for p.request() && p.send("HTTP/1.1 307 X\r\nLocation: /\r\nContent-Length: 0\r\n\r\n") {
				}
			}, CodeRedirectRefused},
			"closes":         {"http", answerAndClose(""), CodeConnectionClosed},
			"resets":         {"http", answerAndReset(""), CodeConnectionReset},
			"408 and closes": {"http", answerAndClose("HTTP/1.1 408 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), "http_408"},
			"answers twice":  {"http", answer("HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), "http_503"},
			"closes every second time": {"http", func(p *peer) {
				_ = p.request() && p.send("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n") && p.request()
			}, "http_500"},
			"GOAWAY":            {"https", overH2(func(f framer, _ uint32) { _ = f.WriteGoAway(0, http2.ErrCodeNo, nil) }), CodeH2GoAway},
			"REFUSED_STREAM":    {"https", overH2(func(f framer, s uint32) { _ = f.WriteRSTStream(s, http2.ErrCodeRefusedStream) }), CodeH2StreamError},
			"HTTP_1_1_REQUIRED": {"https", overH2(func(f framer, s uint32) { _ = f.WriteRSTStream(s, http2.ErrCodeHTTP11Required) }), CodeH2StreamError},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				h := serve(t, test.handle)
				transport := guarded(t, &tls.Config{RootCAs: ca.pool})
				done, list := deliver(t, test.scheme+"://"+h.addr, transport, attempts, zap.NewNop())
				if done.Status != string(storage.StatusFailed) || done.Code != test.code {
					t.Errorf("got %s %s, want failed %s", done.Status, done.Code, test.code)
				}
				if got := h.requests.Load(); got != attempts || len(list) != attempts {
					t.Errorf("got %d requests on the wire and %d attempts recorded, want %d of both", got, len(list), attempts)
				}
			})
		}
	})
	leaked()
}

// deliver has an engine send one event until the delivery is finished, and
// returns how it ended, and its attempts.
func deliver(t *testing.T, rawURL string, transport http.RoundTripper, attempts int, logger *zap.Logger) (Done, []storage.Attempt) {
	t.Helper()
	fake := storagetest.NewFake(storagetest.FakeOptions{})
	e, err := New(Options{Outbox: fake})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	ep := testMessage(t, rawURL, transport).Endpoint
	ep.Name, ep.MaxInFlight, ep.Timeout = "a", 1, patience
	ep.Retry = RetryPolicy{MaxAttempts: attempts, Schedule: []time.Duration{time.Millisecond}, OnStatus: DefaultOnStatus()}
	index, err := subscription.NewIndex([]subscription.Subscription{{Patterns: []string{"*"}}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(doneObserver, 1)
	e.Attach(&Snapshot{
		Endpoints: map[string]*Endpoint{"a": ep}, Names: []string{"a"}, Index: index,
		HeaderPrefix: "X-Webhook", MaxInFlight: 1, Logger: logger, Observer: done,
	})
	accepted, err := e.Publish(t.Context(), []Publication{{Event: newEvent("evt_1", "a")}})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case d := <-done:
		_, list, err := fake.Delivery(t.Context(), accepted[0].Key.Delivery(0))
		if err != nil {
			t.Fatal(err)
		}
		return d, list
	case <-time.After(2 * patience):
		t.Fatal("got the delivery pending, want it finished")
		return Done{}, nil
	}
}

// TestReceiversStayOutOfTheLog holds that nothing a receiver chooses is logged,
// or recorded elsewhere than in the excerpt of its answer. In Go's errors it is.
func TestReceiversStayOutOfTheLog(t *testing.T) { //nolint:tparallel // counts goroutines
	leaked := checkLeaks(t)
	ca := newAuthority(t)
	named := ca.issue(t, func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"canary.example"} })
	good := ca.issue(t, nil)
	t.Run("rows", func(t *testing.T) {
		for name, test := range map[string]struct {
			scheme string
			handle func(*peer)
			code   string
		}{
			"status line": {"http", answer("HTTP/1.1 canary\x1b[2J\r\n\r\n"), CodeProtocolError},
			"reason":      {"http", answer("HTTP/1.1 500 canary\x1b[2J\r\nContent-Length: 0\r\n\r\n"), "http_500"},
			"header":      {"http", answer("HTTP/1.1 500 X\r\nX: canary\r\nContent-Length: 0\r\n\r\n"), "http_500"},
			"bad header":  {"http", answer("HTTP/1.1 500 X\r\ncanary\r\n\r\n"), CodeProtocolError},
			"coding":      {"http", answer("HTTP/1.1 500 X\r\nTransfer-Encoding: canary\r\n\r\n"), CodeProtocolError},
			"length":      {"http", answer("HTTP/1.1 500 X\r\nContent-Length: canary\r\n\r\n"), CodeProtocolError},
			"location":    {"http", answer("HTTP/1.1 301 X\r\nLocation: http://u:canary@x.example/canary?canary#canary\r\nContent-Length: 0\r\n\r\n"), CodeRedirectRefused},
			"not TLS":     {"https", func(p *peer) { p.send("canary, not TLS"); p.hang() }, CodeTLSNotTLS},
			"certificate": {"https", overTLS(&tls.Config{Certificates: []tls.Certificate{named}}, answer("")), CodeTLSWrongHost},
			"GOAWAY": {"https", overHTTP2(good, nil, answering(func(f framer, s uint32) {
				_ = f.WriteGoAway(s, http2.ErrCodeInternal, []byte("canary"))
				_ = f.p.Close()
			})), CodeH2GoAway},
			"HTTP/2 header": {"https", overHTTP2(good, nil, answering(func(f framer, s uint32) { respond(f, s, true, ":status", "canary") })), CodeH2StreamError},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				core, logs := observer.New(zap.DebugLevel)
				h := serve(t, test.handle)
				done, list := deliver(t, test.scheme+"://"+h.addr, guarded(t, &tls.Config{RootCAs: ca.pool}), 1, zap.New(core))
				if done.Code != test.code {
					t.Errorf("got %s, want %s", done.Code, test.code)
				}
				lines := ""
				for _, l := range logs.All() {
					lines += fmt.Sprintln(l.Message, l.ContextMap())
				}
				if logs.Len() != 1 || strings.Contains(lines, "canary") {
					t.Errorf("got log\n%swant a line without what the receiver sent", lines)
				}
				if text := fmt.Sprint(done, list); strings.Contains(text, "canary") {
					t.Errorf("got %s recorded, want nothing that the receiver sent", text)
				}
			})
		}
	})
	leaked()
}

// One event that a receiver cannot digest, or one that fails now and then, is
// no outage: nobody else's deliveries wait for it.
func TestPoisonOpensNoBreaker(t *testing.T) {
	for name, bad := range map[string]func(n int, m *Message) bool{
		"one event fails":   func(_ int, m *Message) bool { return m.EventID == "evt_5" },
		"two events fail":   func(_ int, m *Message) bool { return m.EventID == "evt_5" || m.EventID == "evt_6" },
		"every other fails": func(n int, _ *Message) bool { return n%2 == 1 },
		"two of three fail": func(n int, _ *Message) bool { return n%3 > 0 },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, nil)
				defer r.close()
				n := 0
				r.setReply(func(_ context.Context, m *Message) Outcome {
					if n++; bad(n, m) { // one at a time
						return outcomeOf(500)
					}
					return outcomeOf(200)
				})
				r.engine.Attach(r.snapshot(endpoint("a", func(ep *Endpoint) { ep.MaxInFlight = 1 })))
				for range 200 {
					r.publish("a")
					time.Sleep(10 * time.Second)
				}
				synctest.Wait()
				if len(r.watch.changes) != 0 {
					t.Errorf("changes: got %q, want none", r.watch.changes)
				}
				if st, _ := r.engine.Endpoint("a"); st.Health != Healthy {
					t.Errorf("status: got %+v, want healthy", st)
				}
			})
		})
	}
}
