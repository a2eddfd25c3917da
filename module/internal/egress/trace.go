package egress

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// TraceKey is the key under which a context holds the *Trace of an attempt.
// A context that is made for each attempt anyway can answer for it in its
// Value method, at no further cost.
type TraceKey struct{}

// Trace takes the times of one dial, as far as it came. It may be read at any
// time: the transport dials in the background, and may go on after an attempt
// has ended. A nil Trace takes nothing.
type Trace struct {
	// Start is what all times count from. It must be set before the dial.
	Start time.Time

	lookupStarted, lookupEnded   atomic.Int64
	connectStarted, connectEnded atomic.Int64
	remote                       atomic.Pointer[netip.AddrPort]
}

// Lookup says how long resolving the name took, whether it began, and whether
// it ended. The duration counts until now while it goes on.
func (t *Trace) Lookup() (took time.Duration, began, ended bool) {
	return t.span(&t.lookupStarted, &t.lookupEnded)
}

// Connect says the same of connecting.
func (t *Trace) Connect() (took time.Duration, began, ended bool) {
	return t.span(&t.connectStarted, &t.connectEnded)
}

// Remote is the address that was connected to, or the zero AddrPort.
func (t *Trace) Remote() netip.AddrPort {
	if r := t.remote.Load(); r != nil {
		return *r
	}
	return netip.AddrPort{}
}

func (t *Trace) span(started, ended *atomic.Int64) (time.Duration, bool, bool) {
	from, to := started.Load(), ended.Load()
	switch {
	case from == 0:
		return 0, false, false
	case to == 0:
		return time.Since(t.Start) - time.Duration(from), true, false
	default:
		return time.Duration(to - from), true, true
	}
}

func (t *Trace) lookupStart() {
	if t != nil {
		t.mark(&t.lookupStarted)
	}
}

func (t *Trace) lookupDone() {
	if t != nil {
		t.mark(&t.lookupEnded)
	}
}

func (t *Trace) connectStart() {
	if t != nil {
		t.mark(&t.connectStarted)
	}
}

func (t *Trace) connectDone(conn net.Conn) {
	if t == nil {
		return
	}
	t.mark(&t.connectEnded)
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		remote := a.AddrPort()
		remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
		t.remote.Store(&remote)
	}
}

// mark stores the time since Start; never zero, which means unset.
func (t *Trace) mark(at *atomic.Int64) {
	at.Store(max(1, int64(time.Since(t.Start))))
}

func traceOf(ctx context.Context) *Trace {
	t, _ := ctx.Value(TraceKey{}).(*Trace)
	return t
}
