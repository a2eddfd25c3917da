package event

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

// TestVectors reads what other implementations of JS-stable bodies can be
// checked with as well. They are documents without an envelope.
func TestVectors(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/js-stable.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name, In     string
		Out, Refused *string
	}
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 13 {
		t.Fatalf("got %d vectors, want 13 at least", len(vectors))
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			s := newScanner([]byte(v.In), false)
			defer s.release()
			if !s.value() || !s.end() {
				t.Fatal(s.failure)
			}
			if v.Refused != nil {
				if s.fault == nil || s.fault.Code != *v.Refused {
					t.Errorf("got %v, want %s", s.fault, *v.Refused)
				}
				return
			}
			if s.fault != nil {
				t.Fatal(s.fault)
			}
			// Vectors hold lone surrogates as escapes within the text.
			if got := string(s.out); got != *v.Out {
				t.Errorf("got %s, want %s", got, *v.Out)
			}
		})
	}
}

func TestStrings(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, in, want, decoded string }{
		{"plain", `abc`, `abc`, "abc"},
		{"empty", ``, ``, ""},
		{"short escapes", `\b\f\n\r\t\"\\`, `\b\f\n\r\t\"\\`, "\b\f\n\r\t\"\\"},
		{"slash", `\/a/`, `/a/`, "/a/"},
		{"short escapes in hex", `\u0008\u000C\u000a\u000D\u0009\u0022\u005C`, `\b\f\n\r\t\"\\`, "\b\f\n\r\t\"\\"},
		{"other controls", `\u0000\u0007\u000B\u000e\u001F`, `\u0000\u0007\u000b\u000e\u001f`, "\x00\x07\x0b\x0e\x1f"},
		{"delete", `\u007F` + "\x7f", "\x7f\x7f", "\x7f\x7f"},
		{"markup", `\u003C\u003e\u0026<>&`, `<>&<>&`, "<>&<>&"},
		{"line separators", `\u2028\u2029` + "\u2028", "\u2028\u2029\u2028", "\u2028\u2029\u2028"},
		{"letters", `\u00e9\u00E9é`, `ééé`, "ééé"},
		{"noncharacters", `\uFFFE\uffff\uFEFF`, "\uFFFE\uFFFF\uFEFF", "\uFFFE\uFFFF\uFEFF"},
		{"replacement character", `\uFFFD`, "\uFFFD", "\uFFFD"},
		{"pair", `\uD83D\uDE00😀`, "😀😀", "😀😀"},
		{"highest pair", `\udbff\udfff`, "\U0010FFFF", "\U0010FFFF"},
		{"lone high", `a\uD800b`, `a\ud800b`, "a\uFFFDb"},
		{"lone low", `\uDC00`, `\udc00`, "\uFFFD"},
		{"lone at the end", `\uDBFF`, `\udbff`, "\uFFFD"},
		{"pair the wrong way round", `\uDE00\uD83D`, `\ude00\ud83d`, "\uFFFD\uFFFD"},
		{"high and pair", `\uD83D\uD83D\uDE00`, `\ud83d😀`, "\uFFFD😀"},
		{"pair and low", `\uD83D\uDE00\uDE00`, `😀\ude00`, "😀\uFFFD"},
		{"high and escaped text", `\uD83D\\uDE00`, `\ud83d\\uDE00`, "\uFFFD\\uDE00"},
		{"high and letter", `\uD83D\u0041`, `\ud83dA`, "\uFFFDA"},
		{"escaped backslash and u", `\\u0041`, `\\u0041`, `\u0041`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			in := wrap(`"s":"` + tc.in + `","` + tc.in + `_":1`)
			ev, prob := testParser().Event([]byte(in))
			if prob != nil {
				t.Fatal(prob)
			}
			if got, want := string(ev.Body), wrapped(`"s":"`+tc.want+`","`+tc.want+`_":1`); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if got := ev.Field("data.s"); len(got) != 1 || got[0] != tc.decoded {
				t.Errorf("got field %q, want %q", got, tc.decoded)
			}
			p := testParser()
			p.Exact = true
			ev, prob = p.Event([]byte(in))
			if prob != nil {
				t.Fatal(prob)
			}
			if got, want := string(ev.Body), wrapped(`"s":"`+tc.in+`","`+tc.in+`_":1`); got != want {
				t.Errorf("exact: got %s, want %s", got, want)
			}
			if got := ev.Field("data.s"); len(got) != 1 || got[0] != tc.decoded {
				t.Errorf("exact: got field %q, want %q", got, tc.decoded)
			}
		})
	}
}

// TestControlCharacters must be escaped, all of them.
func TestControlCharacters(t *testing.T) {
	t.Parallel()
	for c := range byte(0x20) {
		_, prob := testParser().Event([]byte(wrap("\"s\":\"" + string(rune(c)) + "\"")))
		if prob == nil || prob.Code != problem.MalformedJSON.Code {
			t.Errorf("byte %#x: got %v, want malformed-json", c, prob)
		}
	}
}
