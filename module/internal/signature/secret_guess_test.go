package signature

import (
	"encoding/base64"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestStandIns holds that what people write where a secret should be is
// refused, also when it was made longer until the length would do.
func TestStandIns(t *testing.T) {
	t.Parallel()
	standard := func(key string) string { return "whsec_" + base64.StdEncoding.EncodeToString([]byte(key)) }
	for _, text := range []string{
		"secretsecretsecret", "changeme-changeme", "testtesttesttest", "test-test-test-test", "passwordpassword",
		"secret1234567890", "secret0000000000", "secret----------", "----------secret", "secret__________",
		"changeme12345678", "changeme!!!!!!!!", "CHANGEME_CHANGEME", "test000000000000", "testing123testing123",
		"mysecretkey12345", "my_super_secret_webhook_key", "your-webhook-secret-here", "some-random-string-value",
		"at-least-16-characters-long", "must be 16 bytes long", "placeholder-placeholder", "undefinedundefined", "todo: put secret here",
		"p@ssw0rd12345678", "s3cr3t-s3cr3t-s3cr3t", "S3cretS3cretS3cret!", "ch4ng3m3ch4ng3m3",
		"1234567890123456", "0123456789abcdef", "abcdefghijklmnop", "qwertyuiopasdfgh", "1q2w3e4r5t6y7u8i", "9876543210987654",
		"aaaaaaaaaaaaaaaa", "abababababababab", "abcabcabcabcabcabc", "xxxxxxxxtestxxxx",
		"hunter2hunter2hunter2", "foobarfoobarfoobar", "whsec_secret_whsec_secret",
		standard("secretsecretsecretsecret"), standard(strings.Repeat("\x00", 32)), standard("changemechangemechangeme"), standard("0123456789abcdef0123456789abcdef"),
	} {
		_, err := ParseSecret(text)
		if err == nil {
			t.Errorf("got no error for %q", text)
		} else if strings.Contains(err.Error(), text) {
			t.Errorf("error %v holds the secret", err)
		}
	}
}

// TestStandInsSpareSecrets holds that what generators make is accepted.
func TestStandInsSpareSecrets(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"8301749265501837", "5f2c9a1e7b3d4806", "correct horse battery staple", "It's a Secret to Everybody",
		"quickstart-only-not-secret", "acme-Vb7uq3Lw9sXe-secret", "пароль-Vb7uq3Lw9sXe",
	} {
		if _, err := ParseSecret(text); err != nil {
			t.Errorf("got error %v for %q, want none", err, text)
		}
	}
	r := rand.New(rand.NewPCG(4, 7))
	of := func(alphabet string) func() string {
		return func() string {
			b := make([]byte, 16)
			for i := range b {
				b[i] = alphabet[r.IntN(len(alphabet))]
			}
			return string(b)
		}
	}
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	const letters = "abcdefghijklmnopqrstuvwxyz"
	for name, generate := range map[string]func() string{
		"digits":   of("0123456789"),
		"letters":  of(letters),
		"symbols":  of(letters + strings.ToUpper(letters) + "0123456789!#%&()*+,-./:;=?@[]^_|~"),
		"hex":      func() string { return hex.EncodeToString(random(8)) },
		"base64":   func() string { return base64.StdEncoding.EncodeToString(random(12)) },
		"standard": func() string { return standardPrefix + base64.StdEncoding.EncodeToString(random(24)) },
	} {
		const tries, unlucky = 10_000, 2 // chance makes words and runs, too
		var taken []string
		for range tries {
			if text := generate(); standIn(text) {
				taken = append(taken, text)
			}
		}
		if len(taken) > unlucky {
			t.Errorf("%s: took %q for stand-ins, of %d secrets", name, taken, tries)
		}
	}
}

// TestUnresolvedPlaceholders holds that a placeholder which somebody else
// should have replaced is no secret.
func TestUnresolvedPlaceholders(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"{env.WEBHOOK_SECRET}", "x{file./run/secrets/acme}y", "{$WEBHOOK_SECRET}", "${WEBHOOK_SECRET}", "$WEBHOOK_SECRET_ACME",
		"{{ .Values.secret }}", "{{webhook_secret_here}}", "%WEBHOOK_SECRET%", "<your-shared-key-of-acme>", "$(cat /run/secrets/acme)",
		"env.WEBHOOK_SECRET", "file./run/secrets/acme", "{vars.webhook_secret}",
	} {
		_, err := ParseSecret(text)
		if err == nil || !strings.Contains(err.Error(), "was not resolved") {
			t.Errorf("got error %v for %q, want one that it was not resolved", err, text)
		}
	}
	for _, text := range []string{"Vb7uq3{Lw9}sXe2RkT{", "$2Vb7uq3Lw9sXe2RkT", "<Vb7uq3Lw9sXe2RkT", "%Vb7uq3Lw9sXe2RkT-x%", "environment-Vb7uq3Lw9"} {
		if _, err := ParseSecret(text); err != nil {
			t.Errorf("got error %v for %q, want none", err, text)
		}
	}
}
