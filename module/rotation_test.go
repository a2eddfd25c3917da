package module

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// attempted is one attempt as a receiver got it.
type attempted struct {
	header http.Header
	body   []byte
}

// verifies says whether one of the signatures of Standard Webhooks is made with
// the secret.
func (a *attempted) verifies(t *testing.T, secret string) bool {
	t.Helper()
	key := []byte(secret)
	if encoded, ok := strings.CutPrefix(secret, "whsec_"); ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			t.Fatal(err)
		}
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(a.header.Get("Webhook-Id") + "." + a.header.Get("Webhook-Timestamp") + "."))
	mac.Write(a.body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return slices.Contains(strings.Fields(a.header.Get("Webhook-Signature")), want)
}

// Secrets are rotated by reloads: beside the old one, the new one signs from
// the next attempt on, also of what was accepted before; in the end the old one
// signs nothing.
func TestRotationOverReloads(t *testing.T) {
	setSigningSecrets(t)
	const older, newer = testOldSecret, testSecret
	attempts, answers := make(chan attempted), make(chan int)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("reading an attempt: %v", err)
		}
		select {
		case attempts <- attempted{header: r.Header.Clone(), body: body}:
			select {
			case status := <-answers:
				w.WriteHeader(status)
			case <-r.Context().Done():
			}
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(srv.Close)

	h := newHarness(t)
	load := func(secrets ...string) {
		t.Helper()
		h.mustLoad(h.config(object{"endpoints": object{"acme": object{
			"url": srv.URL, "secret": secrets, "retry": object{"schedule": []string{"10ms", "10ms"}},
		}}}))
	}
	next := func(event string) attempted {
		t.Helper()
		select {
		case a := <-attempts:
			if id := a.header.Get("Webhook-Id"); id != event {
				t.Errorf("got an attempt of event %s, want %s", id, event)
			}
			return a
		case <-time.After(30 * time.Second):
			t.Fatalf("got no attempt of event %s", event)
		}
		panic("unreachable")
	}
	want := func(step string, a attempted, old, young bool) {
		t.Helper()
		if got := a.verifies(t, older); got != old {
			t.Errorf("%s: the old secret signs: got %t, want %t", step, got, old)
		}
		if got := a.verifies(t, newer); got != young {
			t.Errorf("%s: the new secret signs: got %t, want %t", step, got, young)
		}
	}

	load("{env.OLD_SECRET}")
	h.post(eventJSON("before"))
	want("before", next("before"), true, false)
	answers <- http.StatusOK

	h.post(eventJSON("during"))
	want("first attempt", next("during"), true, false)
	answers <- http.StatusServiceUnavailable
	load("{env.SECRET}", "{env.OLD_SECRET}")
	a := next("during")
	if !a.verifies(t, newer) { // it was under way when the reload ended
		answers <- http.StatusServiceUnavailable
		a = next("during")
	}
	want("retry", a, true, true)
	answers <- http.StatusOK

	load("{env.SECRET}")
	h.post(eventJSON("after"))
	want("after", next("after"), false, true)
	answers <- http.StatusOK
}
