package event

import (
	"bytes"
	"encoding/json"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"strings"
)

// generator draws events that are written in as many ways as there are, and
// that have a fault now and then.
type generator struct{ *rand.Rand }

// newGenerator draws by the bytes, one for each choice, and when none is left
// by their hash: so a fuzzer changes a choice with a byte.
func newGenerator(entropy []byte) generator {
	hash := fnv.New64a()
	_, _ = hash.Write(entropy)
	return generator{rand.New(&choices{in: entropy, rest: rand.NewPCG(hash.Sum64(), 0)})}
}

type choices struct {
	in   []byte
	rest *rand.PCG
}

func (c *choices) Uint64() uint64 {
	v := c.rest.Uint64()
	if len(c.in) > 0 {
		v = uint64(c.in[0])<<56 | v>>8
		c.in = c.in[1:]
	}
	return v
}

// one says yes once in n times.
func (g generator) one(n int) bool { return g.IntN(n) == n-1 }

func (g generator) of(list ...string) string { return list[g.IntN(len(list))] }

// event draws an event. It has the members that one needs, mostly.
func (g generator) event() string {
	id, eventType, stamp := `"e1"`, `"a.b"`, `"2024-01-15T10:30:00Z"`
	data, metadata := g.object(0), g.object(2)
	if g.one(12) {
		for _, member := range []*string{&id, &eventType, &stamp, &data, &metadata}[g.IntN(5):] {
			*member = g.odd()
			if !g.one(4) {
				break
			}
		}
	}
	parts := []string{
		`"id":` + g.space() + id, `"type":` + eventType, `"timestamp"` + g.space() + `:` + g.space() + stamp,
		`"data":` + g.space() + data, `"metadata":` + metadata,
	}
	if g.one(16) {
		parts = append(parts, g.of(`"id"`, `"data"`, `"ID"`, `"Metadata"`, `"met\u0061data"`, `"timeſtamp"`, `"x"`, g.text())+":"+g.value(4))
	}
	g.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	if g.one(16) {
		parts = parts[1:]
	}
	return g.space() + "{" + g.space() + strings.Join(parts, g.space()+","+g.space()) + g.space() + "}" + g.space()
}

// odd draws a member's value that may be none.
func (g generator) odd() string {
	if g.one(3) {
		return g.value(3)
	}
	long := `"` + strings.Repeat("a", 127+g.IntN(4)) + `"`
	return g.of(
		`""`, `"a.b.c"`, `"A"`, `"a..b"`, `".a"`, `"a."`, `"a b"`, `"\u0061"`, `"é"`, `"_~:-"`, `"a-b"`, long, `"\ud800"`, `{}`, `[]`, "null",
		`"2024-01-15t10:30:00.5z"`, `"2016-12-31T23:59:60+23:59"`, `"2024-01-16T10:30:00Z"`, `"2024-01-16T10:30:01Z"`, `"2023-02-29T00:00:00Z"`,
		`"0000-02-29T00:00:00-00:00"`, `"2024-01-15 10:30:00Z"`, `"2024-01-15T24:00:00Z"`, `"9999-12-31T23:59:59Z"`, `"2024-01-15T10:30:00\u005a"`,
		`"2024-01-15T10:30:00.`+strings.Repeat("1", 40+g.IntN(8))+`Z"`,
	)
}

// corrupt changes one place of a text.
func (g generator) corrupt(text string) string {
	at := g.IntN(len(text) + 1)
	end := min(len(text), at+g.IntN(3))
	scrap := g.of("", `"`, `\`, "{", "}", "[", "]", ",", ":", "-", ".", "e", "0", "1", "+", "\\u", "\\ud800", "/**/", "'", "NaN", "true",
		"\x00", "\x01", "\x1f", "\x7f", "\xff", "\xc0\xaf", "\xed\xa0\x80", "\ufeff", "\u00a0", "\u2028", "\u3000", "\v", "\f", "\x85", "\n")
	if g.one(20) {
		at, end = 0, 0
	}
	return text[:at] + scrap + text[end:]
}

func (g generator) space() string {
	return g.of("", "", "", " ", "\n", "\t\r\n  ")
}

func (g generator) value(depth int) string {
	kind := g.IntN(10)
	if depth > 5 {
		kind = g.IntN(7)
	}
	switch kind {
	case 0:
		if g.one(40) {
			return g.deep(58 + g.IntN(8))
		}
		return g.of("true", "false", "null")
	case 1, 2, 3:
		return g.number()
	case 4, 5, 6:
		return g.text()
	case 7:
		items := make([]string, g.IntN(5))
		for i := range items {
			items[i] = g.space() + g.value(depth+1) + g.space()
		}
		if len(items) == 0 {
			return "[" + g.space() + "]"
		}
		return "[" + strings.Join(items, ",") + "]"
	default:
		return g.object(depth + 1)
	}
}

// deep draws one value within so many objects and arrays.
func (g generator) deep(levels int) string {
	before, after := "", ""
	for range levels {
		if g.IntN(2) == 0 {
			before, after = before+"["+g.space(), "]"+after
		} else {
			before, after = before+"{"+g.key()+":", "}"+after
		}
	}
	return before + g.number() + after
}

func (g generator) object(depth int) string {
	n := g.IntN(7)
	if g.one(40) {
		n = 17 + g.IntN(30)
	}
	seen := map[string]bool{}
	var members []string
	for range n {
		key := g.key()
		var name string
		if err := json.Unmarshal([]byte(key), &name); err != nil || seen[name] && !g.one(50) {
			continue // now and then a name is given twice
		}
		seen[name] = true
		members = append(members, g.space()+key+g.space()+":"+g.space()+g.value(depth)+g.space())
	}
	if len(members) == 0 {
		return "{" + g.space() + "}"
	}
	return "{" + strings.Join(members, ",") + "}"
}

func (g generator) key() string {
	switch g.IntN(6) {
	case 0:
		return strconv.Quote(strconv.Itoa(g.IntN(30)))
	case 1:
		return strconv.Quote(strconv.FormatUint(1<<32-4+g.Uint64N(6), 10))
	case 2:
		return g.of(`"__proto__"`, `"\u005f_proto__"`, `"constructor"`, `"toJSON"`, `"length"`, `"01"`, `"-1"`, `"-0"`, `""`, `"1.5"`, `"1e3"`,
			`"4294967294"`, `"9007199254740991"`, `"18446744073709551616"`, `"\u0031"`, `"９"`, `"~"`, `"a/b"`)
	default:
		return g.text()
	}
}

// number draws one that JavaScript keeps, mostly.
func (g generator) number() string {
	if g.IntN(3) > 0 {
		return strconv.Itoa(g.IntN(2000)-1000) + g.of("", ".0", ".50", "e0", "E+2", "e-3", ".25e1")
	}
	for {
		in := randomNumber(g.Rand)
		s := newScanner([]byte(in), false)
		ok := s.number() && s.end() && (s.fault == nil || g.one(100))
		s.release()
		if ok {
			return in
		}
	}
}

func (g generator) text() string {
	var b strings.Builder
	b.WriteByte('"')
	for range g.IntN(12) {
		switch g.IntN(8) {
		case 0:
			b.WriteString(g.of(`\b`, `\f`, `\n`, `\r`, `\t`, `\"`, `\\`, `\/`))
		case 1: // any code unit
			b.WriteString(`\u` + g.hex(g.IntN(0x10000)))
		case 2: // surrogates, in pairs or alone
			b.WriteString(`\u` + g.hex(0xd800+g.IntN(0x800)))
		case 3:
			b.WriteString(`\u` + g.hex(0xd800+g.IntN(0x400)) + `\u` + g.hex(0xdc00+g.IntN(0x400)))
		case 4:
			b.WriteString(g.of("é", "\u2028", "\u2029", "😀", "\x7f", "\uFEFF", "\uFFFF", "<", "&", "/", "'", "\u0085", "\U0010FFFF"))
		default:
			b.WriteByte("abcdefghijklmnopqrstuvwxyz 0123456789.:"[g.IntN(39)])
		}
	}
	b.WriteByte('"')
	return b.String()
}

// hex writes four digits, each in either case.
func (g generator) hex(unit int) string {
	digits := []byte(strconv.FormatInt(int64(0x10000+unit), 16)[1:])
	for i := range digits {
		if g.IntN(2) == 0 {
			digits[i] = bytes.ToUpper(digits[i : i+1])[0]
		}
	}
	return string(digits)
}
