package delivery

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
)

// BodyWindow is how much of a response's body an HTTP/2 receiver may send
// ahead of what is read. Transports for attempts set it, because net/http
// takes in 4 MiB of each stream otherwise, however little is wanted of it.
const BodyWindow = 64 << 10

// readsPerAttempt is what a connection may bring for each attempt besides the
// head of its answer: the body as far as it is read, two windows that are on
// their way, and what frames it all.
const readsPerAttempt = bodyRead + 2*BodyWindow + 64<<10

// errFlood ends a connection that brings more than its attempts can need.
var errFlood = errors.New("receiver sends more than answers can hold")

// DialFunc dials as net.Dialer.DialContext does.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// BoundReads bounds what a connection may bring for the attempts that are made
// on it. Within an answer net/http bounds it anyway, but HTTP/2 has frames
// that belong to none, such as PING and SETTINGS: net/http answers each of
// them, as fast as they come and for as long as they do, during an attempt and
// between two. headBytes is the transport's limit on the head of an answer.
func BoundReads(dial DialFunc, headBytes int64) DialFunc {
	if headBytes <= 0 {
		headBytes = 10 << 20 // as of net/http
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c := &boundConn{Conn: conn, share: readsPerAttempt + headBytes}
		c.left.Store(c.share) // for the handshake
		return c, nil
	}
}

// boundConn is a connection that may bring so much.
type boundConn struct {
	net.Conn

	share    int64 // of an attempt
	left     atomic.Int64
	inFlight atomic.Int64
}

// Read implements net.Conn.
func (c *boundConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.left.Add(-int64(n)) < 0 {
		return 0, errFlood
	}
	return n, err
}

// begin makes room for an attempt besides those under way. What earlier ones
// left unused does not add up.
func (c *boundConn) begin() {
	least := c.inFlight.Add(1) * c.share
	for {
		left := c.left.Load()
		if left >= least || left < 0 || c.left.CompareAndSwap(left, least) {
			return
		}
	}
}

func (c *boundConn) end() { c.inFlight.Add(-1) }

// boundOf returns the bound connection below TLS, or nil.
func boundOf(c net.Conn) *boundConn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	b, _ := c.(*boundConn)
	return b
}

// Interface guards
var (
	_ net.Conn = (*boundConn)(nil)
)
