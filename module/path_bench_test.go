package module

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
	"github.com/promptreports/caddy-webhooks/module/internal/signature"
	"github.com/promptreports/caddy-webhooks/module/internal/subscription"
	"github.com/promptreports/caddy-webhooks/storage"
)

// forgetfulOutbox is durable at once and keeps nothing. It counts what was
// settled.
type forgetfulOutbox struct {
	swallowingOutbox
	seq     atomic.Uint32
	settled sync.WaitGroup
}

func (o *forgetfulOutbox) Accept(_ context.Context, events []storage.NewEvent) ([]storage.Accepted, error) {
	accepted := make([]storage.Accepted, len(events))
	for i := range events {
		key := storage.NewEventKey(1, o.seq.Add(1))
		accepted[i] = storage.Accepted{Key: key, AcceptedAt: key.Time(), Deliveries: len(events[i].Endpoints)}
	}
	return accepted, nil
}

func (o *forgetfulOutbox) Settle(_ context.Context, settlements []storage.Settlement) error {
	for range settlements {
		o.settled.Done()
	}
	return nil
}

// BenchmarkPath measures the whole way of an event over the loopback
// interface, from the POST to the settlement, with all but Caddy's server and
// the storage. What it allocates is the path's: sender and receiver allocate
// nothing.
func BenchmarkPath(b *testing.B) {
	for _, senders := range []int{1, 16} {
		b.Run(fmt.Sprint(senders), func(b *testing.B) { benchmarkPath(b, senders) })
	}
}

func benchmarkPath(b *testing.B, senders int) {
	outbox := new(forgetfulOutbox)
	handler := pathHandler(b, outbox, serveRaw(b, "POST / HTTP/1.1"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := handler.ServeHTTP(w, r, nil); err != nil {
			b.Error(err)
		}
	}))
	defer server.Close()

	const body = `{"id":"evt_1","type":"version.promoted","timestamp":"2024-01-15T10:30:00Z","data":` +
		`{"templateId":"tmpl_1a2b3c","version":12,"from":"staging","to":"production"},"metadata":{"folderId":"fld_42"}}`
	request := fmt.Appendf(nil, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	var left atomic.Int64
	left.Store(int64(b.N))
	outbox.settled.Add(b.N)
	conns := make([]net.Conn, senders)
	for i := range conns {
		var err error
		if conns[i], err = net.Dial("tcp", server.Listener.Addr().String()); err != nil {
			b.Fatal(err)
		}
		defer conns[i].Close()
	}
	b.ReportAllocs()
	b.ResetTimer()
	var sending sync.WaitGroup
	for _, conn := range conns {
		sending.Go(func() {
			r := bufio.NewReader(conn)
			for left.Add(-1) >= 0 {
				_, _ = conn.Write(request)
				if err := skipMessage(r, "HTTP/1.1 202 Accepted"); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	sending.Wait()
	outbox.settled.Wait()
}

// pathHandler makes a handler with one endpoint, which signs as by default.
func pathHandler(b *testing.B, outbox storage.Outbox, receiver string) *Handler {
	b.Helper()
	secret, err := signature.ParseSecret(testToken)
	if err != nil {
		b.Fatal(err)
	}
	hmac, err := signature.NewHMAC([]Secret{secret}, signature.HMACOptions{Header: "X-Webhook-Signature"})
	if err != nil {
		b.Fatal(err)
	}
	standard, err := signature.NewStandard([]Secret{secret})
	if err != nil {
		b.Fatal(err)
	}
	engine, err := delivery.New(delivery.Options{Outbox: outbox})
	if err != nil {
		b.Fatal(err)
	}
	index, err := subscription.NewIndex([]subscription.Subscription{{}})
	if err != nil {
		b.Fatal(err)
	}
	transport := &http.Transport{
		MaxIdleConns: transportMaxIdle, MaxIdleConnsPerHost: transportMaxIdle, IdleConnTimeout: transportIdleTimeout,
		DisableCompression: true,
	}
	lease := engine.Attach(&delivery.Snapshot{
		Endpoints: map[string]*delivery.Endpoint{"e": {
			Name: "e", URL: &url.URL{Scheme: "http", Host: receiver, Path: "/"}, Timeout: defaultTimeout,
			MaxInFlight: 64, Signers: []Signer{hmac, standard}, Transport: transport,
		}},
		Names: []string{"e"}, Index: index, HeaderPrefix: defaultHeaderPrefix, UserAgent: "caddy-webhooks/dev",
		MaxInFlight: defaultMaxInFlight, Logger: zap.NewNop(), Observer: &observer{},
	})
	b.Cleanup(func() {
		lease.Release()
		_ = engine.Close()
		transport.CloseIdleConnections()
	})
	app := startedApp(engine)
	h := &Handler{app: app, parser: newParser(app), admission: &ingest, logger: zap.NewNop()}
	if err := h.provisionLimits(); err != nil {
		b.Fatal(err)
	}
	return h
}

// serveRaw answers 200 to every request, and returns its address.
func serveRaw(b *testing.B, start string) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for r := bufio.NewReader(conn); skipMessage(r, start) == nil; {
					_, _ = conn.Write(answer)
				}
			}()
		}
	}()
	return l.Addr().String()
}

// skipMessage reads a message that has a Content-Length.
func skipMessage(r *bufio.Reader, start string) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(line), start) {
		return fmt.Errorf("got %q, want %q", line, start)
	}
	length := 0
	for len(line) > len("\r\n") {
		if line, err = r.ReadSlice('\n'); err != nil {
			return err
		}
		const name = "Content-Length: "
		if len(line) > len(name) && string(line[:len(name)]) == name {
			length = 0
			for _, c := range line[len(name) : len(line)-len("\r\n")] {
				length = 10*length + int(c-'0')
			}
		}
	}
	_, err = r.Discard(length)
	return err
}
