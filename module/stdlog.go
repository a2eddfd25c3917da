package module

import (
	"bytes"
	"io"
	"log"
	"sync"
	"time"
)

// stdLogLinesPerHour bounds the lines about receivers in the standard log.
const stdLogLinesPerHour = 10

// stdLogHead is how much the standard log may put before a line: a time and a
// file, though nothing in Caddy.
const stdLogHead = 64

// stdLogLine is written in place of what net/http says.
const stdLogLine = "a receiver sent what no request asked for; its connection was closed\n"

// stdLogBeginnings are how the lines begin that net/http and its HTTP/2 log
// about receivers. There is one for each misdeed, and the first one goes on
// with the bytes that the receiver sent.
var stdLogBeginnings = [][]byte{
	[]byte("Unsolicited response received on idle HTTP channel"),
	[]byte("http2: Transport received unsolicited DATA frame"),
	[]byte("protocol error: received "),
	[]byte("Transport: unhandled response frame type "),
}

// stdLogFilter keeps out of the standard log what receivers make net/http
// write into it, which has no other place for it: Caddy takes the lines of the
// standard log into its own. What else is written passes.
type stdLogFilter struct {
	next   io.Writer
	budget *stdLogBudget
}

// stdLogBudget counts the lines of an hour, by any clock.
type stdLogBudget struct {
	mu    sync.Mutex
	now   func() time.Time
	since time.Time
	lines int
}

// receiverLines is the budget of the process.
var receiverLines = &stdLogBudget{now: time.Now}

// filterStdLog puts the filter before the output of the standard log, unless
// it is there. Caddy sets another output whenever it loads a configuration, so
// this is called again for each connection that is made.
func filterStdLog() {
	next := log.Writer()
	if _, ok := next.(*stdLogFilter); !ok {
		log.SetOutput(&stdLogFilter{next, receiverLines})
	}
}

// Write implements io.Writer. It gets whole lines.
func (f *stdLogFilter) Write(line []byte) (int, error) {
	for _, beginning := range stdLogBeginnings {
		at := bytes.Index(line, beginning)
		if at < 0 || at > stdLogHead {
			continue
		}
		if f.budget.take() {
			if _, err := f.next.Write(append(line[:at:at], stdLogLine...)); err != nil {
				return 0, err
			}
		}
		return len(line), nil
	}
	return f.next.Write(line)
}

// take says whether a line may be written.
func (b *stdLogBudget) take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := b.now(); b.since.IsZero() || now.Sub(b.since) >= time.Hour {
		b.since, b.lines = now, 0
	}
	b.lines++
	return b.lines <= stdLogLinesPerHour
}

// Interface guards
var _ io.Writer = (*stdLogFilter)(nil)
