package delivery

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/promptreports/caddy-webhooks/module/internal/signature"
)

// A receiver that answers with the request's headers gives neither a
// signature nor a credential to the history.
func TestAnswersHoldNoSignature(t *testing.T) {
	t.Parallel()
	secret, err := signature.ParseSecret("a secret that signs the messages")
	if err != nil {
		t.Fatal(err)
	}
	hmac, err := signature.NewHMAC([]signature.Secret{secret}, signature.HMACOptions{Header: "X-Signature"})
	if err != nil {
		t.Fatal(err)
	}
	standard, err := signature.NewStandard([]signature.Secret{secret, secret})
	if err != nil {
		t.Fatal(err)
	}
	var sent []string
	for name, echo := range map[string]func(http.Header) string{
		"text": func(h http.Header) string { return fmt.Sprint(h) },
		"JSON": func(h http.Header) string { b, _ := json.Marshal(h); return string(b) },
		"PHP":  func(h http.Header) string { return strings.ReplaceAll(fmt.Sprint(h), "/", `\/`) },
	} {
		m := testMessage(t, "https://example.com/", roundTrip(func(r *http.Request) (*http.Response, error) {
			for _, header := range []string{"X-Signature", "Webhook-Signature", "Authorization"} {
				for part := range strings.FieldsSeq(r.Header.Get(header)) {
					sent = append(sent, strings.TrimRight(part[strings.LastIndexByte(part, ',')+1:], "="))
				}
			}
			return &http.Response{StatusCode: 200, ContentLength: -1, Body: io.NopCloser(strings.NewReader(echo(r.Header)))}, nil
		}))
		m.EventID = "evt_with_a_rather_long_id"
		m.Endpoint.Signers = []signature.Signer{hmac, standard}
		m.Endpoint.Header = http.Header{"Authorization": {"Bearer 0123456789/abcdef+ghi"}}
		sent = sent[:0]
		body := strings.ReplaceAll(string(Send(t.Context(), m).Attempt.Body), `\/`, "/")
		if len(sent) != 5 {
			t.Fatalf("%s: got %d values sent, want 5", name, len(sent))
		}
		for _, value := range sent {
			if len(value) >= leastSecret && strings.Contains(body, value) {
				t.Errorf("%s: the kept body holds %q", name, value)
			}
		}
		for _, want := range []string{m.EventID, "[redacted]", "X-Promptreports-Event"} {
			if !strings.Contains(body, want) {
				t.Errorf("%s: got a body without %s: %s", name, want, body)
			}
		}
	}
}

// A receiver that repeats what it shares with us, as an error page with its
// environment does, or the address that it was called at, gives neither to the
// history, whatever the page is written in.
func TestAnswersHoldNoSecret(t *testing.T) {
	t.Parallel()
	const text, query = "Kx7/q+Zm2=Wd9 R4&tB6<nV8'pL5", "q8/Zt+Rw3 Ys6=Jb1Nc0"
	secret, err := signature.ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	asJSON, _ := json.Marshal(map[string]string{"secret": text, "query": query})
	for name, page := range map[string]string{
		"text":         "secret: " + text + "\nkey: " + query + "\n",
		"JSON":         string(asJSON),
		"PHP":          strings.NewReplacer("/", `\/`, "'", `\'`).Replace(text + " " + query),
		".NET":         strings.NewReplacer("+", `\u002B`, "/", `\u002f`, "<", `\u003C`, "&", `\u0026`, "'", `\u0027`).Replace(text + " " + query),
		"form":         url.Values{"secret": {text}, "key": {query}}.Encode(),
		"address":      "cannot POST /hook?key=" + url.PathEscape(query) + "&secret=" + url.PathEscape(text),
		"HTML":         html.EscapeString(text + " " + query),
		"Go templates": strings.NewReplacer("+", "&#43;", "=", "&#61;", "<", "&lt;", "&", "&amp;", "'", "&#39;").Replace(text + " " + query),
		"Handlebars":   strings.NewReplacer("/", "&#x2F;", "=", "&#x3D;", "<", "&lt;", "&", "&amp;", "'", "&#x27;").Replace(text + " " + query),
	} {
		m := testMessage(t, "https://example.com/hook?key="+url.QueryEscape(query), roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 500, ContentLength: -1, Body: io.NopCloser(strings.NewReader("before " + page + " after"))}, nil
		}))
		m.Endpoint.Secrets = []signature.Secret{secret}
		body := string(Send(t.Context(), m).Attempt.Body)
		if n := strings.Count(body, "[redacted]"); n != 2 || !strings.HasPrefix(body, "before ") || !strings.HasSuffix(body, " after") {
			t.Errorf("%s: got %s, want the secret and the query to be redacted", name, body)
		}
		for _, part := range []string{"Kx7", "nV8", "q8", "Nc0"} {
			if strings.Contains(body, part) {
				t.Errorf("%s: got %s, which holds %s", name, body, part)
			}
		}
	}
}

// Where an answer is cut off within a secret, its beginning is no more kept
// than the whole.
func TestCutAnswersHoldNoPartOfASecret(t *testing.T) {
	t.Parallel()
	const text = "Kx7qZm2Wd9R4tB6nV8pL5hG3"
	secret, err := signature.ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	for kept := range len(text) + 1 {
		page := strings.Repeat(".", bodyKept-kept) + text + "..."
		m := testMessage(t, "https://example.com/", roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 500, ContentLength: -1, Body: io.NopCloser(strings.NewReader(page))}, nil
		}))
		m.Endpoint.Secrets = []signature.Secret{secret}
		a := Send(t.Context(), m).Attempt
		if !a.BodyTruncated {
			t.Fatalf("got an answer of %d bytes, want it to be cut off", len(a.Body))
		}
		if body := string(a.Body); strings.Contains(body, text[:leastTail]) {
			t.Errorf("got %s, which holds a part of the secret", strings.TrimLeft(body, "."))
		}
	}
}

// A header of an answer that is kept holds no signature either.
func TestKeptHeadersHoldNoSignature(t *testing.T) {
	t.Parallel()
	const credential = "0123456789-abcdef-ghi"
	m := testMessage(t, "https://example.com/", roundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: http.NoBody, Header: http.Header{"Content-Type": {"text/plain; boundary=" + r.Header.Get("Authorization")}}}, nil
	}))
	m.Endpoint.Header = http.Header{"Authorization": {"Bearer " + credential}}
	if got, want := Send(t.Context(), m).Attempt.Header["content-type"], "text/plain; boundary=Bearer [redacted]"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
