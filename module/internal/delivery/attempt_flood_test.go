package delivery

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
)

// floodFrames are what a receiver may send at any time, and make do us
// something about it.
var floodFrames = map[string]func(*http2.Framer) error{
	"PING":          func(f *http2.Framer) error { return f.WritePing(false, [8]byte{1}) },
	"SETTINGS":      func(f *http2.Framer) error { return f.WriteSettings() },
	"WINDOW_UPDATE": func(f *http2.Framer) error { return f.WriteWindowUpdate(1, 1) },
	"PRIORITY":      func(f *http2.Framer) error { return f.WritePriority(1, http2.PriorityParam{Weight: 1}) },
	"unknown":       func(f *http2.Framer) error { return f.WriteRawFrame(0xee, 0, 0, nil) },
	"DATA":          func(f *http2.Framer) error { return f.WriteData(1, false, nil) },
}

// fullThrottle sends many frames at a time, until the other side goes away,
// and counts what it answers.
func fullThrottle(f framer, write func(*http2.Framer) error, answers *atomic.Int64) {
	var many bytes.Buffer
	batch := http2.NewFramer(&many, nil)
	for range 1000 {
		_ = write(batch)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			switch frame.(type) {
			case *http2.PingFrame, *http2.SettingsFrame, *http2.RSTStreamFrame:
				answers.Add(1)
			}
		}
	}()
	for {
		if _, err := f.p.Write(many.Bytes()); err != nil {
			break
		}
	}
	_ = f.p.Close()
	<-gone
}

// TestFloods holds that a receiver which sends frames as fast as it can is cut
// off soon, be it before its answer or after it.
func TestFloods(t *testing.T) { //nolint:tparallel // counts goroutines
	leaked := checkLeaks(t)
	ca := newAuthority(t)
	cert := ca.issue(t, nil)
	const most = 2 * (readsPerAttempt + 64<<10) / 9 // the shortest frame
	t.Run("rows", func(t *testing.T) {
		for name, write := range floodFrames {
			for kind, configure := range map[string]func(*http.Transport) error{"": asIs, " as in Caddy": http2.ConfigureTransport} {
				t.Run(name+kind, func(t *testing.T) {
					t.Parallel()
					transport := guarded(t, &tls.Config{RootCAs: ca.pool})
					if err := configure(transport); err != nil {
						t.Fatal(err)
					}
					var answers atomic.Int64
					r := row{verdict: VerdictRetry, code: CodeH2ConnectionError, wire: 1, tls: "TLS 1.3"}
					if name == "DATA" { // which belongs to an answer, and there is none
						r.code = CodeH2StreamError
					}
					r.handle = overHTTP2(cert, nil, answering(func(f framer, _ uint32) { fullThrottle(f, write, &answers) }))
					r.check(t, "https", transport)
					if got := answers.Load(); got > most {
						t.Errorf("got %d frames answered, want at most %d", got, most)
					}
				})
				t.Run(name+" while idle"+kind, func(t *testing.T) {
					t.Parallel()
					var answers atomic.Int64
					r := pair{closes: true, codes: [2]string{"http_200", "http_200"}, conns: 2, wires: 2}
					r.handle = overHTTP2(cert, nil, answering(func(f framer, stream uint32) {
						respond(f, stream, true, ":status", "200")
						if f.p.n == 1 {
							fullThrottle(f, write, &answers)
						}
					}))
					r.check(t, "https", &tls.Config{RootCAs: ca.pool}, configure)
					if got := answers.Load(); got > most {
						t.Errorf("got %d frames answered, want at most %d", got, most)
					}
				})
			}
		}
	})
	leaked()
}

// TestManyAttemptsOnOneConnection holds that what is allowed to attempts does
// not come to an end with their number, nor by running beside each other, nor
// with answers that are longer than what is read of them.
func TestManyAttemptsOnOneConnection(t *testing.T) { //nolint:tparallel // counts goroutines
	leaked := checkLeaks(t)
	t.Run("rows", func(t *testing.T) {
		for _, size := range []int{10, bodyRead, 1 << 20} {
			for kind, configure := range map[string]func(*http.Transport) error{"": asIs, " as in Caddy": http2.ConfigureTransport} {
				t.Run(fmt.Sprint(size, kind), func(t *testing.T) {
					t.Parallel()
					manyAttempts(t, size, configure)
				})
			}
		}
	})
	leaked()
}

func manyAttempts(t *testing.T, size int, configure func(*http.Transport) error) {
	t.Helper()
	var conns atomic.Int64
	body := make([]byte, size)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(body)
	}))
	s.EnableHTTP2 = true
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.StartTLS()
	defer s.Close()
	transport := guarded(t, &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs})
	if err := configure(transport); err != nil {
		t.Fatal(err)
	}
	const attempts, atOnce = 30, 8
	results := make(chan string)
	for range atOnce {
		go func() {
			for range attempts {
				m := testMessage(t, s.URL, transport)
				m.Endpoint.Timeout = patience
				a := Send(t.Context(), m).Attempt
				results <- fmt.Sprint(a.Code, a.BodyIncomplete, a.BodyTruncated, len(a.Body))
			}
		}()
	}
	want := fmt.Sprint("http_200", false, size > bodyKept, min(size, bodyKept))
	for range attempts * atOnce {
		if got := <-results; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := conns.Load(); got > atOnce { // those of the first, who did not know of each other
		t.Errorf("got %d connections, want them kept", got)
	}
	transport.CloseIdleConnections()
}

// TestHugeAnswersTakeLittleMemory counts all that one attempt allocates, be it
// garbage at once, and what of it stays.
func TestHugeAnswersTakeLittleMemory(t *testing.T) { //nolint:paralleltest // counts allocations
	const most, mostKept = 2 << 20, 256 << 10
	ca := newAuthority(t)
	cert := ca.issue(t, nil)
	junk := block("x", strings.Repeat("y", 8000))
	chunk := make([]byte, 16<<10)
	sends := func(s string) func(*peer) { // without a copy of it, which would be counted
		b := []byte(s)
		return func(p *peer) {
			if p.request() {
				_, _ = p.Write(b)
				p.hang()
			}
		}
	}
	for name, test := range map[string]struct {
		scheme string
		handle func(*peer)
		code   string
	}{
		"1 MiB header":   {"http", sends("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n"), CodeResponseHeaderTooLarge},
		"100000 headers": {"http", sends("HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 100000) + "\r\n"), CodeResponseHeaderTooLarge},
		"103 flood":      {"http", sends(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 100000)), CodeResponseHeaderTooLarge},
		"gzip bomb":      {"http", sends("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzipBomb(t)), "http_200"},
		"infinite body": {"http", func(p *peer) {
			for ok := p.request() && p.send("HTTP/1.1 200 OK\r\n\r\n"); ok; {
				_, err := p.Write(chunk)
				ok = err == nil
			}
		}, "http_200"},
		"certificates without end": {"https", endlessCertificates, CodeTLSFailure},
		"CONTINUATION flood": {"https", overHTTP2(cert, nil, answering(func(f framer, stream uint32) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block(":status", "200")})
			for range 40 { // as each end's is counted, not for ever
				_ = f.WriteContinuation(stream, false, junk)
			}
			f.p.hang()
		})), CodeH2ConnectionError},
		"body as fast as HTTP/2 lets it": {"https", overHTTP2(cert, nil, func(f framer) {
			window, stream := uint32(1<<16-1), uint32(0)
			for stream == 0 {
				frame, err := f.ReadFrame()
				if err != nil {
					return
				}
				switch frame := frame.(type) {
				case *http2.HeadersFrame:
					stream = frame.StreamID
				case *http2.SettingsFrame:
					if size, ok := frame.Value(http2.SettingInitialWindowSize); ok {
						window = size
					}
				}
			}
			respond(f, stream, false, ":status", "200")
			for ; window > 0; window -= min(window, 1<<14) {
				_ = f.WriteData(stream, false, chunk[:min(window, 1<<14)])
			}
			f.discard()
		}), "http_200"},
	} {
		t.Run(name, func(t *testing.T) { //nolint:paralleltest // counts allocations
			h := serve(t, test.handle)
			transport := guarded(t, &tls.Config{RootCAs: ca.pool})
			m := testMessage(t, test.scheme+"://"+h.addr, transport)
			m.Endpoint.Timeout = patience
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			a := Send(t.Context(), m).Attempt
			runtime.ReadMemStats(&after)
			if a.Code != test.code {
				t.Errorf("got %s, want %s", a.Code, test.code)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > most {
				t.Errorf("got %d KiB allocated, want at most %d", got>>10, most>>10)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			if got := int64(after.HeapAlloc) - int64(before.HeapAlloc); got > mostKept {
				t.Errorf("got %d KiB kept, want at most %d", got>>10, mostKept>>10)
			}
		})
	}
}
