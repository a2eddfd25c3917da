package egress

import (
	"strings"
	"testing"
)

func TestCheckURL(t *testing.T) {
	t.Parallel()
	tests := []struct {
		raw, want string // an empty want is a refusal
		policy    *Policy
	}{
		{raw: "https://example.com/hooks?a=b", want: "https://example.com/hooks?a=b"},
		{raw: "HTTPS://EXAMPLE.com.:8443/Hooks", want: "https://example.com:8443/Hooks"},
		{raw: "https://bücher.example/", want: "https://xn--bcher-kva.example/"},
		{raw: "https://xn--bcher-kva.example/", want: "https://xn--bcher-kva.example/"},
		{raw: "https://8.8.8.8/", want: "https://8.8.8.8/"},
		{raw: "https://[2606:4700::1111]:8443/", want: "https://[2606:4700::1111]:8443/"},
		{raw: "https://my_service/", want: "https://my_service/"},
		{raw: "https://example.com:0443/", want: "https://example.com:443/"},
		{raw: "http://localhost:3000/hooks", want: "http://localhost:3000/hooks"},
		{raw: "http://LOCALHOST./", want: "http://localhost/"},
		{raw: "http://127.0.0.1:3000", want: "http://127.0.0.1:3000"},
		{raw: "http://127.0.0.1./", want: "http://127.0.0.1/"},
		{raw: "http://192.168.1.9/", want: "http://192.168.1.9/"},
		{raw: "http://[::1]:3000/", want: "http://[::1]:3000/"},
		{raw: "http://[fd00::1]/", want: "http://[fd00::1]/"},
		{raw: "http://example.com/", policy: &Policy{AllowHTTP: true}, want: "http://example.com/"},
		{raw: "https://169.254.169.254/", policy: &Policy{Allow: prefixes("169.254.169.254/32")}, want: "https://169.254.169.254/"},
		{raw: "https://" + strings.Repeat("a", 63) + ".example/", want: "https://" + strings.Repeat("a", 63) + ".example/"},
		{raw: "https://h/" + strings.Repeat("p", maxURL-10), want: "https://h/" + strings.Repeat("p", maxURL-10)},

		{raw: ""},
		{raw: "example.com/hooks"},
		{raw: "/hooks"},
		{raw: "//example.com/"},
		{raw: "ftp://example.com/"},
		{raw: "https:example.com"},
		{raw: "https:///hooks"},
		{raw: "https://user@example.com/"},
		{raw: "https://user:hunter2@example.com/"},
		{raw: "https://@example.com/"},
		{raw: "https://example.com/#f"},
		{raw: "https://example.com/#"},
		{raw: "https://example.com:0/"},
		{raw: "https://example.com:65536/"},
		{raw: "https://example.com:/"},
		{raw: "https://example.com:x/"},
		{raw: "https://example.com/a b"},
		{raw: "https://example.com/\n"},
		{raw: "https://example.com\\@evil/"},
		{raw: "https://exa\x00mple.com/"},
		{raw: "https://h/" + strings.Repeat("p", maxURL)},
		{raw: "http://example.com/"},
		{raw: "http://8.8.8.8/"},
		{raw: "http://a.localhost/"},
		{raw: "http://100.64.0.1/"},
		{raw: "https://127.1/"},
		{raw: "http://0x7f.1/"},
		{raw: "https://2130706433/"},
		{raw: "https://017700000001/"},
		{raw: "http://0x7f000001/"},
		{raw: "https://127.0.0.01/"},
		{raw: "https://1.2.3.4.5/"},
		{raw: "https://256.1.1.1/"},
		{raw: "https://example.0x1/"},
		{raw: "http://0x/"},
		{raw: "http://127.0.0.1../"},
		{raw: "http://①②⑦.⓪.⓪.①/"},
		{raw: "http://127。0。0。1/"},
		{raw: "http://127．0．0．1/"},
		{raw: "http://127｡0｡0｡1/"},
		{raw: "https://１６９．２５４．１６９．２５４/"},
		{raw: "http://0x7F.0.0.1/"},
		{raw: "http://0177.0.0.1/"},
		{raw: "http://0177.1/"},
		{raw: "http://127.0.1/"},
		{raw: "http://127.0.0.0x1/"},
		{raw: "http://0/"},
		{raw: "http://0x0/"},
		{raw: "http://00.0.0.0/"},
		{raw: "http://loc\u00adalhost/"},
		{raw: "http://loc\u200balhost/"},
		{raw: "http://loc\u2060alhost/"},
		{raw: "http://loc\ufeffalhost/"},
		{raw: "http://localho\u017ft/"},
		{raw: "http://ｌｏｃａｌｈｏｓｔ/"},
		{raw: "http://ⓛocalhost/"},
		{raw: "http://１２７.0.0.1/"},
		{raw: "https://xn--/"},
		{raw: "https://a..example/"},
		{raw: "https://.example/"},
		{raw: "https://" + strings.Repeat("a", 64) + ".example/"},
		{raw: "https://" + strings.Repeat("a.", 127) + "aa/"},
		{raw: "https://exa*mple.com/"},
		{raw: "https://{env.HOST}/"},
		{raw: "https://%31%32%37.0.0.1/"},
		{raw: "https://%80/"},
		{raw: "https://ü%80.example/"},
		{raw: "http://%6cocalhost/"},
		{raw: "https://[fe80::1%25eth0]/"},
		{raw: "https://[::1/"},
		{raw: "https://[::g]/"},
		{raw: "https://169.254.169.254/"},
		{raw: "https://[::ffff:169.254.169.254]/"},
		{raw: "https://0.0.0.0/"},
		{raw: "https://[::]/"},
		{raw: "https://[64:ff9b::7f00:1]/"},
		{raw: "https://224.0.0.1/"},
		{raw: "https://8.8.8.8/", policy: &Policy{Deny: prefixes("8.8.8.8/32")}},
	}
	for _, test := range tests {
		u, err := test.policy.CheckURL(test.raw)
		switch {
		case test.want == "" && err == nil:
			t.Errorf("URL %q: got %s, want a refusal", test.raw, u)
		case test.want != "" && (err != nil || u.String() != test.want):
			t.Errorf("URL %q: got %v, %v, want %s", test.raw, u, err, test.want)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("URL %q: got an error that shows the password: %v", test.raw, err)
		}
	}
}

// FuzzCheckURL holds that whatever is accepted is accepted again unchanged,
// and is what net/http would dial.
func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{"https://example.com/", "http://127.0.0.1:1/", "https://bücher.example", "http://①②⑦.⓪.⓪.①/", "https://[::1]:2/x?y", "https://%80", "https://ü%80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var p *Policy
		u, err := p.CheckURL(raw)
		if err != nil {
			return
		}
		again, err := p.CheckURL(u.String())
		if err != nil || again.Host != u.Host {
			t.Errorf("URL %q: got host %q, then %v, %v", raw, u.Host, again, err)
		}
		if u.Scheme == "http" && !isLocalhost(u.Hostname()) && !within(private, mustAddr(t, u.Hostname())) {
			t.Errorf("URL %q: got plain http admitted", raw)
		}
	})
}
