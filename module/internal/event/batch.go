package event

import (
	"bytes"
	"time"

	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

// IsBatch says whether an application/json body is one for Batch and not for
// Event, which is when its first character is a bracket.
func IsBatch(body []byte) bool {
	i := skipSpace(body, 0)
	return i < len(body) && body[i] == '['
}

// Batch reads 1 to MaxBatch events from an application/json body that is an
// array. It is all or nothing: where an event is refused, the problem lists
// the problems of all events that are, each with its index. Where the body is
// not JSON there is only that problem. Pointers are relative to the event,
// offsets to the body.
func (p *Parser) Batch(body []byte) ([]*Event, *problem.Problem) { return p.array(body, false) }

func (p *Parser) array(body []byte, cloud bool) ([]*Event, *problem.Problem) {
	if prob := checkText(body); prob != nil {
		return nil, prob
	}
	s := newScanner(body, p.Exact)
	defer s.release()
	if s.space() != '[' {
		if !s.value() || !s.end() {
			return nil, s.failure
		}
		return nil, problem.NotAnObject.New("a batch is an array of events").WithOffset(0).WithPointer("")
	}
	s.pos++
	if s.space() == ']' {
		s.pos++
		if !s.end() {
			return nil, s.failure
		}
		return nil, problem.EmptyBatch.Newf("a batch has 1 to %d events", MaxBatch)
	}
	b := batch{parser: p, now: p.now(), cloud: cloud}
	for more := true; more; {
		if b.full() {
			return nil, tooLong()
		}
		if !b.next(s) {
			return nil, s.failure.At(b.index)
		}
		switch s.space() {
		case ',':
			s.pos++
		case ']':
			s.pos++
			more = false
		default:
			s.malformed("a comma or a closing bracket is expected")
			return nil, s.failure
		}
	}
	if !s.end() {
		return nil, s.failure
	}
	return b.result()
}

// Lines reads 1 to MaxBatch events from an application/x-ndjson body, one
// event a line. Blank lines are passed over, and do not count in the indexes.
// It is all or nothing as Batch is; here a line that is not JSON is one of the
// events that are refused.
func (p *Parser) Lines(body []byte) ([]*Event, *problem.Problem) {
	if prob := checkExtent(body); prob != nil {
		return nil, prob
	}
	s := newScanner(body, p.Exact)
	defer s.release()
	b := batch{parser: p, now: p.now()}
	for next := 0; next < len(body); {
		from, to := next, len(body)
		if n := bytes.IndexByte(body[from:], '\n'); n >= 0 {
			to = from + n
		}
		next = to + 1
		line := body[from:to]
		if isBlank(line) {
			continue
		}
		if b.full() {
			return nil, tooLong()
		}
		if prob := checkUTF8(line, from); prob != nil {
			b.refuse(prob)
			continue
		}
		s.in, s.pos = body[:to], from
		b.line(s)
	}
	return b.result()
}

// batch collects events.
type batch struct {
	parser *Parser
	now    time.Time
	cloud  bool
	events []*Event
	errors []*problem.Problem

	// index is the place of the next event, ids the places of those before.
	index int
	ids   map[string]int
}

func (b *batch) full() bool { return b.index == MaxBatch }

func tooLong() *problem.Problem {
	return problem.BatchTooLong.Newf("a batch has at most %d events", MaxBatch)
}

// next reads one event of an array. It fails where the scan does.
func (b *batch) next(s *scanner) bool {
	ev, prob, ok := b.parser.item(s, b.now, 0, b.cloud)
	if !ok {
		return false
	}
	b.add(ev, prob)
	return true
}

// line reads the event that is all there is up to the end of the input.
func (b *batch) line(s *scanner) {
	ev, prob, ok := b.parser.item(s, b.now, len(s.in)-s.pos, b.cloud)
	if !ok || !s.end() {
		b.refuse(s.failure)
		return
	}
	b.add(ev, prob)
}

func (b *batch) refuse(prob *problem.Problem) { b.add(nil, prob) }

func (b *batch) add(ev *Event, prob *problem.Problem) {
	if prob == nil {
		prob = b.sameID(ev)
	}
	if prob != nil {
		b.errors = append(b.errors, prob.At(b.index))
		b.events = nil
	} else if len(b.errors) == 0 {
		b.events = append(b.events, ev)
	}
	b.index++
}

// sameID refuses an event whose id an earlier one of the batch has.
func (b *batch) sameID(ev *Event) *problem.Problem {
	if first, ok := b.ids[ev.ID]; ok {
		return problem.DuplicateIDInBatch.Newf("the event at index %d has the same id", first).WithPointer("/id")
	}
	if b.ids == nil {
		b.ids = make(map[string]int)
	}
	b.ids[ev.ID] = b.index
	return nil
}

func (b *batch) result() ([]*Event, *problem.Problem) {
	if len(b.errors) > 0 {
		return nil, problem.Batch(b.errors)
	}
	return b.events, nil
}
