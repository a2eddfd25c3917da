package storage

import (
	"context"
	"time"
)

// Outbox keeps events, deliveries and attempts.
//
// All methods are safe for concurrent use. Times are kept to the millisecond
// at least; an implementation may round attempt times to the microsecond.
// Slices and strings handed to an Outbox are not kept after the call returns,
// and those it hands out belong to the caller.
//
// Every method may be called after Close, and then answers ErrClosed; none
// panics. After a commit could not be made durable the outbox is poisoned:
// Accept, Settle and SetEndpointState answer an error that wraps ErrFailed
// until the process restarts, because on Linux a later sync proves nothing
// about the pages that an earlier one failed to write. Reads go on.
type Outbox interface {
	// Accept stores the events, each with one pending delivery for every
	// endpoint named in it, as one all-or-nothing commit, and returns only
	// when that commit is synced to stable storage. Concurrent calls share
	// commits.
	//
	// The answer has one element for each event, in order. An event whose ID
	// is already kept with the same body hash (or Digest) is a duplicate: nothing is
	// stored for it, and its element describes the event that was kept. When
	// any ID is kept with another body, or the same ID stands twice in events
	// with different bodies, nothing at all is stored and the error is a
	// *ConflictError.
	//
	// An event with Test set gets deliveries that are never due: they start
	// as failed with code CodeInterrupted, and the caller settles them.
	//
	// Other errors: ErrFull (disk or size limit), ErrBacklogFull (too many
	// pending deliveries), ErrTooLarge, ErrFailed, ErrClosed, or the error of
	// ctx. A call that ends with the error of ctx may have been committed.
	Accept(ctx context.Context, events []NewEvent) ([]Accepted, error)

	// Settle records what became of deliveries: an attempt, a new status, or
	// a later due time. Each settlement is all-or-nothing and synced when
	// Settle returns; the settlements of one call share a commit where the
	// engine keeps their deliveries together. A delivery stands at most once
	// in a call. Settling works while Accept answers ErrFull,
	// for as long as the engine's reserve lasts.
	//
	// Settling a delivery that does not exist is ErrNotFound. An outbox that
	// is shared by processes answers ErrClaimLost when the caller's claim on
	// a delivery ran out; the caller then forgets the delivery.
	Settle(ctx context.Context, settlements []Settlement) error

	// Due lists pending deliveries of one endpoint in the order of (due time,
	// id), strictly after the given position, at most limit of them. It
	// includes those whose time has not come. What it returns is claimed for
	// the caller: an outbox that is shared by processes leases it for a
	// while, and another process's Due passes over it. The embedded engine
	// has a single owner, so its claims end with the process.
	Due(ctx context.Context, endpoint string, after Position, limit int) ([]Due, error)

	// Pending counts the pending deliveries of each endpoint that has any,
	// including endpoints which are no longer configured. It is cheap: the
	// engine keeps the counts in memory.
	Pending() map[string]PendingCount

	// Event returns an event by its key, with its body, or ErrNotFound.
	Event(ctx context.Context, key EventKey) (*Event, error)

	// EventByID returns the newest event kept under the public id, with all
	// deliveries of that id in the order of their ids, or ErrNotFound.
	EventByID(ctx context.Context, id string) (*Event, []Delivery, error)

	// Delivery returns a delivery with all its attempts in order, or
	// ErrNotFound.
	Delivery(ctx context.Context, id DeliveryID) (*Delivery, []Attempt, error)

	// List returns deliveries that the filter admits, newest (greatest id)
	// first. A page may hold fewer than limit deliveries, even none, although
	// there are more: the work for one page is bounded. Only an empty
	// Page.Next says that there are no more.
	List(ctx context.Context, filter Filter, page PageRequest) (*Page, error)

	// Replay makes a new pending delivery, due at once, for the event and the
	// endpoint of an existing delivery, in one synced commit. The new
	// delivery names the old one in ReplayOf. Errors are those of Accept, and
	// ErrNotFound.
	Replay(ctx context.Context, of DeliveryID) (*Delivery, error)

	// SetEndpointState keeps what must survive a restart about an endpoint.
	// A zero state removes the record. Errors: ErrFull when the disk has no
	// room for it, ErrFailed, ErrClosed, or the error of ctx.
	SetEndpointState(ctx context.Context, endpoint string, state EndpointState) error

	// EndpointStates returns every endpoint state that is kept.
	EndpointStates(ctx context.Context) (map[string]EndpointState, error)

	// Usage describes the size and the state of the outbox. It is cheap.
	Usage() Usage

	// Failed is closed when the outbox is poisoned; Usage then says why.
	Failed() <-chan struct{}

	// Close makes every later call answer ErrClosed, waits for the calls
	// under way, syncs and releases the store. It is idempotent.
	Close() error
}

// NewEvent is an event to be accepted.
type NewEvent struct {
	// ID is the public id, the key of deduplication.
	ID string

	// Type is the event type.
	Type string

	// Body is the exact payload that every attempt sends.
	Body []byte

	// Digest is a SHA-256 of what makes two posts of one id the same event,
	// where that is less than Body (a time of receipt that was filled in must
	// not turn a repeated post into a conflict). Zero means the hash of Body.
	Digest [32]byte

	// TraceParent and TraceState are the W3C trace context of the request
	// that brought the event; they may be empty.
	TraceParent, TraceState string

	// Endpoints names the endpoints that get a delivery; it may be empty.
	Endpoints []string

	// Test marks an event of the management API's endpoint test.
	Test bool
}

// Accepted says what became of one event of an Accept call.
type Accepted struct {
	// Key identifies the stored event. Delivery i of the event, for the i-th
	// endpoint named in it, has the id Key.Delivery(i).
	Key EventKey

	// AcceptedAt is when the event was first stored.
	AcceptedAt time.Time

	// Deliveries is the number of deliveries that the event was given.
	Deliveries int

	// Duplicate says that the event was kept already.
	Duplicate bool
}

// Settlement is one change to a delivery.
type Settlement struct {
	// Delivery names the delivery.
	Delivery DeliveryID

	// Attempt is the attempt that was made; nil when the delivery changes
	// without one (it expired, was cancelled, or is to be tried now).
	Attempt *Attempt

	// Status is the status from now on.
	Status Status

	// Code says why, in the closed list of attempt and delivery codes.
	Code string

	// NextAttemptAt is when a pending delivery is due again.
	NextAttemptAt time.Time
}

// Due is a pending delivery as the engine's queues hold it.
type Due struct {
	// ID names the delivery.
	ID DeliveryID

	// At is when the next attempt is due: for a delivery that was never
	// rescheduled its creation, which after a clock went back may lie in the
	// future although the delivery is due at once.
	At time.Time

	// Attempts is the number of attempts that were settled.
	Attempts int
}

// Position is a place in the order in which deliveries of an endpoint are
// due. The zero Position is before all of them.
type Position struct {
	At time.Time
	ID DeliveryID
}

// Compare orders positions by time, to the millisecond, and then by id.
func (p Position) Compare(q Position) int {
	if a, b := unixMilli(p.At), unixMilli(q.At); a != b {
		if a < b {
			return -1
		}
		return 1
	}
	return p.ID.Compare(q.ID)
}

// unixMilli puts the zero time before every other.
func unixMilli(t time.Time) int64 {
	if t.IsZero() {
		return -1
	}
	return t.UnixMilli()
}

// PendingCount describes the pending deliveries of one endpoint.
type PendingCount struct {
	// Count is their number.
	Count int

	// Oldest is a lower bound of the acceptance time of the oldest one.
	Oldest time.Time
}

// EndpointState is what outlives a restart about an endpoint.
type EndpointState struct {
	// Paused says that an operator, or the endpoint itself by a 410, paused
	// the endpoint through the running process (not the configuration).
	Paused bool

	// Reason says why: "operator", "gone" or "disabled".
	Reason string

	// Since is when the pause began.
	Since time.Time

	// FailingSince is the start of the unbroken failure that is going on, or
	// zero.
	FailingSince time.Time
}

// Usage describes an outbox.
type Usage struct {
	// Path is where the outbox is.
	Path string

	// Bytes is the size on disk, or an estimate at most a few seconds old.
	Bytes int64

	// FreeBytes is what the file system has left, at most a second old; -1
	// where that is unknown.
	FreeBytes int64

	// Pending is the number of pending deliveries.
	Pending int

	// Full says that new events are refused with ErrFull.
	Full bool

	// Err is why the outbox is poisoned or read-only, or nil.
	Err error
}
