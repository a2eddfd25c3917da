package delivery

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framer speaks HTTP/2 by hand.
type framer struct {
	*http2.Framer
	p *peer
}

// overHTTP2 negotiates HTTP/2 and sends the first settings.
func overHTTP2(cert tls.Certificate, settings []http2.Setting, handle func(framer)) func(*peer) {
	config := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}}
	return overTLS(config, func(p *peer) {
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(p.br, preface); err != nil || string(preface) != http2.ClientPreface {
			return
		}
		f := framer{http2.NewFramer(p.Conn, p.br), p}
		if f.WriteSettings(settings...) == nil {
			handle(f)
		}
	})
}

// headers waits for the head of a request, and counts it.
func (f framer) headers() (stream uint32, ok bool) {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return 0, false
		}
		switch frame := frame.(type) {
		case *http2.HeadersFrame:
			f.p.h.requests.Add(1)
			return frame.StreamID, true
		case *http2.SettingsFrame:
			if !frame.IsAck() && f.WriteSettingsAck() != nil {
				return 0, false
			}
		}
	}
}

// discard reads frames until the other side goes away.
func (f framer) discard() {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		if s, ok := frame.(*http2.SettingsFrame); ok && !s.IsAck() {
			_ = f.WriteSettingsAck()
		}
		if _, ok := frame.(*http2.HeadersFrame); ok {
			f.p.h.requests.Add(1)
		}
	}
}

// answering runs act on the first request, and reads on.
func answering(act func(f framer, stream uint32)) func(framer) {
	return func(f framer) {
		if stream, ok := f.headers(); ok {
			act(f, stream)
			f.discard()
		}
	}
}

// flooding repeats write after the first request, until the other side goes
// away.
func flooding(write func(framer) error) func(framer) {
	return func(f framer) {
		if _, ok := f.headers(); !ok {
			return
		}
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			f.p.hang()
		}()
		tick := time.NewTicker(100 * time.Microsecond)
		defer tick.Stop()
		for write(f) == nil {
			<-tick.C
		}
		<-gone
	}
}

// send sends so much of a body, as the other side lets it.
func (f framer) send(stream uint32, size int) {
	chunk := make([]byte, 16<<10)
	for window := 64<<10 - 1; size > 0; {
		n := min(size, window, len(chunk))
		if n > 0 && f.WriteData(stream, false, chunk[:n]) != nil {
			return
		}
		size, window = size-n, window-n
		if window > 0 {
			continue
		}
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		if u, ok := frame.(*http2.WindowUpdateFrame); ok && u.StreamID == stream {
			window += int(u.Increment)
		}
	}
}

func block(pairs ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(pairs); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return b.Bytes()
}

func respond(f framer, stream uint32, end bool, pairs ...string) {
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block(pairs...), EndHeaders: true, EndStream: end})
}

func TestBadHTTP2Receivers(t *testing.T) { //nolint:tparallel // counts goroutines
	leaked := checkLeaks(t)
	ca := newAuthority(t)
	cert := ca.issue(t, nil)
	type h2row struct {
		row
		settings []http2.Setting
		act      func(framer)
	}
	failed := func(name, code string, act func(framer, uint32)) h2row {
		return h2row{row: row{name: name, verdict: VerdictRetry, code: code, wire: 1}, act: answering(act)}
	}
	reset := func(code http2.ErrCode) func(framer, uint32) {
		return func(f framer, stream uint32) { _ = f.WriteRSTStream(stream, code) }
	}
	rows := []h2row{
		{
			row: row{name: "good", verdict: VerdictSuccess, code: "http_200", status: 200, wire: 1, kept: "ok"},
			act: answering(func(f framer, stream uint32) {
				respond(f, stream, false, ":status", "200")
				_ = f.WriteData(stream, true, []byte("ok"))
			}),
		},
		{
			row: row{name: "hangs in the body", verdict: VerdictSuccess, code: "http_200", status: 200, wire: 1, kept: "ab", incomplete: true},
			act: answering(func(f framer, stream uint32) {
				respond(f, stream, false, ":status", "200")
				_ = f.WriteData(stream, false, []byte("ab"))
			}),
		},
		{
			row: row{name: "resets in the body", verdict: VerdictSuccess, code: "http_200", status: 200, wire: 1, incomplete: true},
			act: answering(func(f framer, stream uint32) {
				respond(f, stream, false, ":status", "200")
				_ = f.WriteRSTStream(stream, http2.ErrCodeInternal)
			}),
		},
		failed("GOAWAY with nothing processed", CodeH2GoAway, func(f framer, _ uint32) { _ = f.WriteGoAway(0, http2.ErrCodeNo, nil) }),
		failed("GOAWAY and close", CodeH2GoAway, func(f framer, stream uint32) {
			_ = f.WriteGoAway(stream, http2.ErrCodeEnhanceYourCalm, []byte("go away"))
			_ = f.p.Close()
		}),
		failed("REFUSED_STREAM", CodeH2StreamError, reset(http2.ErrCodeRefusedStream)),
		failed("INTERNAL_ERROR", CodeH2StreamError, reset(http2.ErrCodeInternal)),
		failed("HTTP_1_1_REQUIRED", CodeH2StreamError, reset(http2.ErrCodeHTTP11Required)),
		failed("never answers", CodeTimeoutHeaders, func(framer, uint32) {}),
		{
			row:      row{name: "never reads", verdict: VerdictRetry, code: CodeTimeoutWrite, wire: 1, bytes: 16 << 20},
			settings: []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 1 << 30}},
			act: func(f framer) {
				if _, ok := f.headers(); ok && f.WriteWindowUpdate(0, 1<<30) == nil {
					<-f.p.h.over
				}
			},
		},
		{
			row: row{name: "redirects", verdict: VerdictRetry, code: CodeRedirectRefused, status: 308, wire: 1, header: map[string]string{"location": "http://169.254.169.254"}},
			act: answering(func(f framer, stream uint32) {
				respond(f, stream, true, ":status", "308", "location", "http://169.254.169.254/")
			}),
		},
		{
			row: row{
				name: "holds", verdict: VerdictRetry, code: "http_429", status: 429, wire: 1, hold: time.Minute,
				header: map[string]string{"retry-after": "60", "content-type": "text/plain"},
			},
			act: answering(func(f framer, stream uint32) {
				respond(f, stream, true, ":status", "429", "retry-after", "60", "content-type", "text/plain", "set-cookie", "a=b")
			}),
		},
		{
			row: row{name: "longer than is read", verdict: VerdictSuccess, code: "http_200", status: 200, wire: 1, truncated: true, timeout: patience},
			act: answering(func(f framer, stream uint32) {
				respond(f, stream, false, ":status", "200")
				f.send(stream, bodyRead+1)
			}),
		},
		failed("103 flood", CodeH2StreamError, func(f framer, stream uint32) {
			for range 10000 {
				respond(f, stream, false, ":status", "103", "link", "</x>")
			}
		}),
		{
			row: row{name: "103 and then 204", verdict: VerdictSuccess, code: "http_204", status: 204, wire: 1},
			act: answering(func(f framer, stream uint32) {
				respond(f, stream, false, ":status", "103", "link", "</x>")
				respond(f, stream, true, ":status", "204")
			}),
		},
		failed("answers DATA first", CodeH2StreamError, func(f framer, stream uint32) { _ = f.WriteData(stream, true, []byte("x")) }),
		failed("status 99", CodeH2StreamError, func(f framer, stream uint32) { respond(f, stream, true, ":status", "ninety") }),
		failed("pushes", CodeH2ConnectionError, func(f framer, stream uint32) {
			_ = f.WritePushPromise(http2.PushPromiseParam{StreamID: stream, PromiseID: 2, BlockFragment: block(":status", "200"), EndHeaders: true})
		}),
		failed("closes", CodeConnectionClosed, func(f framer, _ uint32) { _ = f.p.Close() }),
		failed("CONTINUATION flood", CodeH2ConnectionError, func(f framer, stream uint32) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block(":status", "200")})
			junk := block("x", strings.Repeat("y", 8000))
			for f.WriteContinuation(stream, false, junk) == nil {
			}
		}),
		failed("huge header", CodeResponseHeaderTooLarge, func(f framer, stream uint32) {
			// Small on the wire: one entry of the table, many times over.
			pairs := []string{":status", "200"}
			for range 40 {
				pairs = append(pairs, "x", strings.Repeat("y", 3000))
			}
			respond(f, stream, true, pairs...)
		}),
		failed("no status", CodeH2StreamError, func(f framer, stream uint32) { respond(f, stream, true, "x", "y") }),
		failed("frame of an idle stream", CodeH2ConnectionError, func(f framer, _ uint32) { _ = f.WriteData(99, true, []byte("x")) }),
		{
			row: row{name: "PING flood", verdict: VerdictRetry, code: CodeTimeoutHeaders, wire: 1},
			act: flooding(func(f framer) error { return f.WritePing(false, [8]byte{1}) }),
		},
		{
			row: row{name: "SETTINGS flood", verdict: VerdictRetry, code: CodeTimeoutHeaders, wire: 1},
			act: flooding(func(f framer) error { return f.WriteSettings() }),
		},
		{
			row:      row{name: "no window", verdict: VerdictRetry, code: CodeTimeoutWrite, wire: 1, bytes: 1 << 20},
			settings: []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}},
			act:      answering(func(framer, uint32) {}),
		},
		{
			row: row{name: "not HTTP/2", verdict: VerdictRetry, code: CodeH2ConnectionError},
			act: func(f framer) { f.p.send(ok200); f.p.hang() },
		},
	}
	t.Run("rows", func(t *testing.T) {
		for _, r := range rows {
			r.handle, r.tls = overHTTP2(cert, r.settings, r.act), "TLS 1.3"
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				r.check(t, "https", guarded(t, &tls.Config{RootCAs: ca.pool}))
			})
			// Caddy's transport speaks HTTP/2 by another copy of the code,
			// whose errors have other types.
			t.Run(r.name+" as in Caddy", func(t *testing.T) {
				t.Parallel()
				transport := guarded(t, &tls.Config{RootCAs: ca.pool})
				if err := http2.ConfigureTransport(transport); err != nil {
					t.Fatal(err)
				}
				r.check(t, "https", transport)
			})
		}
	})
	leaked()
}

// TestRepeatable is the control to "GOAWAY with nothing processed": it shows
// that a request which can be repeated is repeated, again and again.
func TestRepeatable(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var requests atomic.Int64
	h := serve(t, overHTTP2(ca.issue(t, nil), nil, answering(func(f framer, _ uint32) {
		if requests.Add(1) == 2 { // it would go on for ever
			cancel()
		}
		_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
	})))
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+h.addr, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if res, err := guarded(t, &tls.Config{RootCAs: ca.pool}).RoundTrip(r); err == nil {
		_ = res.Body.Close()
		t.Error("got an answer, want an error")
	}
	if got := h.requests.Load(); got < 2 {
		t.Errorf("got %d requests on the wire, want many", got)
	}
}
