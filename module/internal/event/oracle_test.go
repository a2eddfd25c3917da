package event

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

// oracle is a process of Node that says what becomes of an event.
type oracle struct {
	in  io.Writer
	out *bufio.Reader
}

// ruling is the oracle's answer: a body, or why there is none.
type ruling struct {
	Body    []byte
	Status  int
	Code    string
	Pointer string
	Offset  int64

	// Malformed says that the text is not JSON: there is no pointer, and
	// without a code nothing more is known.
	Malformed bool

	// Long says that the pointer may have been cut.
	Long bool
}

// startOracle starts Node, which ends with the test.
func startOracle(tb testing.TB) *oracle {
	tb.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") != "" {
			tb.Fatalf("node is needed: %v", err)
		}
		tb.Skip("node is not on the path")
	}
	cmd := exec.CommandContext(context.Background(), node, "testdata/oracle.js")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			tb.Errorf("node: %v", err)
		}
	})
	return &oracle{in: in, out: bufio.NewReaderSize(out, 1<<16)}
}

func (o *oracle) ask(tb testing.TB, text []byte, exact bool) ruling {
	tb.Helper()
	question := binary.LittleEndian.AppendUint32(nil, uint32(1+len(text)))
	mode := byte(0)
	if exact {
		mode = 1
	}
	question = append(append(question, mode), text...)
	if _, err := o.in.Write(question); err != nil {
		tb.Fatal(err)
	}
	var size [4]byte
	if _, err := io.ReadFull(o.out, size[:]); err != nil {
		tb.Fatalf("no answer about %q: %v", text, err)
	}
	answer := make([]byte, binary.LittleEndian.Uint32(size[:]))
	if _, err := io.ReadFull(o.out, answer); err != nil {
		tb.Fatal(err)
	}
	if answer[0] == '+' {
		return ruling{Body: answer[1:]}
	}
	var r ruling
	if err := json.Unmarshal(answer[1:], &r); err != nil {
		tb.Fatal(err)
	}
	return r
}

// check compares with the oracle what the parser makes of a text, and returns
// the code of the refusal or nothing.
func (o *oracle) check(t *testing.T, text []byte, exact bool) string {
	t.Helper()
	p := testParser()
	p.Exact = exact
	ev, prob := p.Event(text)
	r := o.ask(t, text, exact)
	switch {
	case prob == nil && r.Body == nil:
		t.Errorf("got %s accepted as\n%s\nwant it refused with %s at %q", text, ev.Body, r.Code, r.Pointer)
	case prob == nil:
		if !bytes.Equal(ev.Body, r.Body) {
			t.Errorf("got  %s\nwant %s\nof   %s", ev.Body, r.Body, text)
		}
	case r.Body != nil:
		t.Errorf("got %v for %s, want it accepted as\n%s", prob, text, r.Body)
	default:
		r.compare(t, text, prob)
	}
	checkAnswer(t, p, ev, prob)
	if prob == nil {
		return ""
	}
	return prob.Code
}

func (r ruling) compare(t *testing.T, text []byte, got *problem.Problem) {
	t.Helper()
	codes := []string{r.Code}
	if r.Code == "" {
		codes = []string{problem.MalformedJSON.Code, problem.TooDeep.Code}
		if bytes.IndexByte(text[:min(2, len(text))], 0) >= 0 {
			codes = []string{problem.InvalidUTF8.Code}
		}
	}
	if got.Status != r.Status || !slices.Contains(codes, got.Code) {
		t.Errorf("got %d %s (%s), want %d and one of %q for\n%q", got.Status, got.Code, got.Detail, r.Status, codes, text)
		return
	}
	if r.Malformed {
		return
	}
	pointer, offset := "", int64(-1)
	if got.Pointer != nil {
		pointer = *got.Pointer
	}
	if got.Offset != nil {
		offset = *got.Offset
	}
	around := r.Long && strings.HasPrefix(r.Pointer, pointer+"/")
	if pointer != r.Pointer && !around || offset != r.Offset {
		t.Errorf("%s: got pointer %q and offset %d, want %q and %d for\n%q", got.Code, pointer, offset, r.Pointer, r.Offset, text)
	}
}
