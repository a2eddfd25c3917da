package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	goodSecret  = "Vb7uq3Lw9sXe2RkTzY5nQd8c"
	otherSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

func parse(tb testing.TB, texts ...string) []Secret {
	tb.Helper()
	var secrets []Secret
	for _, text := range texts {
		s, err := ParseSecret(text)
		if err != nil {
			tb.Fatal(err)
		}
		secrets = append(secrets, s)
	}
	return secrets
}

func TestHMACByDefaultSignsTheBodyWithTheFirstSecret(t *testing.T) {
	t.Parallel()
	s, err := NewHMAC(parse(t, otherSecret, goodSecret), HMACOptions{Header: "x-promptreports-signature"})
	if err != nil {
		t.Fatal(err)
	}
	// The key is the text as written, "whsec_" included.
	mac := hmac.New(sha256.New, []byte(otherSecret))
	mac.Write([]byte(`{"a":1}`))
	want := map[string]string{"X-Promptreports-Signature": hex.EncodeToString(mac.Sum(nil))}
	got := headers(s, Message{EventID: "e", Timestamp: time.Unix(1, 0), Body: []byte(`{"a":1}`)})
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestHMACTemplates(t *testing.T) {
	t.Parallel()
	s, err := NewHMAC(parse(t, goodSecret), HMACOptions{
		Header: "X-Sig", Value: "id={id},t={timestamp},v1={sig};", Content: "v1:{id}:{timestamp}:{body}:{id}",
	})
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte(goodSecret))
	mac.Write([]byte("v1:evt_1:1700000000:{}:evt_1"))
	want := fmt.Sprintf("id=evt_1,t=1700000000,v1=%x;", mac.Sum(nil))
	if got := headers(s, Message{EventID: "evt_1", Timestamp: time.Unix(1700000000, 0), Body: []byte("{}")})["X-Sig"]; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestStandardSignsWithAllSecrets(t *testing.T) {
	t.Parallel()
	msg := Message{EventID: "evt_1", Timestamp: time.Unix(1700000000, 0), Body: []byte("{}")}
	var each []string
	for _, text := range []string{goodSecret, otherSecret} {
		s, err := NewStandard(parse(t, text))
		if err != nil {
			t.Fatal(err)
		}
		each = append(each, headers(s, msg)["Webhook-Signature"])
	}
	s, err := NewStandard(parse(t, goodSecret, otherSecret))
	if err != nil {
		t.Fatal(err)
	}
	got := headers(s, msg)
	want := map[string]string{
		"Webhook-Id": "evt_1", "Webhook-Timestamp": "1700000000", "Webhook-Signature": strings.Join(each, " "),
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestHeadersAreThoseThatSignSets(t *testing.T) {
	t.Parallel()
	h, err := NewHMAC(parse(t, goodSecret), HMACOptions{Header: "x-sig"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewStandard(parse(t, goodSecret))
	if err != nil {
		t.Fatal(err)
	}
	for _, signer := range []Signer{h, s} {
		got := slices.Sorted(maps.Keys(headers(signer, Message{})))
		if want := slices.Sorted(slices.Values(signer.Headers())); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSignConcurrently(t *testing.T) {
	t.Parallel()
	h, err := NewHMAC(parse(t, goodSecret), HMACOptions{Header: "X-Sig", Content: "{timestamp}.{body}"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewStandard(parse(t, goodSecret, otherSecret))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		msg := Message{EventID: fmt.Sprint(i), Timestamp: time.Unix(int64(i), 0), Body: []byte(strings.Repeat("x", i))}
		for _, signer := range []Signer{h, s} {
			want := headers(signer, msg)
			wg.Go(func() {
				for range 200 {
					if got := headers(signer, msg); !maps.Equal(got, want) {
						t.Errorf("got %v, want %v", got, want)
						return
					}
				}
			})
		}
	}
	wg.Wait()
}

func TestNewHMACRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		options HMACOptions
		want    string
	}{
		{"no header", HMACOptions{}, "no header"},
		{"bad header", HMACOptions{Header: "X Sig"}, "not the name of a header"},
		{"header with a line break", HMACOptions{Header: "X\r\nSig"}, "not the name of a header"},
		{"framing", HMACOptions{Header: "content-length"}, "cannot carry"},
		{"hop by hop", HMACOptions{Header: "te"}, "cannot carry"},
		{"repeats requests", HMACOptions{Header: "idempotency-key"}, "cannot carry"},
		{"algorithm", HMACOptions{Header: "X", Algorithm: "md5"}, `unknown algorithm "md5"`},
		{"encoding", HMACOptions{Header: "X", Encoding: "HEX"}, `unknown encoding "HEX"`},
		{"value without sig", HMACOptions{Header: "X", Value: "sha256="}, "must have {sig} once"},
		{"value with two", HMACOptions{Header: "X", Value: "{sig}{sig}"}, "must have {sig} once"},
		{"value with body", HMACOptions{Header: "X", Value: "{sig}{body}"}, "unknown name {body}"},
		{"value with a line break", HMACOptions{Header: "X", Value: "a\n{sig}"}, "no header may hold"},
		{"value with a space at the end", HMACOptions{Header: "X", Value: "{sig} "}, "a space at an end"},
		{"content without body", HMACOptions{Header: "X", Content: "{timestamp}"}, "must have {body} once"},
		{"content with a stranger", HMACOptions{Header: "X", Content: "{body}{url}"}, "unknown name {url}; it may have {body}, {timestamp}, {id}"},
		{"open brace", HMACOptions{Header: "X", Content: "{body}{"}, "brace without its partner"},
		{"closing brace", HMACOptions{Header: "X", Content: "}{body}"}, "brace without its partner"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := NewHMAC(parse(t, goodSecret), test.options)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestSignersNeedSecrets(t *testing.T) {
	t.Parallel()
	for _, secrets := range [][]Secret{nil, {{}}, {parse(t, goodSecret)[0], {}}} {
		if _, err := NewHMAC(secrets, HMACOptions{Header: "X"}); err == nil {
			t.Error("got an hmac signer without a secret")
		}
		if _, err := NewStandard(secrets); err == nil {
			t.Error("got a standard signer without a secret")
		}
	}
}

func TestNewStandardNeedsBase64AfterItsPrefix(t *testing.T) {
	t.Parallel()
	text := "whsec_test_secret_do_not_use"
	_, err := NewStandard([]Secret{parse(t, goodSecret)[0], {text: &text}})
	if err == nil || !strings.Contains(err.Error(), "secret 2 must have padded base64") {
		t.Errorf("got error %v, want one about secret 2", err)
	}
	if err != nil && strings.Contains(err.Error(), text[len("whsec_"):]) {
		t.Errorf("error %v holds the secret", err)
	}
}

func BenchmarkSign(b *testing.B) {
	body := []byte(`{"id":"e","type":"version.promoted","data":{"x":"` + strings.Repeat("x", 540) + `"},"metadata":{}}`)
	msg := Message{EventID: "wh_evt_01j9zc3v5k8m2n4p6q7r", Timestamp: time.Unix(1700000000, 0), Body: body}
	h, err := NewHMAC(parse(b, otherSecret), HMACOptions{Header: "X-Sig"})
	if err != nil {
		b.Fatal(err)
	}
	templated, err := NewHMAC(parse(b, otherSecret), HMACOptions{Header: "X-Sig", Value: "t={timestamp},v1={sig}", Content: "{timestamp}.{body}"})
	if err != nil {
		b.Fatal(err)
	}
	s, err := NewStandard(parse(b, otherSecret))
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name   string
		signer Signer
	}{{"hmac", h}, {"hmac-templates", templated}, {"standard", s}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bench.signer.Sign(msg, func(string, string) {})
			}
		})
	}
}
