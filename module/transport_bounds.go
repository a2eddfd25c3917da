package module

import (
	"context"
	"net"
	"net/http"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
)

// boundTransport bounds what a receiver can do to this process on connections
// of the transport, which is guarded already: what net/http takes in of a body
// that nobody reads, the frames that it answers although nobody waits for them,
// and the lines that it logs about them.
func boundTransport(inner *http.Transport) {
	if inner.HTTP2 == nil {
		inner.HTTP2 = new(http.HTTP2Config)
	}
	inner.HTTP2.MaxReceiveBufferPerStream = delivery.BodyWindow // or the bound would cut off long bodies
	dial := delivery.BoundReads(inner.DialContext, inner.MaxResponseHeaderBytes)
	inner.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		filterStdLog()
		return dial(ctx, network, address)
	}
}
