package delivery

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/promptreports/caddy-webhooks/module/internal/signature"
	"github.com/promptreports/caddy-webhooks/storage"
)

// roundTrip is a transport in memory.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// fixedSigner sets one header, and remembers what it was given.
type fixedSigner struct {
	name string
	msg  *signature.Message
}

func (s fixedSigner) Sign(msg signature.Message, set func(name, value string)) {
	if s.msg != nil {
		*s.msg = msg
	}
	set(s.name, "sig")
}

func (s fixedSigner) Headers() []string { return []string{s.name} }

func testMessage(t testing.TB, rawURL string, transport http.RoundTripper) *Message {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return &Message{
		Endpoint: &Endpoint{
			Name: "acme", URL: u, Timeout: 2 * time.Second, Transport: transport,
			Retry: RetryPolicy{OnStatus: DefaultOnStatus()},
		},
		HeaderPrefix: "X-PromptReports", UserAgent: "caddy-webhooks/test",
		Delivery: storage.NewEventKey(1700000000000, 7).Delivery(3),
		EventID:  "evt_1", Type: "report.created", Body: []byte(`{"id":"evt_1"}`), Number: 2,
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body []byte
	m := testMessage(t, "https://example.com/hooks?a=b", roundTrip(func(r *http.Request) (*http.Response, error) {
		got = r
		body, _ = io.ReadAll(r.Body)
		return &http.Response{StatusCode: 204, Body: http.NoBody, Header: http.Header{}}, nil
	}))
	var signed signature.Message
	m.TraceParent, m.TraceState = "00-1-2-01", "a=b"
	m.Endpoint.Header = http.Header{"X-Own": {"1", "2"}}
	m.Endpoint.Signers = []signature.Signer{
		fixedSigner{"X-Promptreports-Signature", &signed},
		fixedSigner{"Webhook-Signature", nil},
		fixedSigner{"Webhook-Id", nil},
		fixedSigner{"A", nil},
		fixedSigner{"B", nil},
		fixedSigner{"C", nil},
		fixedSigner{"D", nil},
	}
	out := Send(t.Context(), m)

	want := http.Header{
		"User-Agent": {"caddy-webhooks/test"}, "Content-Type": {"application/json"},
		"X-Promptreports-Event": {"report.created"}, "X-Promptreports-Delivery": {m.Delivery.String()},
		"X-Promptreports-Attempt": {"2"}, "Traceparent": {"00-1-2-01"}, "Tracestate": {"a=b"}, "X-Own": {"1", "2"},
		"X-Promptreports-Signature": {"sig"}, "Webhook-Signature": {"sig"}, "Webhook-Id": {"sig"},
		"A": {"sig"}, "B": {"sig"}, "C": {"sig"}, "D": {"sig"},
	}
	if !maps.EqualFunc(got.Header, want, slices.Equal) {
		t.Errorf("got headers %v, want %v", got.Header, want)
	}
	if got.Method != "POST" || got.URL.String() != "https://example.com/hooks?a=b" || got.ContentLength != int64(len(m.Body)) || got.GetBody != nil {
		t.Errorf("got %s %s, length %d, GetBody %t, want a POST with a length that cannot be repeated", got.Method, got.URL, got.ContentLength, got.GetBody != nil)
	}
	if !bytes.Equal(body, m.Body) {
		t.Errorf("got body %q, want %q", body, m.Body)
	}
	if signed.EventID != "evt_1" || !bytes.Equal(signed.Body, m.Body) || !signed.Timestamp.Equal(out.Attempt.StartedAt) {
		t.Errorf("got %+v signed, want the event with the attempt's time", signed)
	}
	if a := out.Attempt; a.Verdict != VerdictSuccess || a.Code != "http_204" || a.StatusCode != 204 || a.Number != 2 {
		t.Errorf("got %+v, want a success", a)
	}
	if deadline, ok := got.Context().Deadline(); !ok || !deadline.Equal(out.Attempt.StartedAt.Add(m.Endpoint.Timeout)) {
		t.Errorf("got deadline %v, want 2 s after the start", deadline)
	}
	// A second prefix must not get the first one's names.
	m.HeaderPrefix = "X-Other"
	Send(t.Context(), m)
	if got.Header.Get("X-Other-Event") == "" || got.Header.Get("X-Promptreports-Event") != "" {
		t.Errorf("got headers %v, want those of the other prefix", got.Header)
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	hang := roundTrip(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	})
	synctest.Test(t, func(t *testing.T) {
		m := testMessage(t, "https://example.com/", hang)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		a := Send(ctx, m).Attempt
		if a.Verdict != VerdictInterrupted || a.Code != CodeInterrupted || a.Duration != time.Second {
			t.Errorf("cancelled: got %s %s after %s, want interrupted after 1s", a.Verdict, a.Code, a.Duration)
		}

		a = Send(t.Context(), m).Attempt
		if a.Verdict != VerdictRetry || a.Code != CodeConnectTimeout || a.Duration != 2*time.Second {
			t.Errorf("timeout: got %s %s after %s, want retry after 2s", a.Verdict, a.Code, a.Duration)
		}

		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		a = Send(ctx, m).Attempt
		if a.Verdict != VerdictRetry || a.Duration != time.Second {
			t.Errorf("caller's deadline: got %s %s after %s, want retry after 1s", a.Verdict, a.Code, a.Duration)
		}

		m.Endpoint.Timeout = 0
		a = Send(t.Context(), m).Attempt
		if a.Duration != defaultAttemptTimeout {
			t.Errorf("no timeout: got %s, want %s", a.Duration, defaultAttemptTimeout)
		}
	})
}

// dripBody gives a chunk every interval, until its context ends.
type dripBody struct {
	ctx      context.Context
	interval time.Duration
	closed   bool
}

func (b *dripBody) Read(p []byte) (int, error) {
	select {
	case <-time.After(b.interval):
		return copy(p, "drip"), nil
	case <-b.ctx.Done():
		return 0, context.Cause(b.ctx)
	}
}

func (b *dripBody) Close() error { b.closed = true; return nil }

// TestBodyTime holds that a body is given two seconds, and less where the
// deadline comes first, and that it changes no verdict.
func TestBodyTime(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		timeout, interval, head, want time.Duration
		kept                          string
	}{
		{30 * time.Second, time.Hour, time.Second, 3 * time.Second, ""},
		{30 * time.Second, 900 * time.Millisecond, 0, 2 * time.Second, "dripdrip"},
		{2 * time.Second, time.Hour, 1500 * time.Millisecond, 2 * time.Second, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			var body *dripBody
			m := testMessage(t, "https://example.com/", roundTrip(func(r *http.Request) (*http.Response, error) {
				time.Sleep(test.head)
				body = &dripBody{ctx: r.Context(), interval: test.interval}
				return &http.Response{StatusCode: 200, ContentLength: -1, Body: body}, nil
			}))
			m.Endpoint.Timeout = test.timeout
			a := Send(t.Context(), m).Attempt
			if a.Verdict != VerdictSuccess || !a.BodyIncomplete || a.BodyTruncated || string(a.Body) != test.kept {
				t.Errorf("got %s, incomplete %t, truncated %t, body %q, want success with an incomplete body %q", a.Verdict, a.BodyIncomplete, a.BodyTruncated, a.Body, test.kept)
			}
			if a.Duration != test.want || a.Phases.Body != test.want-test.head {
				t.Errorf("got %s with %s for the body, want %s with %s", a.Duration, a.Phases.Body, test.want, test.want-test.head)
			}
			if !body.closed {
				t.Error("got the body open, want it closed")
			}
		})
	}
}

func TestBodyExcerpt(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, bodyKept, bodyKept + 1, 3 * bodyKept, bodyRead, bodyRead + 1, 1 << 20} {
		body := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		reader := strings.NewReader(body)
		m := testMessage(t, "https://example.com/", roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 500, ContentLength: -1, Body: io.NopCloser(reader)}, nil
		}))
		a := Send(t.Context(), m).Attempt
		if got, want := string(a.Body), body[:min(size, bodyKept)]; got != want {
			t.Errorf("body of %d bytes: got %d bytes kept, want the first %d", size, len(got), len(want))
		}
		if got, want := a.BodyTruncated, size > bodyKept; got != want || a.BodyIncomplete {
			t.Errorf("body of %d bytes: got truncated %t, incomplete %t, want %t, false", size, got, a.BodyIncomplete, want)
		}
		if read := size - reader.Len(); read > bodyRead+1 {
			t.Errorf("body of %d bytes: got %d read, want at most %d", size, read, bodyRead+1)
		}
	}
}

func TestKeptHeader(t *testing.T) {
	t.Parallel()
	got := keptHeader(http.Header{
		"Content-Type": {"text/\x1b[31mplain\xff", "second"}, "Retry-After": {strings.Repeat("x", 1000)},
		"Set-Cookie": {"secret"}, "Location": {"http://169.254.169.254/"},
	})
	want := map[string]string{"content-type": "text/?[31mplain?", "retry-after": strings.Repeat("x", headerKept)}
	if !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := keptHeader(http.Header{"Date": {"x"}}); got != nil {
		t.Errorf("got %q, want none", got)
	}
}

func TestGone(t *testing.T) {
	t.Parallel()
	status := 410
	m := testMessage(t, "https://example.com/", roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {"60"}}, Body: http.NoBody}, nil
	}))
	if out := Send(t.Context(), m); !out.Gone || out.Attempt.Code != CodeGone || out.Attempt.Verdict != VerdictPermanent || out.RetryAfter != 0 {
		t.Errorf("410: got %+v, want it gone", out)
	}
	status = 503
	if out := Send(t.Context(), m); out.Gone || out.RetryAfter != time.Minute || out.Attempt.Header["retry-after"] != "60" {
		t.Errorf("503: got %+v, want to be held off for a minute", out)
	}
	m.Endpoint.Retry.OnStatus.addRange(400, 499)
	status = 410
	if out := Send(t.Context(), m); out.Gone || out.Attempt.Verdict != VerdictRetry {
		t.Errorf("410 that is to be retried: got %+v, want a retry", out)
	}
}

// TestErrorText holds that nothing of an error's text reaches the record.
func TestErrorText(t *testing.T) {
	t.Parallel()
	m := testMessage(t, "https://example.com/", roundTrip(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("canary 10.0.0.1")
	}))
	a := Send(t.Context(), m).Attempt
	if a.Code != CodeConnectionFailed || strings.Contains(a.Code+string(a.Body)+a.RemoteAddr, "canary") {
		t.Errorf("got %+v, want a code and no text", a)
	}
}

func BenchmarkSend(b *testing.B) {
	signers := []signature.Signer{
		fixedSigner{"X-Promptreports-Signature", nil},
		fixedSigner{"Webhook-Id", nil},
		fixedSigner{"Webhook-Timestamp", nil},
		fixedSigner{"Webhook-Signature", nil},
	}
	run := func(b *testing.B, m *Message) {
		m.Body = bytes.Repeat([]byte("x"), 600)
		m.Endpoint.Signers = signers
		b.ReportAllocs()
		for b.Loop() {
			if out := Send(b.Context(), m); out.Attempt.Verdict != VerdictSuccess {
				b.Fatalf("got %+v, want a success", out)
			}
		}
	}
	receiver := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"received":true}`)
	})
	b.Run("memory", func(b *testing.B) {
		res := &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: http.NoBody}
		run(b, testMessage(b, "http://127.0.0.1/hooks", roundTrip(func(r *http.Request) (*http.Response, error) {
			httptrace.ContextClientTrace(r.Context()).WroteRequest(httptrace.WroteRequestInfo{})
			return res, nil
		})))
	})
	b.Run("loopback", func(b *testing.B) {
		s := httptest.NewServer(receiver)
		defer s.Close()
		run(b, testMessage(b, s.URL, &http.Transport{DisableCompression: true}))
	})
	// What net/http alone costs, for comparison.
	b.Run("loopback-bare", func(b *testing.B) {
		s := httptest.NewServer(receiver)
		defer s.Close()
		transport := &http.Transport{DisableCompression: true}
		body := bytes.Repeat([]byte("x"), 600)
		b.ReportAllocs()
		for b.Loop() {
			r, err := http.NewRequest(http.MethodPost, s.URL, io.NopCloser(bytes.NewReader(body)))
			if err != nil {
				b.Fatal(err)
			}
			r.ContentLength = int64(len(body))
			res, err := transport.RoundTrip(r)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	})
}
