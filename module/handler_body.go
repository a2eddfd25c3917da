package module

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

const (
	// firstRead is what a body starts with: most events fit in it.
	firstRead = 4 << 10

	// pooledBuffer is the greatest buffer that is kept for another request.
	pooledBuffer = 64 << 10
)

// ingest bounds all handlers of the process together, over reloads.
var ingest = admission{maxRequests: 8192, maxBytes: 256 << 20}

// admission bounds the requests under way and the memory that their bodies
// take. A slow client holds what it has sent, not what it announced, so many of
// them do not keep others out.
type admission struct {
	maxRequests, maxBytes int64
	requests, bytes       atomic.Int64
}

// enter admits a request, which leave ends.
func (a *admission) enter() bool {
	if a.requests.Add(1) <= a.maxRequests {
		return true
	}
	a.requests.Add(-1)
	return false
}

func (a *admission) leave() { a.requests.Add(-1) }

// grow admits n more bytes for a request that holds some already. A request
// that is alone may always grow.
func (a *admission) grow(held, n int64) bool {
	if total := a.bytes.Add(n); total <= a.maxBytes || total == held+n {
		return true
	}
	a.bytes.Add(-n)
	return false
}

func (a *admission) shrink(n int64) { a.bytes.Add(-n) }

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, firstRead)
	return &b
}}

// body is a request's body in a pooled buffer.
type body struct {
	handler *Handler
	media   string
	bytes   []byte
	pooled  *[]byte

	// held is what admission counts for this body.
	held int64

	// first is the first byte that is no white space, or 0, and scanned is
	// how far it was looked for.
	first   byte
	scanned int
}

func (h *Handler) newBody(media string) *body {
	return &body{handler: h, media: media}
}

// free gives the buffer back. The bytes must not be used any more.
func (b *body) free() {
	if b.pooled == nil {
		return
	}
	b.handler.admission.shrink(b.held)
	if cap(b.bytes) <= pooledBuffer {
		*b.pooled = b.bytes[:0]
		buffers.Put(b.pooled)
	}
	b.pooled, b.bytes = nil, nil
}

// read reads the whole body, in time and at most as long as it may be. An
// announced length is checked before the first read, because that read is what
// makes the server ask for the body (Expect: 100-continue).
func (b *body) read(w http.ResponseWriter, r *http.Request) *problem.Problem {
	h := b.handler
	most := b.limit()
	if b.media == mediaJSON {
		most = max(h.maxBatch, h.maxEvent)
	}
	if r.ContentLength > int64(most) {
		return b.tooLarge()
	}
	b.pooled = buffers.Get().(*[]byte)
	b.bytes = (*b.pooled)[:0]
	if !b.reserve(0) {
		return problem.Overloaded.New("the bodies under way take all the memory set aside for them")
	}
	deadline := http.NewResponseController(w)
	timed := deadline.SetReadDeadline(time.Now().Add(h.readTimeout)) == nil
	for {
		n, err := r.Body.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		if b.exceeds(r.ContentLength) {
			return b.tooLarge()
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return readProblem(err)
		}
		if len(b.bytes) == cap(b.bytes) && !b.reserve(r.ContentLength) {
			return problem.Overloaded.New("the bodies under way take all the memory set aside for them")
		}
	}
	if timed {
		// The server goes on reading, to notice when the client leaves.
		_ = deadline.SetReadDeadline(time.Time{})
	}
	return nil
}

// limit returns how long the body may be, as far as its bytes tell.
func (b *body) limit() int {
	if b.media == mediaLines || b.media == mediaCloudBatch || b.media == mediaJSON && b.first == '[' {
		return b.handler.maxBatch
	}
	return b.handler.maxEvent
}

// exceeds says whether the body is longer than it may be, or will be if it
// keeps its announced length. Before the first byte that is no white space it
// may still become a batch.
func (b *body) exceeds(announced int64) bool {
	for ; b.first == 0 && b.scanned < len(b.bytes); b.scanned++ {
		if c := b.bytes[b.scanned]; c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			b.first = c
		}
	}
	limit := b.limit()
	return len(b.bytes) > limit || b.first != 0 && announced > int64(limit)
}

// reserve makes room for at least one more byte, at once for all of what was
// announced if that is little.
func (b *body) reserve(announced int64) bool {
	size := cap(b.bytes)
	if len(b.bytes) == size {
		// One byte more than allowed is enough to see that it is too much.
		size = min(max(2*size, min(int(announced)+1, pooledBuffer)), b.limit()+1)
	}
	grown := int64(size) - b.held
	if !b.handler.admission.grow(b.held, grown) {
		return false
	}
	b.held += grown
	if size > cap(b.bytes) {
		b.bytes = append(make([]byte, 0, size), b.bytes...)
	}
	return true
}

func (b *body) tooLarge() *problem.Problem {
	return problem.BodyTooLarge.Newf("an event may have %d bytes, and a batch %d", b.handler.maxEvent, b.handler.maxBatch)
}

// readProblem says why the body could not be read to its end.
func readProblem(err error) *problem.Problem {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problem.BodyTimeout.New("the whole body must come within the read_timeout")
	case errors.As(err, &tooLarge):
		return problem.BodyTooLarge.Newf("the server admits %d bytes", tooLarge.Limit)
	default:
		return problem.MalformedJSON.New("the connection ended, or broke the framing, before the end of the body")
	}
}
