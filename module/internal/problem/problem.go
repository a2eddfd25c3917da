// Package problem holds the refusals of the ingest, each a problem detail of
// RFC 9457 with a stable code.
package problem

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// typePrefix is the namespace of the problem types.
const typePrefix = "urn:caddy-webhooks:problem:"

// ContentType is the media type of a problem detail (RFC 9457, section 3).
const ContentType = "application/problem+json"

// Problem is one refusal. It is an error, and marshals as a problem detail.
// Neither Title nor Detail ever holds payload.
type Problem struct {
	// Code is the last part of the problem type.
	Code string

	// Status is the HTTP status of the answer.
	Status int

	// Title is the same for every problem of a code.
	Title string

	// Detail explains this occurrence.
	Detail string

	// Pointer is the JSON Pointer (RFC 6901) of the offending member, or nil.
	// An empty pointer is the whole document.
	Pointer *string

	// Offset is the position in the body in bytes, or nil.
	Offset *int64

	// Index is the place of the offending event in a batch, or nil.
	Index *int

	// Errors are the problems of a batch's events.
	Errors []*Problem

	// RetryAfter is sent as a header in whole seconds where it is not zero.
	RetryAfter time.Duration
}

// Error implements error.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return strings.TrimSuffix(p.Title, ".") + ": " + p.Detail
}

// At returns a copy that names the place of the event in its batch.
func (p Problem) At(index int) *Problem {
	p.Index = &index
	return &p
}

// MarshalJSON writes the problem detail.
func (p *Problem) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Type    string     `json:"type"`
		Title   string     `json:"title"`
		Status  int        `json:"status"`
		Detail  string     `json:"detail,omitempty"`
		Pointer *string    `json:"pointer,omitempty"`
		Offset  *int64     `json:"offset,omitempty"`
		Index   *int       `json:"index,omitempty"`
		Errors  []*Problem `json:"errors,omitempty"`
	}{typePrefix + p.Code, p.Title, p.Status, p.Detail, p.Pointer, p.Offset, p.Index, p.Errors})
}

// Write answers a request with the problem.
func (p *Problem) Write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", ContentType)
	h.Set("Cache-Control", "no-store")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((p.RetryAfter+time.Second-1)/time.Second)))
	}
	body, err := json.Marshal(p)
	if err != nil { // cannot happen: every field is a string or a number
		http.Error(w, p.Title, p.Status)
		return
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}

// WithPointer sets the pointer, and returns the problem.
func (p *Problem) WithPointer(pointer string) *Problem {
	p.Pointer = &pointer
	return p
}

// WithOffset sets the offset in bytes, and returns the problem.
func (p *Problem) WithOffset(offset int) *Problem {
	o := int64(offset)
	p.Offset = &o
	return p
}

var _ error = (*Problem)(nil)
