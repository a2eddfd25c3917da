package event

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

func FuzzEvent(f *testing.F) {
	f.Add([]byte(example), false)
	f.Add([]byte(example), true)
	for _, tc := range refusals {
		f.Add([]byte(tc.in), true)
	}
	for _, data := range []string{
		`"b":1,"10":{"2":0,"1":0},"9":[3]`, `"a":1,"a":2`, `"n":[1.0,1e2,-0,9007199254740993,1e400,0.1e-6]`,
		`"s":"\uD800\ud83d\ude00\/\u003c\u2028é"`, `"__proto__":{},"":[[],{}]`,
	} {
		f.Add([]byte(wrap(data)), false)
		f.Add([]byte(wrap(data)), true)
		f.Add([]byte("["+wrap(data)+","+item1+"]"), false)
		f.Add([]byte(wrap(data)+"\n"+item1), true)
	}
	f.Fuzz(func(t *testing.T, in []byte, exact bool) {
		p := testParser()
		p.Exact = exact
		kept := bytes.Clone(in)
		ev, prob := p.Event(in)
		checkAnswer(t, p, ev, prob)
		if prob == nil && !json.Valid(in) {
			t.Errorf("got %s accepted, want only JSON", in)
		}
		if prob == nil && exact {
			checkExact(t, in, ev)
		}
		if prob != nil && prob.Code == problem.MalformedJSON.Code && json.Valid(in) {
			t.Errorf("got malformed-json (%s) for %s, which is JSON", prob.Detail, in)
		}
		checkAlone(t, p, in, ev, prob)
		for _, parse := range []func([]byte) ([]*Event, *problem.Problem){p.Batch, p.Lines} {
			events, prob := parse(in)
			if (len(events) > 0) == (prob != nil) {
				t.Errorf("got %d events and problem %v, want one of them", len(events), prob)
			}
			for _, ev := range events {
				checkAnswer(t, p, ev, nil)
			}
			checkAnswer(t, p, nil, prob)
		}
		if !bytes.Equal(in, kept) {
			t.Error("the body was written to")
		}
	})
}

// checkExact compares data and metadata with what the standard library cuts
// out of the body.
func checkExact(t *testing.T, in []byte, ev *Event) {
	t.Helper()
	sent := struct{ Data, Metadata json.RawMessage }{Metadata: json.RawMessage("{}")}
	if err := json.Unmarshal(in, &sent); err != nil {
		t.Fatal(err)
	}
	want := `,"data":` + string(sent.Data) + `,"metadata":` + string(sent.Metadata) + "}"
	if !bytes.HasSuffix(ev.Body, []byte(want)) {
		t.Errorf("got %s, want it to end with %s", ev.Body, want)
	}
}

// checkAlone compares an event with a batch that holds nothing else.
func checkAlone(t *testing.T, p *Parser, in []byte, ev *Event, prob *problem.Problem) {
	t.Helper()
	noJSON := []string{problem.EmptyBody.Code, problem.MalformedJSON.Code, problem.InvalidUTF8.Code}
	if prob != nil && slices.Contains(noJSON, prob.Code) {
		return // it may be other trouble, or none, between brackets
	}
	batches := map[string]func() ([]*Event, *problem.Problem){
		"array": func() ([]*Event, *problem.Problem) { return p.Batch([]byte("[" + string(in) + "]")) },
	}
	if !bytes.Contains(in, []byte("\n")) {
		batches["line"] = func() ([]*Event, *problem.Problem) { return p.Lines(in) }
	}
	for name, parse := range batches {
		events, refusal := parse()
		switch {
		case prob == nil:
			if refusal != nil || len(events) != 1 || !bytes.Equal(events[0].Body, ev.Body) {
				t.Errorf("%s: got %d events and %v, want what it is alone: %s", name, len(events), refusal, ev.Body)
			}
		case refusal == nil:
			t.Errorf("%s: got %d events, want %v", name, len(events), prob)
		default:
			if len(refusal.Errors) > 0 {
				refusal = refusal.Errors[0]
			}
			if refusal.Code != prob.Code || !reflect.DeepEqual(refusal.Pointer, prob.Pointer) {
				t.Errorf("%s: got %v, want %v", name, refusal, prob)
			}
		}
	}
}

// statuses are those that a body can be answered with.
var statuses = []int{400, 422}

func checkAnswer(t *testing.T, p *Parser, ev *Event, prob *problem.Problem) {
	t.Helper()
	if prob != nil {
		if !slices.Contains(statuses, prob.Status) {
			t.Errorf("got status %d, want one of %v", prob.Status, statuses)
		}
		if text, err := json.Marshal(prob); err != nil || !utf8.Valid(text) {
			t.Errorf("got problem %q and error %v, want JSON", text, err)
		}
		for _, e := range prob.Errors {
			checkAnswer(t, p, nil, e)
		}
	}
	if ev == nil {
		return
	}
	var members struct {
		ID, Type, Timestamp string
		Data, Metadata      map[string]any
	}
	dec := json.NewDecoder(bytes.NewReader(ev.Body))
	dec.UseNumber()
	if err := dec.Decode(&members); err != nil {
		t.Fatalf("got %s, want JSON: %v", ev.Body, err)
	}
	if members.ID != ev.ID || members.Type != ev.Type || members.Timestamp != ev.Timestamp || members.Data == nil || members.Metadata == nil {
		t.Errorf("got %s, want id %q, type %q, timestamp %q, data and metadata in it", ev.Body, ev.ID, ev.Type, ev.Timestamp)
	}
	again, prob := p.Event(ev.Body)
	if prob != nil {
		t.Fatalf("got %v for %s, want it accepted a second time", prob, ev.Body)
	}
	if !bytes.Equal(again.Body, ev.Body) {
		t.Errorf("got %s, want %s unchanged by a second pass", again.Body, ev.Body)
	}
	for name := range members.Metadata {
		ev.Field("metadata." + name)
		ev.Field("data." + name)
	}
}
