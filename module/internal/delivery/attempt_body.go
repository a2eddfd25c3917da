package delivery

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

const (
	// bodyRead is how much of an answer's body is read, so that its
	// connection can be kept, and bodyKept how much of it is recorded.
	bodyRead = 64 << 10
	bodyKept = 4 << 10

	// bodyWait bounds the time for the body: it decides nothing any more.
	bodyWait = 2 * time.Second

	// headerKept bounds each response header that is recorded.
	headerKept = 256
)

// bodyBuffers hold what is read of bodies; most are short or empty.
var bodyBuffers = sync.Pool{New: func() any { return new([2 * bodyKept]byte) }}

// readBody reads and closes the body of an answer. Trouble in it is recorded
// and changes nothing else.
func (w *wire) readBody(a *storage.Attempt, res *http.Response) {
	defer res.Body.Close()
	if res.Body == http.NoBody || res.ContentLength == 0 {
		return
	}
	w.timer.Reset(min(bodyWait, time.Until(w.deadline)))

	buf := bodyBuffers.Get().(*[2 * bodyKept]byte)
	defer bodyBuffers.Put(buf)
	kept, total := 0, 0
	for total <= bodyRead {
		// What is not kept is read over the second half.
		n, err := res.Body.Read(buf[kept:min(len(buf), kept+bodyRead+1-total)])
		total += n
		kept = min(kept+n, bodyKept)
		if err != nil {
			a.BodyIncomplete = !errors.Is(err, io.EOF)
			break
		}
	}
	a.BodyTruncated = total > bodyKept
	if kept > 0 {
		a.Body = append([]byte(nil), buf[:kept]...)
	}
}

// keptHeader returns the response headers that are recorded, or nil.
func keptHeader(h http.Header) map[string]string {
	contentType, retryAfter := h["Content-Type"], h["Retry-After"]
	if len(contentType) == 0 && len(retryAfter) == 0 {
		return nil
	}
	kept := make(map[string]string, 2)
	if len(contentType) > 0 {
		kept["content-type"] = printable(contentType[0])
	}
	if len(retryAfter) > 0 {
		kept["retry-after"] = printable(retryAfter[0])
	}
	return kept
}

// keepLocation records where a redirect, which is not followed, leads to: the
// scheme and the host only, as for every URL.
func keepLocation(a *storage.Attempt, res *http.Response) {
	u, err := res.Location()
	if err != nil || u.Scheme == "" || u.Host == "" {
		return
	}
	if a.Header == nil {
		a.Header = make(map[string]string, 1)
	}
	a.Header["location"] = printable(u.Scheme + "://" + u.Host)
}

// printable cuts a header value down to headerKept bytes, and replaces all
// that is not printable ASCII.
func printable(s string) string {
	s = s[:min(len(s), headerKept)]
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return replaceUnprintable(s)
		}
	}
	return s
}

func replaceUnprintable(s string) string {
	out := []byte(s)
	for i, c := range out {
		if c < ' ' || c > '~' {
			out[i] = '?'
		}
	}
	return string(out)
}
