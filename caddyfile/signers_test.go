package caddyfile

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// TestSchemesValidate adapts and validates every scheme that a Caddyfile can
// name, alone and together, with secrets from the environment.
func TestSchemesValidate(t *testing.T) {
	t.Setenv("TEST_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	t.Setenv("TEST_OLD_SECRET", "kJ6Zr0n2Q8vXw4Tt1Lb5canary")
	t.Setenv("TEST_KEY", "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
	t.Setenv("TEST_PUBLIC_KEY", "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=")
	for name, tc := range map[string]struct{ options, want string }{
		"no scheme":      {"secret {env.TEST_SECRET} {env.TEST_KEY}", ""},
		"ed25519":        {"secret {env.TEST_KEY}\nsign ed25519", ""},
		"github":         {"secret {env.TEST_SECRET}\nsign github", ""},
		"stripe":         {"secret {env.TEST_SECRET} {env.TEST_OLD_SECRET}\nsign stripe", ""},
		"stripe, header": {"secret {env.TEST_SECRET}\nsign stripe X-Acme-Signature", ""},
		"all": {"secret {env.TEST_KEY} {env.TEST_SECRET} {env.TEST_OLD_SECRET}\n" +
			"sign hmac\nsign standard\nsign ed25519\nsign github\nsign stripe\nsign stripe X-Acme-Signature", ""},

		"key for github":    {"secret {env.TEST_KEY}\nsign github", "endpoint acme: sign: github: needs a shared secret"},
		"secret of ed25519": {"secret {env.TEST_SECRET}\nsign ed25519", "endpoint acme: sign: ed25519: needs a private key"},
		"public key":        {"secret {env.TEST_PUBLIC_KEY}\nsign ed25519", "endpoint acme: secret: {env.TEST_PUBLIC_KEY}: secret is a public key"},
		"key left over":     {"secret {env.TEST_SECRET} {env.TEST_KEY}\nsign standard", "endpoint acme: sign: no scheme signs with the secret that starts"},
		"same header":       {"secret {env.TEST_SECRET}\nsign stripe\nsign stripe", "endpoint acme: sign: two signatures want the header Stripe-Signature"},
	} {
		t.Run(name, func(t *testing.T) {
			input := caddyfile.Format([]byte("{\nadmin off\npersist_config off\nwebhooks {\nendpoint acme https://example.com {\n" + tc.options + "\n}\n}\n}\n"))
			err := validate(adapt(string(input)))
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("got error %v, want none", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got error %v, want one with %q", err, tc.want)
			}
		})
	}
}
