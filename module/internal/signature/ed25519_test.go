package signature

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"maps"
	"strings"
	"testing"
	"time"
)

// Two private keys: seed and public key, and the seed alone.
const (
	privateKey      = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	otherPrivateKey = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
)

func TestParsePrivateKey(t *testing.T) {
	t.Parallel()
	whsk := func(key []byte) string { return "whsk_" + base64.StdEncoding.EncodeToString(key) }
	seed := []byte("\x9da\xb1\x9d\xef\xfdZ`\xba\x84J\xf4\x92\xec,\xc4DI\xc5i{2i\x19p;\xac\x03\x1c\xae\x7f`")
	pair := ed25519.NewKeyFromSeed(seed)
	wrong := bytes.Clone(pair)
	wrong[ed25519.SeedSize] ^= 1
	for _, test := range []struct{ name, in, want string }{
		{"seed", whsk(seed), ""},
		{"seed and public key", whsk(pair), ""},
		{"31 bytes", whsk(seed[:31]), "base64 of 32 or 64 bytes after \"whsk_\", not of 31"},
		{"33 bytes", whsk(pair[:33]), "not of 33"},
		{"63 bytes", whsk(pair[:63]), "not of 63"},
		{"65 bytes", whsk(append(bytes.Clone(pair), 0)), "not of 65"},
		{"nothing", "whsk_", "has 5 bytes"},
		{"unpadded", strings.TrimRight(whsk(seed), "="), `padded base64 after "whsk_"`},
		{"base64 of URLs", strings.NewReplacer("/", "_", "+", "-").Replace(whsk(seed)), `padded base64 after "whsk_"`},
		{"another's public key", whsk(wrong), "a public key that does not belong to its private key"},
		{"zeros", whsk(make([]byte, 32)), "stand-in"},
		{"words", whsk([]byte("this-is-my-secret-webhook-key-00")), "stand-in"},
		{"unresolved", "whsk_{env.WEBHOOK_KEY}", "was not resolved"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, err := ParseSecret(test.in)
			if test.want == "" {
				if err != nil || !s.IsPrivateKey() || s.Warning() != "" {
					t.Fatalf("got error %v, private %t and warning %q, want a private key", err, s.IsPrivateKey(), s.Warning())
				}
				key, err := s.PrivateKey()
				if err != nil || !key.Equal(pair) {
					t.Errorf("got error %v or another key", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got error %v, want one with %q", err, test.want)
			}
			if payload := strings.TrimPrefix(test.in, "whsk_"); len(payload) > 8 && strings.Contains(err.Error(), payload[:8]) {
				t.Errorf("error %v holds a part of the key", err)
			}
		})
	}
}

func TestEd25519SignsWithAllKeys(t *testing.T) {
	t.Parallel()
	msg := Message{EventID: "evt_1", Timestamp: time.Unix(1700000000, 999), Body: []byte("{}")}
	keys := parse(t, privateKey, otherPrivateKey)
	s, err := NewEd25519(keys)
	if err != nil {
		t.Fatal(err)
	}
	got := headers(s, msg)
	signatures := strings.Split(got["Webhook-Signature"], " ")
	if len(signatures) != len(keys) || got["Webhook-Id"] != "evt_1" || got["Webhook-Timestamp"] != "1700000000" {
		t.Fatalf("got %v, want %d signatures", got, len(keys))
	}
	for i, key := range keys {
		private, err := key.PrivateKey()
		if err != nil {
			t.Fatal(err)
		}
		text, ok := strings.CutPrefix(signatures[i], "v1a,")
		sig, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil {
			t.Fatalf("got %s, want v1a, and base64", signatures[i])
		}
		public := private.Public().(ed25519.PublicKey)
		if !ed25519.Verify(public, []byte("evt_1.1700000000.{}"), sig) {
			t.Errorf("signature %d does not verify", i+1)
		}
		if ed25519.Verify(public, []byte("evt_1.1700000000.{ }"), sig) {
			t.Errorf("signature %d verifies another body", i+1)
		}
	}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	msg := Message{EventID: "evt_1", Timestamp: time.Unix(1700000000, 0), Body: []byte("{}")}
	all := signers(t)
	want := headers(all["standard"], msg)
	want["Webhook-Signature"] += " " + headers(all["ed25519"], msg)["Webhook-Signature"]
	for _, order := range [][]string{{"standard", "ed25519"}, {"ed25519", "standard"}, {"standard", "hmac", "ed25519"}} {
		var joined []Signer
		for _, name := range order {
			joined = Join(joined, all[name])
		}
		if len(joined) != len(order)-1 {
			t.Fatalf("got %d signers of %q, want the two schemes of Standard Webhooks to be one", len(joined), order)
		}
		if got := headers(joined[0], msg); !maps.Equal(got, want) {
			t.Errorf("got %v of %q, want %v", got, order, want)
		}
	}
	for _, apart := range [][]string{
		{"standard", "standard"},
		{"ed25519", "ed25519"},
		{"standard and ed25519", "ed25519"},
		{"standard and ed25519", "standard"},
		{"hmac", "stripe", "github", "standard"},
	} {
		var joined []Signer
		for _, name := range apart {
			joined = Join(joined, all[name])
		}
		if len(joined) != len(apart) {
			t.Errorf("got %d signers of %q, want each apart", len(joined), apart)
		}
	}
	if len(headers(all["standard"], msg)["Webhook-Signature"]) != 2*47+1 {
		t.Error("got another signer after it was joined, want it unchanged")
	}
}
