package egress

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// raceDelay is the head start of each address over the next (RFC 8305,
// section 5).
const raceDelay = 250 * time.Millisecond

// race connects to the first address that answers. The next address is tried
// when the one before it failed, or has not connected after raceDelay. The
// error is that of the first address.
func (g *Guard) race(ctx context.Context, network string, addrs []netip.AddrPort) (net.Conn, error) {
	if len(addrs) == 1 {
		return g.Dial(ctx, network, addrs[0].String())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	type result struct {
		n    int
		conn net.Conn
		err  error
	}
	results := make(chan result) // unbuffered: the loser learns that it lost
	var firstErr error
	timer := time.NewTimer(0)
	defer timer.Stop()

	for started, failed := 0, 0; failed < len(addrs); {
		var next <-chan time.Time
		if started < len(addrs) {
			next = timer.C
		}
		select {
		case <-next:
			n := started
			started++
			timer.Reset(raceDelay)
			go func() {
				conn, err := g.Dial(ctx, network, addrs[n].String())
				select {
				case results <- result{n, conn, err}:
				case <-ctx.Done():
					if conn != nil {
						_ = conn.Close()
					}
				}
			}()
		case r := <-results:
			if r.err == nil {
				return r.conn, nil
			}
			if r.n == 0 || firstErr == nil {
				firstErr = r.err
			}
			failed++
			timer.Reset(0)
		case <-ctx.Done():
			if firstErr == nil {
				firstErr = ctx.Err()
			}
			return nil, firstErr
		}
	}
	return nil, firstErr
}
