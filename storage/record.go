package storage

import (
	"time"
)

// Status is the state of a delivery.
type Status string

// The statuses of a delivery. StatusOrphaned is never stored: it is how the
// management API shows a pending delivery whose endpoint is not configured.
const (
	StatusPending   Status = "pending"
	StatusDelivered Status = "delivered"
	StatusFailed    Status = "failed"
	StatusCancelled Status = "cancelled"
	StatusOrphaned  Status = "orphaned"
)

// CodeInterrupted is the code of an attempt that the sidecar itself cut off,
// and of a test delivery whose result was never recorded.
const CodeInterrupted = "interrupted"

// Event is an event as it is kept.
type Event struct {
	Key                     EventKey
	ID                      string
	Type                    string
	Body                    []byte
	TraceParent, TraceState string
	AcceptedAt              time.Time
	Deliveries              int
	Test                    bool
}

// Delivery is one event for one endpoint.
type Delivery struct {
	ID        DeliveryID
	EventID   string
	Type      string
	Endpoint  string
	Status    Status
	Test      bool
	CreatedAt time.Time

	// Attempts is the number of attempts that were settled.
	Attempts int

	// Code and StatusCode are those of the last attempt or, where the
	// delivery ended without one, why it ended.
	Code       string
	StatusCode int

	// LastAttemptAt is when the last attempt started, or zero.
	LastAttemptAt time.Time

	// NextAttemptAt is when a pending delivery is due, else zero.
	NextAttemptAt time.Time

	// ReplayOf names the delivery that this one repeats, or is zero.
	ReplayOf DeliveryID
}

// Attempt is one HTTP request for a delivery.
type Attempt struct {
	// Number counts from 1.
	Number int

	// StartedAt is when the attempt began.
	StartedAt time.Time

	// Duration is the whole time, from StartedAt to the verdict.
	Duration time.Duration

	// Phases are the parts of Duration.
	Phases Phases

	// Verdict is "success", "retry", "permanent" or "interrupted".
	Verdict string

	// Code says what happened, in a closed list.
	Code string

	// StatusCode is the receiver's answer, or 0 where there was none.
	StatusCode int

	// Header holds the response headers that are kept.
	Header map[string]string

	// Body is the excerpt of the response body that is kept.
	Body []byte

	// BodyTruncated says that the body was longer than the excerpt.
	BodyTruncated bool

	// BodyIncomplete says that reading the body failed or was cut off.
	BodyIncomplete bool

	// RemoteAddr is the address that was really dialled, for operators.
	RemoteAddr string

	// TLSVersion is the version spoken, for example "TLS 1.3", or empty.
	TLSVersion string

	// NextAttemptAt is when the delivery was due again, or zero.
	NextAttemptAt time.Time
}

// Phases are the parts of an attempt's duration. A part that did not take
// place, such as dialling on a kept connection, is zero.
type Phases struct {
	DNS, Connect, TLS, Write, Wait, Body time.Duration
}
