package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
)

// maxBody bounds the body of a request to the API, in bytes: as much as an
// event may have by default.
const maxBody = 1 << 20

// request is a request whose route and engine were found.
type request struct {
	*http.Request
	engine *delivery.Engine

	// argument is the value of the path's parameter.
	argument string

	// body is the body of a POST.
	body []byte

	// query is the query, every parameter of which is known and given once.
	query url.Values

	// status is the status of a good answer; 200 unless the route says
	// otherwise.
	status int
}

// verbatim is an answer that is JSON already.
type verbatim []byte

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req := &request{Request: r, status: http.StatusOK}
	answer, err := h.serve(w, req)
	if err != nil {
		f := fail(err)
		if f.status == http.StatusInternalServerError {
			h.log(req, err)
		}
		f.write(w)
		return
	}
	body, ok := answer.(verbatim)
	if !ok {
		if body, err = encode(answer); err != nil {
			h.log(req, err)
			fail(err).write(w)
			return
		}
	}
	write(w, req.status, body)
}

// serve finds the route, checks the request and has it answered.
func (h *Handler) serve(w http.ResponseWriter, req *request) (any, error) {
	route, argument, allowed := find(req.Request)
	if route == nil && len(allowed) == 0 {
		return nil, failf(http.StatusNotFound, "there is no such path in the management API")
	}
	if route == nil {
		allow := strings.Join(allowed, ", ")
		w.Header().Set("Allow", allow)
		return nil, failf(http.StatusMethodNotAllowed, "method %s is not allowed here; there is %s", req.Method, allow)
	}
	req.argument = argument
	var err error
	if req.query, err = parseQuery(req.URL.RawQuery, route.path); err != nil {
		return nil, err
	}
	if route.method == http.MethodPost {
		if err := h.readPost(w, req); err != nil {
			return nil, err
		}
	}
	if req.engine = h.engine(); req.engine == nil {
		return nil, errNotStarted
	}
	return route.serve(h, req)
}

// readPost refuses what a web page of another origin could send, and reads the
// body.
func (h *Handler) readPost(w http.ResponseWriter, req *request) error {
	if err := h.origins.Check(req.Request); err != nil {
		return failf(http.StatusForbidden, "requests from web pages of another origin are refused")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return failf(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", maxBody)
	}
	if err != nil {
		return failf(http.StatusBadRequest, "the body could not be read")
	}
	if len(body) > 0 {
		if mediaType, _, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
			return failf(http.StatusUnsupportedMediaType, "the content type must be application/json")
		}
	}
	req.body = body
	return nil
}

// takesNoBody refuses anything but nothing and an empty object.
func (r *request) takesNoBody() error {
	if text := bytes.TrimSpace(r.body); len(text) > 0 && string(text) != "{}" {
		return failf(http.StatusBadRequest, "the request takes no body")
	}
	return nil
}

// log tells the operator what an answer does not.
func (h *Handler) log(req *request, err error) {
	if req.engine == nil {
		return
	}
	if s := req.engine.Snapshot(); s != nil {
		s.Logger.Error("answering a request to the management API",
			zap.String("method", req.Method), zap.String("path", req.URL.Path), zap.Error(err))
	}
}

// encode writes an answer. Characters of HTML stay as they are: the content
// type is JSON, and browsers are told not to guess.
func encode(answer any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(answer)
	return buf.Bytes(), err
}

// write sends an answer.
func write(w http.ResponseWriter, status int, body []byte) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// stamp is a time in an answer; the zero time is null.
type stamp time.Time

// MarshalJSON writes RFC 3339 in UTC with microseconds.
func (s stamp) MarshalJSON() ([]byte, error) {
	t := time.Time(s)
	if t.IsZero() {
		return []byte("null"), nil
	}
	return t.UTC().AppendFormat(make([]byte, 0, 32), `"2006-01-02T15:04:05.000000Z07:00"`), nil
}

// millis is a duration in an answer.
type millis time.Duration

// MarshalJSON writes milliseconds, with as many decimals as microseconds need.
func (m millis) MarshalJSON() ([]byte, error) {
	us := time.Duration(m).Microseconds()
	return strconv.AppendFloat(make([]byte, 0, 16), float64(us)/1000, 'f', -1, 64), nil
}

// optional is a number in an answer; zero is null.
type optional int

// MarshalJSON writes the number.
func (n optional) MarshalJSON() ([]byte, error) {
	if n == 0 {
		return []byte("null"), nil
	}
	return strconv.AppendInt(nil, int64(n), 10), nil
}

var _ http.Handler = (*Handler)(nil)
