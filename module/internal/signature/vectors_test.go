package signature

import (
	"encoding/json"
	"os"
	"testing"
	"time"
)

// vector is a published or independently computed signature. Those of peers
// that sign otherwise than we do by default are expressed with options.
type vector struct {
	Name, Source                                string
	Secret                                      string
	Scheme, Algorithm, Encoding, Value, Content string
	ID, Body, Expect                            string
	Timestamp                                   int64
}

// vectors reads a file of vectors.
func vectors(t *testing.T, name string) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatalf("%s has no vectors", name)
	}
	return all
}

// signer makes the vector's signer, and names the header of the signature. It
// takes secrets shorter than ParseSecret would, as the peers' tests do.
func (v vector) signer() (s Signer, header string, err error) {
	secrets := []Secret{{text: &v.Secret}}
	switch v.Scheme {
	case "standard":
		s, err = NewStandard(secrets)
		return s, "Webhook-Signature", err
	case "ed25519":
		s, err = NewEd25519(secrets)
		return s, "Webhook-Signature", err
	case "github":
		s, err = NewGitHub(secrets)
		return s, "X-Hub-Signature-256", err
	case "stripe":
		s, err = NewStripe(secrets, "Stripe-Signature")
		return s, "Stripe-Signature", err
	default:
		s, err = NewHMAC(secrets, HMACOptions{
			Header: "X-Signature", Algorithm: v.Algorithm, Encoding: v.Encoding, Value: v.Value, Content: v.Content,
		})
		return s, "X-Signature", err
	}
}

// headers signs and returns what was set.
func headers(s Signer, msg Message) map[string]string {
	got := map[string]string{}
	s.Sign(msg, func(name, value string) { got[name] = value })
	return got
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"signatures.json", "js-stable.json"} {
		for _, v := range vectors(t, file) {
			t.Run(file+"/"+v.Name, func(t *testing.T) {
				t.Parallel()
				s, header, err := v.signer()
				if err != nil {
					t.Fatal(err)
				}
				msg := Message{EventID: v.ID, Timestamp: time.Unix(v.Timestamp, 999_999_999), Body: []byte(v.Body)}
				for range 3 { // the second and third from a state that was used
					if got := headers(s, msg)[header]; got != v.Expect {
						t.Fatalf("got %s, want %s", got, v.Expect)
					}
				}
			})
		}
	}
}
