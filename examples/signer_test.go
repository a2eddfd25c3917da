package examples_test

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	_ "github.com/promptreports/caddy-webhooks/examples/signer" // registers the scheme
)

// TestSigner has a real sidecar sign with the scheme of examples/signer, and
// verifies what arrives.
func TestSigner(t *testing.T) {
	t.Parallel()
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !verifiesKeyed(r.Header, body, "new", receiverSecret) ||
			!verifiesKeyed(r.Header, body, "old", strings.ToUpper(receiverSecret)) || verifiesKeyed(r.Header, body, "old", receiverSecret) {
			http.Error(w, "wrong signature", http.StatusUnauthorized)
		}
	}))
	t.Cleanup(receiver.Close)
	s := startSidecar(t, "endpoint keyed "+receiver.URL+` {
		secret {env.RIGHT_SECRET} {env.WRONG_SECRET}
		sign keyed X-Acme-Signature {
			key_ids new old
		}
	}`)
	for _, d := range s.deliver(t) {
		if d.StatusCode != http.StatusOK {
			t.Errorf("got %d (%s), want 200", d.StatusCode, d.Status)
		}
	}
}

// verifiesKeyed is what a receiver would do.
func verifiesKeyed(header http.Header, body []byte, id, secret string) bool {
	timestamp, signatures, _ := strings.Cut(header.Get("X-Acme-Signature"), ",")
	mac := hmac.New(sha512.New, []byte(secret))
	mac.Write([]byte(strings.TrimPrefix(timestamp, "t=") + "." + "wh_evt_abc123" + "."))
	mac.Write(body)
	want := id + "=" + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for given := range strings.SplitSeq(signatures, ",") {
		if hmac.Equal([]byte(given), []byte(want)) {
			return true
		}
	}
	return false
}
