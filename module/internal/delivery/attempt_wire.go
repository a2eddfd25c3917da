package delivery

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/promptreports/caddy-webhooks/module/internal/egress"
	"github.com/promptreports/caddy-webhooks/storage"
)

// wire is one attempt while it is on the wire. Everything that lives as long
// as the request is in here, so that an attempt costs few allocations. It
// cannot be pooled: the transport dials in the background and reports to the
// hooks even after an attempt has timed out.
//
// It is the request's context, too: one that answers with the trace of the
// dial.
type wire struct {
	context.Context //nolint:containedctx // it is a context

	start, deadline time.Time
	cancel          context.CancelCauseFunc
	timer           *time.Timer

	hooks httptrace.ClientTrace
	dial  egress.Trace

	// conn, bound and reused are set in the goroutine of RoundTrip. The times
	// are nanoseconds since start, set by any goroutine; 0 is not yet.
	conn              net.Conn
	bound             *boundConn
	reused            bool
	connected         atomic.Int64
	wrote             atomic.Int64
	tlsStart, tlsDone atomic.Int64

	body   bytes.Reader
	values [maxInlineValues]string
	used   int
}

// maxInlineValues is how many header values fit without an allocation each:
// ours, and those of three signature headers or more.
const maxInlineValues = 12

// newWire starts the attempt's clock. The caller must end it.
func newWire(ctx context.Context, timeout time.Duration) *wire {
	w := &wire{start: time.Now()}
	w.deadline = w.start.Add(timeout)
	w.dial.Start = w.start
	w.Context, w.cancel = context.WithCancelCause(ctx)
	// One timer is the deadline first and the body's shorter one later, which
	// a context with a deadline could not be.
	w.timer = time.AfterFunc(timeout, w.expire)
	w.hooks.GotConn = w.gotConn
	w.hooks.WroteRequest = w.wroteRequest
	w.hooks.TLSHandshakeStart = w.handshakeStart
	w.hooks.TLSHandshakeDone = w.handshakeDone
	return w
}

func (w *wire) end() {
	w.timer.Stop()
	w.cancel(nil)
	if w.bound != nil {
		w.bound.end()
	}
}

func (w *wire) expire() { w.cancel(context.DeadlineExceeded) }

// expired says whether the deadline, and not the caller, ended the attempt.
func (w *wire) expired() bool { return errors.Is(context.Cause(w.Context), context.DeadlineExceeded) }

// Deadline implements context.Context.
func (w *wire) Deadline() (time.Time, bool) { return w.deadline, true }

// Value implements context.Context.
func (w *wire) Value(key any) any {
	if _, ok := key.(egress.TraceKey); ok {
		return &w.dial
	}
	return w.Context.Value(key)
}

// elapsed is never 0, which means not yet.
func (w *wire) elapsed() int64 { return max(1, int64(time.Since(w.start))) }

func (w *wire) gotConn(info httptrace.GotConnInfo) {
	if w.bound != nil { // the connection before was closed while it was idle
		w.bound.end()
	}
	w.conn, w.reused, w.bound = info.Conn, info.Reused, boundOf(info.Conn)
	if w.bound != nil {
		w.bound.begin()
	}
	w.connected.Store(w.elapsed())
}

func (w *wire) wroteRequest(info httptrace.WroteRequestInfo) {
	if info.Err == nil {
		w.wrote.Store(w.elapsed())
	}
}

func (w *wire) handshakeStart() { w.tlsStart.Store(w.elapsed()) }

func (w *wire) handshakeDone(_ tls.ConnectionState, err error) {
	if err == nil {
		w.tlsDone.Store(w.elapsed())
	}
}

// headers keeps the maps of requests that are over.
var headers = sync.Pool{New: func() any { return make(http.Header, 16) }}

// recycle gives the header map of a request back, where the transport is
// known to be done with it: its answer's body is closed (see
// http.RoundTripper), and nothing of it is being written any more.
func (w *wire) recycle(h http.Header) {
	if w.wrote.Load() != 0 {
		clear(h)
		headers.Put(h)
	}
}

// set adds a header with one value, whose name is canonical.
func (w *wire) set(h http.Header, name, value string) {
	if w.used == len(w.values) {
		h[name] = []string{value}
		return
	}
	w.values[w.used] = value
	w.used++
	h[name] = w.values[w.used-1 : w.used : w.used]
}

// phases divides the time until the end of the body. responded is when the
// head of the answer was there, or negative.
func (w *wire) phases(responded, ended time.Duration) storage.Phases {
	var p storage.Phases
	connected, wrote := time.Duration(w.connected.Load()), time.Duration(w.wrote.Load())
	if !w.reused { // else a dial that the transport began besides is not ours
		p.DNS, _, _ = w.dial.Lookup()
		p.Connect, _, _ = w.dial.Connect()
		// What goes on counts until now, which is later than the end.
		p.DNS = min(p.DNS, ended)
		p.Connect = min(p.Connect, ended-p.DNS)
		if from, to := w.tlsStart.Load(), w.tlsDone.Load(); to > 0 {
			p.TLS = time.Duration(to - from)
		} else if from > 0 {
			p.TLS = ended - time.Duration(from)
		}
	}
	waited := ended
	if responded >= 0 {
		waited, p.Body = responded, ended-responded
	}
	if connected == 0 {
		return p
	}
	if wrote == 0 || wrote > waited { // the answer came before all was sent
		p.Write = waited - connected
		return p
	}
	p.Write, p.Wait = wrote-connected, waited-wrote
	return p
}

// tlsState is the state of TLS on the connection, if it stands and has one.
func (w *wire) tlsState() *tls.ConnectionState {
	if c, ok := w.conn.(*tls.Conn); ok {
		state := c.ConnectionState()
		return &state
	}
	return nil
}

// remoteAddr is the address that was connected to, or empty.
func (w *wire) remoteAddr() string {
	if w.conn != nil {
		if a, ok := w.conn.RemoteAddr().(*net.TCPAddr); ok {
			return a.AddrPort().String()
		}
		return ""
	}
	if a := w.dial.Remote(); a.IsValid() {
		return a.String()
	}
	return ""
}

// Interface guards
var (
	_ context.Context = (*wire)(nil)
)
