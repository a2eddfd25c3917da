package signature

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestParseSecret(t *testing.T) {
	t.Parallel()
	standard := func(n int) string {
		key := make([]byte, n)
		for i := range key {
			key[i] = byte(i*i*31 + i*7 + 165)
		}
		return "whsec_" + base64.StdEncoding.EncodeToString(key)
	}
	for _, test := range []struct{ name, in, want string }{
		{"random text", goodSecret, ""},
		{"of 16 bytes", "Vb7uq3Lw9sXe2RkT", ""},
		{"not ASCII", "пароль-Vb7uq3Lw9sXe", ""},
		{"braces", "Vb7uq3{Lw9}sXe2RkT{", ""},
		{"digits", "8301749265501837", ""},
		{"hexadecimal", "5f2c9a1e7b3d4806", ""},
		{"space inside", "correct horse battery staple", ""},
		{"standard, 24 bytes", standard(24), ""},
		{"standard, 64 bytes", standard(64), ""},

		{"empty", "", "is empty"},
		{"short", "Vb7uq3Lw9sXe2Rk", "has 15 bytes; it must have at least 16"},
		{"long", strings.Repeat("Vb7uq3Lw", 513), "at most 4096"},
		{"NUL", goodSecret + "\x00" + goodSecret, "NUL"},
		{"line break inside", goodSecret + "\n" + goodSecret, "line break"},
		{"carriage return inside", goodSecret + "\r" + goodSecret, "line break"},
		{"line break at the end", goodSecret + "\n", "starts or ends with a space"},
		{"space in front", " " + goodSecret, "starts or ends with a space"},
		{"no-break space at the end", goodSecret + "\u00a0", "starts or ends with a space"},
		{"only spaces", "                    ", "starts or ends with a space"},
		{"unresolved environment", "{env.WEBHOOK_SECRET}", "was not resolved"},
		{"unresolved file", "x{file./run/secrets/acme}", "was not resolved"},
		{"unresolved at parse time", "{$WEBHOOK_SECRET}", "was not resolved"},
		{"standard, 23 bytes", standard(23), "base64 of 24 to 64 bytes"},
		{"standard, 65 bytes", standard(65), "base64 of 24 to 64 bytes"},
		{"standard, not base64", "whsec_Vb7uq3Lw9sXe2RkTzY5nQd8c_Vb7uq3Lw", "padded base64"},
		{"standard, unpadded", strings.TrimRight(standard(25), "="), "padded base64"},
		{"public key", "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", "is a public key"},
		{"stand-in", "changemechangeme", "stand-in"},
		{"stand-in words", "Your-Webhook_SECRET-here", "stand-in"},
		{"stand-in with digits", "my-secret-password-123", "stand-in"},
		{"one character", "xxxxxxxxxxxxxxxxxxxx", "stand-in"},
		{"one digit", "0000000000000000", "stand-in"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, err := ParseSecret(test.in)
			if test.want == "" {
				if err != nil || s.IsZero() {
					t.Errorf("got error %v, want none", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got error %v, want one with %q", err, test.want)
			}
			for i := 0; i+8 <= len(test.in); i++ {
				if strings.Contains(err.Error(), test.in[i:i+8]) {
					t.Fatalf("error %v holds a part of the secret", err)
				}
			}
			if !s.IsZero() {
				t.Error("got a secret with the error")
			}
		})
	}
}

func TestShortSecretWarns(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		goodSecret[:23]: "secret has 23 bytes; 24 or more are better",
		goodSecret:      "",
	} {
		if got := parse(t, text)[0].Warning(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSecretIsRedacted(t *testing.T) {
	t.Parallel()
	type holder struct {
		Secret   Secret
		Pointer  *Secret
		Secrets  []Secret
		ByName   map[string]Secret
		Anything any
		hidden   Secret
		hiddenIn []Secret
	}
	s := parse(t, goodSecret)[0]
	h := holder{s, &s, []Secret{s}, map[string]Secret{"a": s}, s, s, []Secret{s}}
	var out bytes.Buffer
	for _, verb := range []string{
		"%v", "%+v", "%#v", "%T", "%s", "%30s", "%-30.3s", "%q", "%+q", "%#q", "%x", "%X", "% x", "%#x", "%d", "%08d", "%o", "%b", "%c", "%U", "%e", "%g", "%t", "%p", "%!", "%z",
	} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", h)
		fmt.Fprintf(&out, verb+"\n", &h)
	}
	fmt.Fprintln(&out, s.String(), s.GoString(), fmt.Errorf("x: %v", s))
	for _, v := range []any{s, h, map[string]any{"s": s}} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
	}
	text, _ := s.MarshalText()
	out.Write(text)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "s", s, "h", h)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "s", s, "h", h)

	// The forms in which a byte slice is printed by default.
	for _, leak := range []string{
		goodSecret, fmt.Sprintf("%x", goodSecret), fmt.Sprintf("%X", goodSecret),
		fmt.Sprintf("%d", []byte(goodSecret)), base64.StdEncoding.EncodeToString([]byte(goodSecret)), "0x56, 0x62",
	} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("output holds the secret as %q", leak)
		}
	}
	if n := strings.Count(out.String(), redacted); n < 20 {
		t.Errorf("got %d redactions, want each place to have one:\n%s", n, out.String())
	}
}

func FuzzParseTemplate(f *testing.F) {
	f.Add("t={timestamp},v1={sig}")
	f.Add("{{sig}}")
	f.Fuzz(func(t *testing.T, template string) {
		parts, err := parseTemplate(template, nameSig, nameTimestamp)
		if err != nil {
			return
		}
		var again strings.Builder
		for _, p := range parts {
			if p.name != "" {
				again.WriteString("{" + p.name + "}")
			}
			again.WriteString(p.text)
		}
		if again.String() != template {
			t.Errorf("got %q, want %q", again.String(), template)
		}
	})
}
