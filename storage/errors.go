package storage

import (
	"errors"
	"fmt"
)

// Errors on which callers decide.
var (
	// ErrClosed is the answer of every call after Close.
	ErrClosed = errors.New("outbox is closed")

	// ErrNotFound means that no such event or delivery is kept.
	ErrNotFound = errors.New("not found in the outbox")

	// ErrFull means that the disk is below the free-space watermark or the
	// outbox above its size limit: new events are refused, settling goes on.
	ErrFull = errors.New("outbox has no room for new events")

	// ErrBacklogFull means that as many deliveries are pending as may be.
	ErrBacklogFull = errors.New("outbox has too many pending deliveries")

	// ErrTooLarge means that the events of one Accept call, with their
	// deliveries, do not fit in one commit.
	ErrTooLarge = errors.New("events do not fit in one commit")

	// ErrFailed means that a commit could not be made durable. Nothing is
	// accepted until the process restarts.
	ErrFailed = errors.New("outbox failed")

	// ErrClaimLost means that another owner may have taken over a delivery.
	ErrClaimLost = errors.New("claim on the delivery was lost")

	// ErrInUse means that another process holds the outbox.
	ErrInUse = errors.New("outbox is in use by another process")

	// ErrBadCursor means that a page cursor is not one of this outbox.
	ErrBadCursor = errors.New("bad cursor")
)

// ConflictError says that an event's id is already kept with another payload,
// so that the first stands and nothing of the call was stored.
type ConflictError struct {
	// Indexes are the places of the offending events in the call.
	Indexes []int
}

// Error implements error.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("id of event %v is kept with another payload", e.Indexes)
}
