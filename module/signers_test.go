package module

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Secrets for tests, beside testSecret: the private key of a test vector, and
// that of RFC 8032, section 7.1, test 1.
const (
	testOldSecret = "kJ6Zr0n2Q8vXw4Tt1Lb5canary"
	testKey       = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	testOldKey    = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
)

func setSigningSecrets(t *testing.T) {
	t.Helper()
	t.Setenv("SECRET", testSecret)
	t.Setenv("OLD_SECRET", testOldSecret)
	t.Setenv("KEY", testKey)
	t.Setenv("OLD_KEY", testOldKey)
}

// signing is the configuration of one endpoint.
func signing(secrets, rest string) string {
	var quoted []string
	for name := range strings.FieldsSeq(secrets) {
		quoted = append(quoted, fmt.Sprintf("%q", "{env."+name+"}"))
	}
	return fmt.Sprintf(`{"endpoints":{"acme":{"url":"https://example.com","secret":[%s]%s}}}`, strings.Join(quoted, ","), rest)
}

// schemes is the option sign.
func schemes(names string) string {
	var all []string
	for name := range strings.FieldsSeq(names) {
		all = append(all, fmt.Sprintf(`{"scheme":%q}`, name))
	}
	return `,"sign":[` + strings.Join(all, ",") + `]`
}

func TestSchemes(t *testing.T) {
	t.Parallel()
	var got []string
	for _, m := range caddy.GetModules("webhooks.signers") {
		got = append(got, m.ID.Name())
	}
	if want := []string{"ed25519", "github", "hmac", "standard", "stripe"}; !slices.Equal(got, want) {
		t.Errorf("got schemes %q, want %q", got, want)
	}
}

// TestSecretsSignBySchemesOfTheirKind says for secrets and schemes how many
// signatures there are in each header.
func TestSecretsSignBySchemesOfTheirKind(t *testing.T) {
	setSigningSecrets(t)
	const hmac, standard, github, stripe = "X-Webhook-Signature", "Webhook-Signature", "X-Hub-Signature-256", "Stripe-Signature"
	type count map[string]int // by the header and the version of its signatures
	for _, tc := range []struct {
		secrets, schemes string
		want             count
	}{
		{"SECRET", "", count{hmac: 1, standard + " v1": 1}},
		{"SECRET OLD_SECRET", "", count{hmac: 1, standard + " v1": 2}},
		{"KEY", "", count{standard + " v1a": 1}},
		{"KEY OLD_KEY", "", count{standard + " v1a": 2}},
		{"SECRET KEY", "", count{hmac: 1, standard + " v1": 1, standard + " v1a": 1}},
		{"OLD_KEY SECRET KEY OLD_SECRET", "", count{hmac: 1, standard + " v1": 2, standard + " v1a": 2}},
		{"SECRET", "standard", count{standard + " v1": 1}},
		{"KEY", "ed25519", count{standard + " v1a": 1}},
		{"SECRET KEY", "standard ed25519", count{standard + " v1": 1, standard + " v1a": 1}},
		{"SECRET KEY", "ed25519 standard", count{standard + " v1": 1, standard + " v1a": 1}},
		{"SECRET OLD_SECRET", "github", count{github: 1}},
		{"SECRET", "stripe", count{stripe + " v1": 1}},
		{"SECRET OLD_SECRET", "stripe", count{stripe + " v1": 2}},
		{"KEY SECRET OLD_SECRET", "stripe ed25519 github hmac standard", count{
			stripe + " v1": 2, github: 1, hmac: 1, standard + " v1": 2, standard + " v1a": 1,
		}},
	} {
		t.Run(tc.secrets+" by "+tc.schemes, func(t *testing.T) {
			option := ""
			if tc.schemes != "" {
				option = schemes(tc.schemes)
			}
			s, logs := mustBuild(t, signing(tc.secrets, option))
			got := count{}
			for name, values := range signAll(s.Endpoints["acme"].Signers) {
				for value := range strings.FieldsSeq(strings.Join(values, " ")) {
					switch name {
					case hmac, github:
						got[name]++
					case standard:
						version, _, _ := strings.Cut(value, ",")
						got[name+" "+version]++
					case stripe:
						got[name+" v1"] += strings.Count(value, ",v1=")
					}
				}
			}
			if !maps.Equal(got, tc.want) {
				t.Errorf("got signatures %v, want %v", got, tc.want)
			}
			if logs.Len() > 0 {
				t.Errorf("got log entries %v, want none", logs.All())
			}
		})
	}
}

// signAll signs a message. A header that is set twice has two values.
func signAll(signers []Signer) http.Header {
	header := http.Header{}
	for _, s := range signers {
		s.Sign(SigningMessage{EventID: "wh_evt_1", Timestamp: time.Unix(1700000000, 0), Body: []byte("{}")}, header.Add)
	}
	return header
}

// TestOneValueIsOfTheFirstSecret holds that the place of a private key among
// the secrets does not matter to the schemes with one value.
func TestOneValueIsOfTheFirstSecret(t *testing.T) {
	setSigningSecrets(t)
	for _, scheme := range []string{"hmac", "github"} {
		var values []string
		for _, config := range []string{
			signing("SECRET", schemes(scheme)),
			signing("SECRET OLD_SECRET", schemes(scheme)),
			signing("KEY SECRET OLD_SECRET", schemes(scheme+" ed25519")),
		} {
			s, _ := mustBuild(t, config)
			signer := s.Endpoints["acme"].Signers[0]
			values = append(values, signAll([]Signer{signer}).Get(signer.Headers()[0]))
		}
		if len(slices.Compact(slices.Clone(values))) != 1 || values[0] == "" {
			t.Errorf("%s: got %q, want one value", scheme, values)
		}
	}
}

func TestMistakesInSigning(t *testing.T) {
	setSigningSecrets(t)
	t.Setenv("BAD_KEY", "whsk_canarycanarycanarycanary")
	const (
		unusedKey    = `endpoint acme: sign: no scheme signs with the secret that starts with "whsk_": add ed25519`
		unusedShared = `endpoint acme: sign: no scheme signs with the secret that does not start with "whsk_": add standard`
	)
	for name, tc := range map[string]struct{ config, want string }{
		"hmac with a key":              {signing("KEY", schemes("hmac")), "endpoint acme: sign: hmac: needs a shared secret"},
		"github with a key":            {signing("KEY", schemes("github")), "endpoint acme: sign: github: needs a shared secret"},
		"stripe with a key":            {signing("KEY", schemes("stripe")), "endpoint acme: sign: stripe: needs a shared secret"},
		"standard with a key":          {signing("KEY", schemes("standard")), "endpoint acme: sign: standard: needs a shared secret"},
		"ed25519 with a shared secret": {signing("SECRET", schemes("ed25519")), `endpoint acme: sign: ed25519: needs a private key, a secret that starts with "whsk_"`},
		"ed25519 without":              {signing("", schemes("ed25519")), "endpoint acme: sign: ed25519: needs a private key"},
		"unused key":                   {signing("SECRET KEY", schemes("standard stripe")), unusedKey},
		"unused shared secret":         {signing("KEY SECRET", schemes("ed25519")), unusedShared},
		"bad key":                      {signing("BAD_KEY", ""), `endpoint acme: secret: {env.BAD_KEY}: secret must have base64 of 32 or 64 bytes after "whsk_", not of 18`},
		"standard twice":               {signing("SECRET", schemes("standard hmac standard")), "two signatures want the header Webhook-Id"},
		"ed25519 twice":                {signing("SECRET KEY", schemes("ed25519 standard ed25519")), "two signatures want the header Webhook-Id"},
		"stripe twice":                 {signing("SECRET", schemes("stripe github stripe")), "two signatures want the header Stripe-Signature"},
		"github by hmac, too":          {signing("SECRET", `,"sign":[{"scheme":"github"},{"scheme":"hmac","header":"x-hub-signature-256"}]`), "two signatures want the header X-Hub-Signature-256"},
		"stripe's header":              {signing("SECRET", `,"sign":[{"scheme":"stripe","header":"Content-Length"}]`), "header Content-Length cannot carry a signature"},
		"stripe in our header":         {signing("SECRET", `,"sign":[{"scheme":"stripe","header":"x-webhook-event"}]`), "header X-Webhook-Event cannot carry a signature"},
		"github's header is set":       {signing("SECRET", schemes("github")+`,"header":{"X-Hub-Signature-256":["1"]}`), "header X-Hub-Signature-256 carries a signature, but"},
		"unknown option":               {signing("SECRET", `,"sign":[{"scheme":"github","header":"X"}]`), "unknown field"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := build(t, tc.config)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got error %v, want one with %q", err, tc.want)
			}
			for _, value := range []string{testSecret[6:], testKey[5:], "canary"} {
				if strings.Contains(err.Error(), value) {
					t.Errorf("got error %v, which shows a value", err)
				}
			}
		})
	}
}

// TestUnsignedOnPurpose holds that an endpoint may be left unsigned by an empty
// list, whatever secrets it gets from defaults.
func TestUnsignedOnPurpose(t *testing.T) {
	setSigningSecrets(t)
	s, _ := mustBuild(t, `{"defaults":{"secret":["{env.SECRET}","{env.KEY}"]},"endpoints":{
		"acme":{"url":"https://example.com","sign":[]}, "other":{"url":"https://example.com"}}}`)
	if got := len(s.Endpoints["acme"].Signers); got != 0 {
		t.Errorf("got %d signers, want none", got)
	}
	if got := len(s.Endpoints["other"].Signers); got != 2 {
		t.Errorf("got %d signers, want hmac, and the two of Standard Webhooks as one", got)
	}
}
