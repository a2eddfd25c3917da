package module

import (
	"bytes"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
)

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestStdLogFilter(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	var out strings.Builder
	f := &stdLogFilter{&out, &stdLogBudget{now: func() time.Time { return now }}}
	lines := map[string]string{
		"something else\n":                     "something else\n",
		"2026/11/23 21:33:19 something else\n": "2026/11/23 21:33:19 something else\n",
		"Unsolicited response received on idle HTTP channel starting with \"canary\"; err=<nil>\n":       stdLogLine,
		"2026/11/23 21:33:19 Unsolicited response received on idle HTTP channel starting with \"\\x1b\"": "2026/11/23 21:33:19 " + stdLogLine,
		"http2: Transport received unsolicited DATA frame; closing connection\n":                         stdLogLine,
		"protocol error: received *http2.PingFrame before a SETTINGS frame\n":                            stdLogLine,
		"Transport: unhandled response frame type *http2.UnknownFrame\n":                                 stdLogLine,
	}
	for line, want := range lines {
		out.Reset()
		if n, err := f.Write([]byte(line)); n != len(line) || err != nil || out.String() != want {
			t.Errorf("line %q: got %q, %d, %v, want %q, %d", line, out.String(), n, err, want, len(line))
		}
	}
	for _, hour := range []time.Duration{time.Hour, 2 * time.Hour} {
		now = time.Unix(0, 0).Add(hour)
		out.Reset()
		for range 1000 {
			_, _ = io.WriteString(f, "Unsolicited response received on idle HTTP channel starting with \"x\"\n")
		}
		if got := strings.Count(out.String(), stdLogLine); got != stdLogLinesPerHour {
			t.Errorf("lines in an hour: got %d, want %d", got, stdLogLinesPerHour)
		}
	}
}

// serveTwice answers the first request of each connection with the text, and
// tells when the other side has closed the connection.
func serveTwice(t *testing.T, response string) (addr string, closed <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ends := make(chan struct{}, 100)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				buf := make([]byte, 4096)
				if _, err := c.Read(buf); err != nil {
					return
				}
				_, _ = io.WriteString(c, response)
				_, _ = io.Copy(io.Discard, c)
				ends <- struct{}{}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String(), ends
}

const answersTwice = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 canary\r\n\x1b[31mcanary\r\n\r\n"

// TestReceiversDoNotWriteTheLog holds that what a receiver sends unasked does
// not come into the standard log, and that only a few lines about it do.
func TestReceiversDoNotWriteTheLog(t *testing.T) {
	addr, closed := serveTwice(t, answersTwice)
	var out lockedBuffer
	before := log.Writer()
	defer log.SetOutput(before)
	for name, transport := range map[string]http.RoundTripper{
		"plain": mustLoad(t, "", nil), "as configured": mustLoad(t, `{"keep_alive":{"idle_timeout":"1m"}}`, nil),
	} {
		for range stdLogLinesPerHour {
			log.SetOutput(&out) // as Caddy does in each reload
			if status, err := post(t, transport, "http://"+addr, 10*time.Second); status != 200 || err != nil {
				t.Fatalf("%s: got %d, %v, want 200", name, status, err)
			}
			<-closed
		}
	}
	log.Print("marker")
	if got := out.String(); strings.Contains(got, "canary") || strings.Contains(got, "Unsolicited") || !strings.Contains(got, "marker") {
		t.Errorf("got %q in the log, want nothing of the receiver", got)
	}
	if got := strings.Count(out.String(), stdLogLine); got > stdLogLinesPerHour {
		t.Errorf("got %d lines about receivers, want at most %d", got, stdLogLinesPerHour)
	}
}

// TestStdLogStaysFiltered is about a connection that outlives what Caddy does
// to the standard log when it loads a configuration, be it in vain.
func TestStdLogStaysFiltered(t *testing.T) {
	before := log.Writer()
	defer log.SetOutput(before)
	h := newHarness(t)
	filtered := func(when string) {
		t.Helper()
		if _, ok := log.Writer().(*stdLogFilter); !ok {
			t.Errorf("%s: got the standard log go to %T, want the filter", when, log.Writer())
		}
	}
	withSink := func(webhooks object) object {
		c := h.config(webhooks)
		c["logging"].(object)["sink"] = object{"writer": object{"output": "discard"}}
		return c
	}
	h.mustLoad(withSink(object{"grace_period": 0}))
	filtered("loaded")
	h.mustLoad(withSink(object{"grace_period": "1s"}))
	filtered("loaded again")
	if err := h.load(withSink(object{"header_prefix": "no header"})); err == nil {
		t.Error("got a wrong configuration loaded, want an error")
	}
	filtered("failed")
	h.mustLoad(h.config(object{"grace_period": "2s"}))
	filtered("loaded without a sink")
}

// TestTransportBounds holds that transports are bounded as attempts are tested.
func TestTransportBounds(t *testing.T) {
	for _, raw := range []string{"", `{"versions":["2"]}`} {
		transport := mustLoad(t, raw, nil)
		if got := transport.HTTP2.MaxReceiveBufferPerStream; got != delivery.BodyWindow {
			t.Errorf("transport %q: got a window of %d for bodies, want %d", raw, got, delivery.BodyWindow)
		}
	}
}

// Names under which net/http takes a request for one that may be sent twice.
func TestRepeatableHeadersAreReserved(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key", "idempotency-key", "x-idempotency-key"} {
		if isReserved(name, "X-Webhook") == "" {
			t.Errorf("got the header %s free for endpoints, want it reserved", name)
		}
	}
}
