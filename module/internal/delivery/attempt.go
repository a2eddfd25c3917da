package delivery

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/promptreports/caddy-webhooks/module/internal/signature"
	"github.com/promptreports/caddy-webhooks/storage"
)

// defaultAttemptTimeout bounds an attempt whose endpoint sets no timeout.
const defaultAttemptTimeout = 30 * time.Second

// Message is what one attempt sends.
type Message struct {
	Endpoint                *Endpoint
	HeaderPrefix, UserAgent string
	Delivery                storage.DeliveryID
	EventID, Type           string
	Body                    []byte
	TraceParent, TraceState string

	// Number counts the delivery's attempts from 1.
	Number int
}

// Outcome is what an attempt came to.
type Outcome struct {
	// Attempt is the record for the history, without NextAttemptAt.
	Attempt storage.Attempt

	// RetryAfter is how long the receiver asked to be left alone by a 429 or
	// 503, at most an hour; zero where it did not ask.
	RetryAfter time.Duration

	// Gone says that the receiver answered 410, and that the endpoint's
	// policy does not have 410 tried again.
	Gone bool
}

// Send makes one attempt: exactly one request on the wire, or none where no
// connection comes about. It follows no redirect, and no transport can repeat
// the request, as its body cannot be had twice.
//
// The endpoint's timeout bounds everything from the look-up of the name to the
// last byte of the answer that is kept; reading the body of an answer takes
// two seconds at most and never changes the verdict. When ctx is cancelled
// before the head of an answer came, the verdict is VerdictInterrupted.
func Send(ctx context.Context, m *Message) Outcome {
	timeout := m.Endpoint.Timeout
	if timeout <= 0 {
		timeout = defaultAttemptTimeout
	}
	w := newWire(ctx, timeout)
	defer w.end()

	// Never http.Client, which follows redirects and keeps cookies.
	r := w.request(m)
	res, err := m.Endpoint.Transport.RoundTrip(r)
	out := Outcome{Attempt: storage.Attempt{Number: m.Number, StartedAt: w.start}}
	if err != nil {
		w.failed(ctx, &out.Attempt, err)
		return out
	}
	w.answered(m, &out, res)
	redact(&out.Attempt, m, r.Header)
	w.recycle(r.Header)
	return out
}

// request builds the request. GetBody stays nil, and Idempotency-Key is never
// set: either would let the transport send the request a second time.
func (w *wire) request(m *Message) *http.Request {
	w.body.Reset(m.Body)
	r := new(http.Request).WithContext(httptrace.WithClientTrace(w, &w.hooks))
	r.Method = http.MethodPost
	r.URL = m.Endpoint.URL
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	r.Header = w.header(m)
	// A reader that net/http knows to be in memory: for any other it sends the
	// head on its own first, which costs both sides a packet more.
	r.Body = io.NopCloser(&w.body)
	r.ContentLength = int64(len(m.Body))
	if len(m.Body) == 0 {
		r.Body = http.NoBody
	}
	return r
}

func (w *wire) header(m *Message) http.Header {
	e, names := m.Endpoint, namesFor(m.HeaderPrefix)
	h := headers.Get().(http.Header)
	w.set(h, "User-Agent", m.UserAgent)
	w.set(h, "Content-Type", "application/json")
	w.set(h, names.event, m.Type)
	w.set(h, names.delivery, m.Delivery.String())
	w.set(h, names.attempt, strconv.Itoa(m.Number))
	if m.TraceParent != "" {
		w.set(h, "Traceparent", m.TraceParent)
		if m.TraceState != "" {
			w.set(h, "Tracestate", m.TraceState)
		}
	}
	maps.Copy(h, e.Header) // whose values are immutable, as all of a snapshot
	if len(e.Signers) > 0 {
		set := func(name, value string) { w.set(h, name, value) }
		msg := signature.Message{EventID: m.EventID, Timestamp: w.start, Body: m.Body}
		for _, s := range e.Signers {
			s.Sign(msg, set)
		}
	}
	return h
}

// headerNames are the names of our own headers in canonical form.
type headerNames struct{ prefix, event, delivery, attempt string }

// lastNames keeps the names for the prefix that was used last: a process has
// one, until a reload changes it.
var lastNames atomic.Pointer[headerNames]

func namesFor(prefix string) *headerNames {
	if n := lastNames.Load(); n != nil && n.prefix == prefix {
		return n
	}
	n := &headerNames{
		prefix:   prefix,
		event:    textproto.CanonicalMIMEHeaderKey(prefix + "-Event"),
		delivery: textproto.CanonicalMIMEHeaderKey(prefix + "-Delivery"),
		attempt:  textproto.CanonicalMIMEHeaderKey(prefix + "-Attempt"),
	}
	lastNames.Store(n)
	return n
}

// failed records an attempt without an answer.
func (w *wire) failed(ctx context.Context, a *storage.Attempt, err error) {
	a.Duration = time.Since(w.start)
	a.Phases = w.phases(-1, a.Duration)
	a.RemoteAddr = w.remoteAddr()
	if state := w.tlsState(); state != nil {
		a.TLSVersion = tls.VersionName(state.Version)
	}
	a.Verdict, a.Code = VerdictRetry, w.classify(err)
	if errors.Is(ctx.Err(), context.Canceled) && !w.expired() {
		a.Verdict, a.Code = VerdictInterrupted, CodeInterrupted
	}
}

// answered records an attempt with an answer.
func (w *wire) answered(m *Message, out *Outcome, res *http.Response) {
	a, status := &out.Attempt, res.StatusCode
	responded := time.Since(w.start)
	a.StatusCode = status
	a.RemoteAddr = w.remoteAddr()
	if res.TLS != nil {
		a.TLSVersion = tls.VersionName(res.TLS.Version)
	}
	a.Header = keptHeader(res.Header)
	if status >= 300 && status <= 399 {
		keepLocation(a, res)
	}

	if status == http.StatusSwitchingProtocols {
		// We asked for no other protocol, and the body is the raw connection.
		_ = res.Body.Close()
		a.Verdict, a.Code = VerdictRetry, CodeProtocolError
	} else {
		a.Verdict, a.Code = statusVerdict(status, &m.Endpoint.Retry.OnStatus), statusCode(status)
		w.readBody(a, res)
	}
	out.Gone = status == http.StatusGone && a.Verdict == VerdictPermanent
	a.Duration = time.Since(w.start)
	a.Phases = w.phases(responded, a.Duration)
	out.RetryAfter = retryAfter(status, res.Header, w.start.Add(responded))
}
