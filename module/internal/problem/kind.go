package problem

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Kind is what all problems of one code have in common.
type Kind struct {
	// Code is the last part of the problem type. It never changes its
	// meaning, so that clients can decide on it.
	Code string

	// Status is the HTTP status of the answer.
	Status int

	// Title is a short sentence for people.
	Title string

	// RetryAfter is how long clients are asked to wait, or zero where trying
	// again does not help.
	RetryAfter time.Duration
}

// Refusals of a body that is not what its content type says.
var (
	EmptyBody     = kind("empty-body", http.StatusBadRequest, "The body is empty.")
	MalformedJSON = kind("malformed-json", http.StatusBadRequest, "The body is not JSON.")
	NotAnObject   = kind("not-an-object", http.StatusBadRequest, "An event must be a JSON object.")
	TooDeep       = kind("too-deep", http.StatusBadRequest, "The JSON is nested too deeply.")
	DuplicateKey  = kind("duplicate-key", http.StatusBadRequest, "A member of the event is given more than once or in another case.")
	InvalidUTF8   = kind("invalid-utf8", http.StatusBadRequest, "The body is not UTF-8.")
)

// Refusals of JSON that is not an event.
var (
	NotJSStable       = kind("not-js-stable", http.StatusUnprocessableEntity, "A value would change when JavaScript reads and writes it.")
	MissingField      = kind("missing-field", http.StatusUnprocessableEntity, "A required member is missing.")
	InvalidField      = kind("invalid-field", http.StatusUnprocessableEntity, "A member has a value of the wrong kind.")
	UnknownField      = kind("unknown-field", http.StatusUnprocessableEntity, "An event has no such member.")
	DataNotJSON       = kind("data-not-json", http.StatusUnprocessableEntity, "The data of a CloudEvent is not JSON.")
	UnknownEventType  = kind("unknown-event-type", http.StatusUnprocessableEntity, "The event type is not in the catalogue.")
	InvalidID         = kind("invalid-id", http.StatusUnprocessableEntity, "The id is not valid.")
	InvalidType       = kind("invalid-type", http.StatusUnprocessableEntity, "The type is not valid.")
	InvalidTimestamp  = kind("invalid-timestamp", http.StatusUnprocessableEntity, "The timestamp is not valid.")
	TimestampInFuture = kind("timestamp-in-future", http.StatusUnprocessableEntity, "The timestamp is too far in the future.")
)

// Refusals of a batch, and of an event that collides with another.
var (
	// InvalidBatch sums up the problems of a batch's events. Its status is
	// the lowest among theirs.
	InvalidBatch       = kind("invalid-batch", http.StatusUnprocessableEntity, "The batch holds events that are refused.")
	EmptyBatch         = kind("empty-batch", http.StatusUnprocessableEntity, "The batch holds no event.")
	BatchTooLong       = kind("batch-too-long", http.StatusUnprocessableEntity, "The batch holds too many events.")
	DuplicateIDInBatch = kind("duplicate-id-in-batch", http.StatusUnprocessableEntity, "The batch holds two events with the same id.")
	IDConflict         = kind("id-conflict", http.StatusConflict, "An event with this id and another payload was accepted before.")
)

// Refusals of a request before its body is looked at.
var (
	Unauthorized         = kind("unauthorized", http.StatusUnauthorized, "A valid bearer token is required.")
	ForbiddenOrigin      = kind("forbidden-origin", http.StatusForbidden, "Requests from this origin are refused.")
	ForbiddenHost        = kind("forbidden-host", http.StatusForbidden, "Requests for this host are refused.")
	MethodNotAllowed     = kind("method-not-allowed", http.StatusMethodNotAllowed, "Events are accepted by POST only.")
	UnsupportedMediaType = kind("unsupported-media-type", http.StatusUnsupportedMediaType, "The content type is not supported.")
	UnsupportedEncoding  = kind("unsupported-encoding", http.StatusUnsupportedMediaType, "The content encoding is not supported.")
	BodyTimeout          = kind("body-timeout", http.StatusRequestTimeout, "The body came too slowly.")
	BodyTooLarge         = kind("body-too-large", http.StatusRequestEntityTooLarge, "The body is too large.")
	Loop                 = kind("loop", http.StatusLoopDetected, "The request is a delivery of this service.")
)

// Refusals for reasons that lie with this service. The same request may be
// sent again with the same id.
var (
	NotReady            = later("not-ready", http.StatusServiceUnavailable, "The service is not started yet.", time.Second)
	ShuttingDown        = later("shutting-down", http.StatusServiceUnavailable, "The service is shutting down.", time.Second)
	BacklogFull         = later("backlog-full", http.StatusServiceUnavailable, "Too many deliveries are pending.", 30*time.Second)
	Overloaded          = later("overloaded", http.StatusServiceUnavailable, "Too many events arrive at once.", time.Second)
	StoreFailed         = later("store-failed", http.StatusServiceUnavailable, "The outbox failed and accepts nothing until it is restarted.", 30*time.Second)
	InsufficientStorage = later("insufficient-storage", http.StatusInsufficientStorage, "The outbox has no room for new events.", 30*time.Second)
	NotStored           = later("not-stored", http.StatusInternalServerError, "The event could not be stored.", time.Second)
)

// kinds is filled in the order of the declarations above.
var kinds []Kind

// Kinds returns the whole catalogue.
func Kinds() []Kind { return slices.Clone(kinds) }

// New makes a problem of the kind. The detail must not hold payload.
func (k Kind) New(detail string) *Problem {
	return &Problem{Code: k.Code, Status: k.Status, Title: k.Title, Detail: detail, RetryAfter: k.RetryAfter}
}

// Newf is New with a format.
func (k Kind) Newf(format string, args ...any) *Problem {
	return k.New(fmt.Sprintf(format, args...))
}

// Batch makes the problem that sums up the problems of a batch's events, each
// of which names its place. There must be one at least.
func Batch(errors []*Problem) *Problem {
	p := InvalidBatch.Newf("events that are refused: %d; nothing was stored", len(errors))
	for _, e := range errors {
		p.Status = min(p.Status, e.Status)
	}
	p.Errors = errors
	return p
}

func kind(code string, status int, title string) Kind {
	return later(code, status, title, 0)
}

func later(code string, status int, title string, after time.Duration) Kind {
	k := Kind{Code: code, Status: status, Title: title, RetryAfter: after}
	kinds = append(kinds, k)
	return k
}
