package delivery

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// countedConn counts the writes to a connection.
type countedConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countedConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// The head and the body of a request leave in one packet.
func TestRequestIsWrittenAtOnce(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer server.Close()
	var writes atomic.Int64
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return countedConn{conn, &writes}, err
	}}
	defer transport.CloseIdleConnections()

	m := testMessage(t, server.URL, transport)
	for n := int64(1); n <= 3; n++ {
		if out := Send(t.Context(), m); out.Attempt.Code != "http_200" {
			t.Fatalf("attempt %d: got %s, want http_200", n, out.Attempt.Code)
		}
		if got := writes.Load(); got != n {
			t.Errorf("writes after %d attempts: got %d, want %d", n, got, n)
		}
	}
}
