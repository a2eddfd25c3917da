package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
	"github.com/promptreports/caddy-webhooks/storage"
)

// statusError is an answer other than 2xx. Its text is for whoever asked.
type statusError struct {
	status     int
	text       string
	retryAfter time.Duration
}

// errNotStarted is the answer while there is no engine.
var errNotStarted = &statusError{http.StatusServiceUnavailable, "webhooks are not started, or shutting down", time.Second}

func failf(status int, format string, args ...any) *statusError {
	return &statusError{status: status, text: fmt.Sprintf(format, args...)}
}

// Error implements error.
func (f *statusError) Error() string { return f.text }

// write sends the failure.
func (f *statusError) write(w http.ResponseWriter) {
	if f.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.retryAfter/time.Second)))
	}
	body, err := encode(struct {
		Error string `json:"error"`
	}{f.text})
	if err != nil { // cannot happen: a string can be encoded
		body = nil
	}
	write(w, f.status, body)
}

// known says how to answer an error.
type known struct {
	is error
	statusError
}

// knownErrors are tried in order: an outbox that failed may wrap more.
var knownErrors = []known{
	{storage.ErrFailed, statusError{http.StatusServiceUnavailable, "the outbox failed and changes nothing until the process restarts", 30 * time.Second}},
	{storage.ErrClosed, *errNotStarted},
	{delivery.ErrNotStarted, *errNotStarted},
	{delivery.ErrStopping, *errNotStarted},
	{storage.ErrNotFound, statusError{http.StatusNotFound, "there is no such event or delivery, or it is no longer kept", 0}},
	{delivery.ErrUnknownEndpoint, statusError{http.StatusNotFound, "the endpoint is not configured", 0}},
	{delivery.ErrNotPending, statusError{http.StatusConflict, "the delivery is finished", 0}},
	{storage.ErrClaimLost, statusError{http.StatusConflict, "another process holds the delivery", 0}},
	{storage.ErrBadCursor, statusError{http.StatusBadRequest, "parameter cursor: is not the next_cursor of an answer", 0}},
	{storage.ErrFull, statusError{http.StatusInsufficientStorage, "the outbox has no room", 30 * time.Second}},
	{storage.ErrBacklogFull, statusError{http.StatusServiceUnavailable, "too many deliveries are pending", 30 * time.Second}},
	{storage.ErrTooLarge, statusError{http.StatusRequestEntityTooLarge, "the event is too large to be stored", 0}},
	{context.Canceled, statusError{http.StatusServiceUnavailable, "the request was cancelled", 0}},
	{context.DeadlineExceeded, statusError{http.StatusServiceUnavailable, "the request took too long", time.Second}},
}

// fail turns an error into an answer. What is not known is left to the log,
// because nobody checked what its text may hold.
func fail(err error) *statusError {
	if f := (*statusError)(nil); errors.As(err, &f) {
		return f
	}
	for i := range knownErrors {
		if errors.Is(err, knownErrors[i].is) {
			return &knownErrors[i].statusError
		}
	}
	return failf(http.StatusInternalServerError, "the request failed for a reason that is in the log")
}
