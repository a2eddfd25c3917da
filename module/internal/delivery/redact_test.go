package delivery

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
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
