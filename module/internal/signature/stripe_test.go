package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestStripeSignsWithAllSecrets(t *testing.T) {
	t.Parallel()
	secrets := []string{otherSecret, goodSecret, otherSecret[:30]}
	s, err := NewStripe([]Secret{{&secrets[0]}, {&secrets[1]}, {&secrets[2]}}, "stripe-signature")
	if err != nil {
		t.Fatal(err)
	}
	want := "t=1700000000"
	for _, secret := range secrets { // as written, "whsec_" included
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte("1700000000.{}"))
		want += fmt.Sprintf(",v1=%x", mac.Sum(nil))
	}
	msg := Message{EventID: "evt_1", Timestamp: time.Unix(1700000000, 999), Body: []byte("{}")}
	for range 3 {
		if got := headers(s, msg)["Stripe-Signature"]; got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}

func TestNewStripeRefusesHeaders(t *testing.T) {
	t.Parallel()
	for _, header := range []string{"", "X Sig", "content-type"} {
		_, err := NewStripe(parse(t, goodSecret), header)
		if err == nil || !strings.Contains(err.Error(), "header") {
			t.Errorf("got error %v for header %q, want one about it", err, header)
		}
	}
}
