package signer

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/promptreports/caddy-webhooks"
	"github.com/promptreports/caddy-webhooks/module"
)

const newSecret, oldSecret = "Vb7uq3Lw9sXe2RkTzY5nQd8c", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func TestSign(t *testing.T) {
	t.Parallel()
	options := module.SignerOptions{HeaderPrefix: "X-Acme"}
	for _, text := range []string{newSecret, oldSecret} {
		secret, err := module.ParseSecret(text)
		if err != nil {
			t.Fatal(err)
		}
		options.Secrets = append(options.Secrets, secret)
	}
	s, err := (&Keyed{KeyIDs: []string{"new", "old"}}).NewSigner(options)
	if err != nil {
		t.Fatal(err)
	}
	msg := module.SigningMessage{EventID: "wh_evt_1", Timestamp: time.Unix(1700000000, 0), Body: []byte("{}")}
	got := map[string]string{}
	s.Sign(msg, func(name, value string) { got[name] = value })

	// printf 1700000000.wh_evt_1.{} | openssl dgst -sha512 -hmac <secret> -binary | base64 -w0
	want := "t=1700000000" +
		",new=13lLjenZqTm5ecrYPHW1jDBnCOj8mgAAsIp2BSM0mVDhL/d3Ru/8z5WOwinOKvJyXTj2UI6SUSmERAINdFhDDg==" +
		",old=b0NQNG5DrER3p7AANgrH0uGtC/p+hP469zqsypGTKQV8c224LCtNkM/eNQXikW1bNOgxkwdjcuB3ZK4iHoKRag=="
	if value := got["X-Acme-Signature"]; len(got) != 1 || value != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// TestCaddyfile builds the configuration that the example has.
func TestCaddyfile(t *testing.T) {
	t.Setenv("ACME_WEBHOOK_SECRET", newSecret)
	t.Setenv("WEBHOOK_SECRET", oldSecret)
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	text, err := os.ReadFile("Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, old, new, want string }{
		{"as it is", "", "", ""},
		{"an id too few", "2026-02 2025-11", "2026-02", "endpoint acme: sign: keyed: has 1 key_ids for 2 secrets"},
		{"a bad id", "2026-02", "2026=02", `endpoint acme: sign: keyed: key id "2026=02" has other than`},
		{"a bad header", "X-Acme-Signature", `"X Acme"`, `endpoint acme: sign: "X Acme" is not the name of a header`},
		{"an option that is none", "key_ids", "keys", "unknown option 'keys' of sign keyed; it knows key_ids"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := validate(strings.Replace(string(text), tc.old, tc.new, 1))
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("got error %v, want none", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func validate(text string) error {
	raw, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		return err
	}
	config := new(caddy.Config)
	if err := json.Unmarshal(raw, config); err != nil {
		return err
	}
	return caddy.Validate(config)
}
