package event

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// stableScript answers each line, a JSON string that holds an event, with a
// JSON string that holds what JavaScript makes of it.
const stableScript = `
const lines = require('fs').readFileSync(0, 'utf8').split('\n');
lines.pop();
const out = lines.map(line => {
	const e = JSON.parse(JSON.parse(line));
	return JSON.stringify(JSON.stringify(
		{ id: e.id, type: e.type, timestamp: e.timestamp, data: e.data, metadata: e.metadata }));
});
process.stdout.write(out.join('\n') + '\n');
`

// TestNode compares thousands of random documents with the real thing, in one
// process of Node.
func TestNode(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("node is needed: %v", err)
		}
		t.Skip("node is not on the path")
	}
	sent, bodies := acceptedDocuments(t, 4000)

	var in bytes.Buffer
	for _, doc := range append(sent, bodies...) {
		line, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, "-e", stableScript)
	cmd.Stdin, cmd.Stderr = &in, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 64<<20)
	n := 0
	for ; lines.Scan(); n++ {
		var got string
		if err := json.Unmarshal(lines.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		// The second half holds our own bodies: they must be stable.
		if want := bodies[n%len(bodies)]; got != want {
			t.Fatalf("document %d: Node makes\n%s\ngot\n%s\nof\n%s", n, got, want, sent[n%len(sent)])
		}
	}
	if want := len(sent) + len(bodies); n != want {
		t.Errorf("got %d answers of Node, want %d", n, want)
	}
}

// acceptedDocuments draws documents until so many were accepted.
func acceptedDocuments(t *testing.T, n int) (sent, bodies []string) {
	t.Helper()
	g := generator{rand.New(rand.NewPCG(3, 4))}
	p := testParser()
	refused := 0
	for len(sent) < n {
		doc := g.event()
		ev, prob := p.Event([]byte(doc))
		if prob != nil {
			if prob.Code != "not-js-stable" {
				t.Fatalf("got %d %s (%s), want an event or not-js-stable for\n%s", prob.Status, prob.Code, prob.Detail, doc)
			}
			if refused++; refused > n {
				t.Fatalf("got %d documents refused, want most accepted", refused)
			}
			continue
		}
		sent = append(sent, doc)
		bodies = append(bodies, string(ev.Body))
	}
	return sent, bodies
}

// generator draws JSON that is written in as many ways as there are.
type generator struct{ *rand.Rand }

func (g generator) event() string {
	parts := []string{
		`"id":` + g.space() + `"e1"`, `"type":"a.b"`, `"timestamp"` + g.space() + `:"2024-01-15T10:30:00Z"`,
		`"data":` + g.object(0), `"metadata":` + g.object(2),
	}
	g.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	return g.space() + "{" + g.space() + strings.Join(parts, g.space()+","+g.space()) + g.space() + "}" + g.space()
}

func (g generator) space() string {
	return []string{"", "", "", " ", "\n", "\t\r\n  "}[g.IntN(6)]
}

func (g generator) value(depth int) string {
	kind := g.IntN(10)
	if depth > 5 {
		kind = g.IntN(7)
	}
	switch kind {
	case 0:
		return []string{"true", "false", "null"}[g.IntN(3)]
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

func (g generator) object(depth int) string {
	n := g.IntN(7)
	if g.IntN(40) == 0 {
		n = 17 + g.IntN(30)
	}
	seen := map[string]bool{}
	var members []string
	for range n {
		key := g.key()
		var name string
		if err := json.Unmarshal([]byte(key), &name); err != nil || seen[name] && g.IntN(50) > 0 {
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
		return []string{`"__proto__"`, `"constructor"`, `"toJSON"`, `"length"`, `"01"`, `"-1"`, `""`, `"1.5"`, `"1e3"`, `"4294967294"`, `"\u0031"`, `"９"`}[g.IntN(12)]
	default:
		return g.text()
	}
}

func (g generator) number() string {
	if g.IntN(3) > 0 {
		return strconv.Itoa(g.IntN(2000)-1000) + []string{"", ".0", ".50", "e0", "E+2", "e-3", ".25e1"}[g.IntN(7)]
	}
	for {
		in := randomNumber(g.Rand)
		s := newScanner([]byte(in), false)
		ok := s.number() && s.end() && (s.fault == nil || g.IntN(100) == 0)
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
			b.WriteString([]string{`\b`, `\f`, `\n`, `\r`, `\t`, `\"`, `\\`, `\/`}[g.IntN(8)])
		case 1: // any code unit
			b.WriteString(`\u` + g.hex(g.IntN(0x10000)))
		case 2: // surrogates, in pairs or alone
			b.WriteString(`\u` + g.hex(0xd800+g.IntN(0x800)))
		case 3:
			b.WriteString(`\u` + g.hex(0xd800+g.IntN(0x400)) + `\u` + g.hex(0xdc00+g.IntN(0x400)))
		case 4:
			b.WriteString([]string{"é", "\u2028", "\u2029", "😀", "\x7f", "\uFEFF", "\uFFFF", "<", "&", "/", "'"}[g.IntN(11)])
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
