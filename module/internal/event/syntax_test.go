package event

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

type namedText struct{ name, in string }

// jsonText is a text with the code of its refusal as a value of an event, or
// none where it is accepted.
type jsonText struct {
	namedText
	code string
}

// syntax is the whole of the tables of texts.
var syntax = slices.Concat(
	classed(validJSON, ""),
	classed(invalidJSON, problem.MalformedJSON.Code),
	classed(invalidUTF8, problem.InvalidUTF8.Code),
	classed(lossyJSON, problem.NotJSStable.Code),
	classed(unusualJSON, ""),
	classed(deepJSON, problem.TooDeep.Code),
)

func classed(list []namedText, code string) []jsonText {
	var texts []jsonText
	for _, text := range list {
		texts = append(texts, jsonText{text, code})
	}
	return texts
}

// TestSyntax reads every text as a value within data and within metadata, and
// where one is JSON holds it against the standard library, too: the tables may
// be wrong as well.
func TestSyntax(t *testing.T) {
	t.Parallel()
	for _, tc := range syntax {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, form := range []byte{asValue, asMetadata} {
				in := document([]byte(tc.in), form)
				for _, exact := range []bool{false, true} {
					p := testParser()
					p.Exact = exact
					ev, prob := p.Event(in)
					checkAnswer(t, p, ev, prob)
					got, want := "", tc.code
					if prob != nil {
						got = prob.Code
					}
					if exact && want == problem.NotJSStable.Code {
						want = ""
					}
					// The array around a value in metadata is one level more.
					if form == asMetadata && tc.name == "64 levels" {
						want = problem.TooDeep.Code
					}
					if got != want {
						t.Errorf("exact %v: got %q, want %q for %q", exact, got, want, in)
					}
				}
			}
			if tc.code == problem.InvalidUTF8.Code || tc.code == problem.TooDeep.Code {
				return // the standard library does not mind
			}
			if got, want := json.Valid([]byte(tc.in)), tc.code != problem.MalformedJSON.Code; got != want {
				t.Errorf("the standard library says %v of %q, want %v", got, tc.in, want)
			}
		})
	}
}
