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

// signers makes one signer of each scheme.
func signers(tb testing.TB) map[string]Signer {
	tb.Helper()
	shared, private := parse(tb, goodSecret, otherSecret), parse(tb, privateKey, otherPrivateKey)
	all := map[string]Signer{}
	for name, scheme := range map[string]func() (Signer, error){
		"hmac": func() (Signer, error) {
			return NewHMAC(shared, HMACOptions{Header: "x-sig", Content: "{timestamp}.{body}"})
		},
		"github":   func() (Signer, error) { return NewGitHub(shared) },
		"stripe":   func() (Signer, error) { return NewStripe(shared, "stripe-signature") },
		"standard": func() (Signer, error) { return NewStandard(shared) },
		"ed25519":  func() (Signer, error) { return NewEd25519(private) },
	} {
		s, err := scheme()
		if err != nil {
			tb.Fatal(err)
		}
		all[name] = s
	}
	all["standard and ed25519"] = Join([]Signer{all["standard"]}, all["ed25519"])[0]
	return all
}

func TestHeadersAreThoseThatSignSets(t *testing.T) {
	t.Parallel()
	for name, signer := range signers(t) {
		got := slices.Sorted(maps.Keys(headers(signer, Message{})))
		if want := slices.Sorted(slices.Values(signer.Headers())); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestSignConcurrently(t *testing.T) {
	t.Parallel()
	all := signers(t)
	var wg sync.WaitGroup
	for i := range 8 {
		msg := Message{EventID: fmt.Sprint(i), Timestamp: time.Unix(int64(i), 0), Body: []byte(strings.Repeat("x", i))}
		for name, signer := range all {
			want := headers(signer, msg)
			wg.Go(func() {
				for range 30 {
					if got := headers(signer, msg); !maps.Equal(got, want) {
						t.Errorf("%s: got %v, want %v", name, got, want)
						return
					}
				}
			})
		}
	}
	wg.Wait()
}

// TestPrintedSignersHoldNoKey prints signers as a debugger's log would.
func TestPrintedSignersHoldNoKey(t *testing.T) {
	t.Parallel()
	key, err := parse(t, privateKey)[0].PrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, signer := range signers(t) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%d"} {
			got := fmt.Sprintf(verb, signer)
			for _, leak := range []string{goodSecret, otherSecret, privateKey, fmt.Sprintf("%x", key[:8]), "233 118 255 116"} {
				if strings.Contains(got, leak) {
					t.Errorf("%s printed with %s holds a key: %s", name, verb, got)
				}
			}
		}
	}
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

// TestSignersNeedSecretsOfTheirKind holds that no key signs by a scheme of the
// other kind.
func TestSignersNeedSecretsOfTheirKind(t *testing.T) {
	t.Parallel()
	shared, private := parse(t, goodSecret)[0], parse(t, privateKey)[0]
	for name, scheme := range map[string]func(secrets []Secret) (Signer, error){
		"hmac":     func(secrets []Secret) (Signer, error) { return NewHMAC(secrets, HMACOptions{Header: "X"}) },
		"github":   NewGitHub,
		"stripe":   func(secrets []Secret) (Signer, error) { return NewStripe(secrets, "X") },
		"standard": NewStandard,
		"ed25519":  NewEd25519,
	} {
		right, wrong := shared, private
		if name == "ed25519" {
			right, wrong = private, shared
		}
		if _, err := scheme([]Secret{right}); err != nil {
			t.Errorf("%s: got error %v, want none", name, err)
		}
		for _, secrets := range [][]Secret{nil, {{}}, {right, {}}, {wrong}, {right, wrong}} {
			if _, err := scheme(secrets); err == nil {
				t.Errorf("%s: got a signer of %d secrets, want an error", name, len(secrets))
			}
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
	for _, bench := range []struct {
		name   string
		scheme func() (Signer, error)
	}{
		{"hmac", func() (Signer, error) { return NewHMAC(parse(b, otherSecret), HMACOptions{Header: "X-Sig"}) }},
		{"hmac-templates", func() (Signer, error) {
			return NewHMAC(parse(b, otherSecret), HMACOptions{Header: "X-Sig", Value: "t={timestamp},v1={sig}", Content: "{timestamp}.{body}"})
		}},
		{"stripe", func() (Signer, error) { return NewStripe(parse(b, otherSecret), "X-Sig") }},
		{"standard", func() (Signer, error) { return NewStandard(parse(b, otherSecret)) }},
		{"ed25519", func() (Signer, error) { return NewEd25519(parse(b, privateKey)) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			signer, err := bench.scheme()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				signer.Sign(msg, func(string, string) {})
			}
		})
	}
}
