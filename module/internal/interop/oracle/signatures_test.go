package oracle

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/promptreports/caddy-webhooks/module/internal/signature"
)

// TestStandardSignatures compares what our signers make with what the library
// of Standard Webhooks makes of the same messages and secrets, and has the
// library verify it: with each secret of a rotation, beside the signatures of
// ed25519, and not when it was doctored.
func TestStandardSignatures(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 500 {
		texts := []string{whsec(r), whsec(r)}
		msg := signature.Message{
			EventID:   fmt.Sprintf("wh_evt_%x", r.Uint64()),
			Timestamp: time.Now().Add(time.Duration(r.IntN(120)-60) * time.Second),
			Body:      randomBytes(r, r.IntN(2000)),
		}
		header := sign(t, msg, texts...)
		var want []string
		for _, text := range texts {
			theirs, err := standardwebhooks.NewWebhook(text)
			if err != nil {
				t.Fatal(err)
			}
			value, err := theirs.Sign(msg.EventID, msg.Timestamp, msg.Body)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, value)
			if err := theirs.Verify(msg.Body, header); err != nil {
				t.Fatalf("message %d: got error %v, want it verified", i, err)
			}
			if theirs.Verify(append(bytes.Clone(msg.Body), ' '), header) == nil {
				t.Fatalf("message %d: got another body verified", i)
			}
		}
		if got := header.Get("webhook-signature"); !strings.HasPrefix(got, strings.Join(want, " ")+" v1a,") {
			t.Fatalf("message %d: got %s, want %q and one of ed25519", i, got, want)
		}
		other, err := standardwebhooks.NewWebhook(whsec(r))
		if err != nil {
			t.Fatal(err)
		}
		if other.Verify(msg.Body, header) == nil {
			t.Fatalf("message %d: got it verified with another secret", i)
		}
	}
}

// TestRawSecret is about a secret that is no base64.
func TestRawSecret(t *testing.T) {
	t.Parallel()
	const text = "Vb7uq3Lw9sXe2RkTzY5nQd8c"
	theirs, err := standardwebhooks.NewWebhookRaw([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	msg := signature.Message{EventID: "wh_evt_1", Timestamp: time.Now(), Body: []byte("{}")}
	header := sign(t, msg, text)
	if err := theirs.Verify(msg.Body, header); err != nil {
		t.Errorf("got error %v, want it verified", err)
	}
	if theirs.Verify([]byte("{ }"), header) == nil {
		t.Error("got another body verified")
	}
}

// sign signs with shared secrets and a private key.
func sign(t *testing.T, msg signature.Message, texts ...string) http.Header {
	t.Helper()
	var secrets []signature.Secret
	for _, text := range append(texts, "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=") {
		s, err := signature.ParseSecret(text)
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, s)
	}
	standard, err := signature.NewStandard(secrets[:len(texts)])
	if err != nil {
		t.Fatal(err)
	}
	ed25519, err := signature.NewEd25519(secrets[len(texts):])
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{}
	for _, s := range signature.Join([]signature.Signer{standard}, ed25519) {
		s.Sign(msg, header.Set)
	}
	return header
}

// whsec makes a secret of any length that Standard Webhooks admits.
func whsec(r *rand.Rand) string {
	return "whsec_" + base64.StdEncoding.EncodeToString(randomBytes(r, 24+r.IntN(41)))
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
