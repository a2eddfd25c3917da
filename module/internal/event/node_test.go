package event

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"testing"
)

// The ways in which FuzzAgainstNode takes its input: as an event, as the value
// of a member of data or metadata, or as the choices of a generator, whose
// event may be corrupted.
const (
	asEvent = iota
	asValue
	asMetadata
	asChoices
	asCorrupted
	waysIn
)

// FuzzAgainstNode compares with JavaScript what becomes of any text, and every
// refusal with a second opinion: its code, its pointer and its offset.
func FuzzAgainstNode(f *testing.F) {
	o := startOracle(f)
	for _, text := range seeds(f) {
		f.Add([]byte(text), byte(asEvent), false)
		f.Add([]byte(text), byte(asEvent), true)
	}
	for _, tc := range syntax {
		f.Add([]byte(tc.in), byte(asValue), false)
		f.Add([]byte(tc.in), byte(asMetadata), true)
	}
	for i := range uint64(40) {
		entropy := binary.LittleEndian.AppendUint64(nil, i*0x9e3779b97f4a7c15)
		f.Add(entropy, byte(asChoices), i%4 == 0)
		f.Add(entropy, byte(asCorrupted), i%4 == 0)
	}
	f.Fuzz(func(t *testing.T, in []byte, form byte, exact bool) {
		o.check(t, document(in, form), exact)
	})
}

// document makes the text of an event of the input.
func document(in []byte, form byte) []byte {
	switch form % waysIn {
	case asValue:
		return []byte(wrap(`"v":` + string(in)))
	case asMetadata:
		return []byte(`{"metadata":{"l":[0,{"v":` + string(in) + `}]},"data":{},"id":"e","type":"a.b"}`)
	case asChoices:
		return []byte(newGenerator(in).event())
	case asCorrupted:
		g := newGenerator(in)
		return []byte(g.corrupt(g.event()))
	default:
		return in
	}
}

// seeds returns the texts of the tables, and those of the vectors as data.
func seeds(tb testing.TB) []string {
	tb.Helper()
	texts := []string{example, exampleBody, "\ufeff" + exampleBody, wrap(`"a":` + nested(62)), wrap(`"a":` + nested(63))}
	for _, tc := range refusals {
		texts = append(texts, tc.in)
	}
	raw, err := os.ReadFile("testdata/js-stable.json")
	if err != nil {
		tb.Fatal(err)
	}
	var vectors []struct{ In string }
	if err := json.Unmarshal(raw, &vectors); err != nil {
		tb.Fatal(err)
	}
	for _, v := range vectors {
		texts = append(texts, `{"type":"a","data":`+v.In+`}`)
	}
	return texts
}

// TestAgainstNode draws some thousands of events, of which as many must be
// accepted and refused as make the comparison worth it.
func TestAgainstNode(t *testing.T) {
	t.Parallel()
	n := 5000
	if testing.Short() {
		n = 1500
	}
	o := startOracle(t)
	codes := map[string]int{}
	for i := range n {
		entropy := binary.LittleEndian.AppendUint64(nil, uint64(i)*0x9e3779b97f4a7c15)
		form := byte(asChoices)
		if i%8 == 0 {
			form = asCorrupted
		}
		codes[o.check(t, document(entropy, form), i%4 == 1)]++
		if t.Failed() {
			t.Fatalf("at document %d", i)
		}
	}
	for code, want := range map[string]int{
		"": n / 3, "not-js-stable": n / 50, "malformed-json": n / 50, "too-deep": n / 200, "duplicate-key": n / 200, "unknown-field": n / 200,
		"missing-field": n / 200, "invalid-field": n / 200, "invalid-id": n / 500, "invalid-type": n / 500, "invalid-timestamp": n / 500,
	} {
		if codes[code] < want {
			t.Errorf("got %d documents with the code %q, want %d at least (%v)", codes[code], code, want, codes)
		}
	}
}
