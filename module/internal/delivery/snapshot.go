package delivery

import (
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/module/internal/signature"
	"github.com/promptreports/caddy-webhooks/module/internal/subscription"
	"github.com/promptreports/caddy-webhooks/storage"
)

// Snapshot is one generation of the configuration, ready for use: secrets
// resolved, patterns compiled, transports loaded. It is immutable, and all
// that it points to is safe for concurrent use. A reload attaches another.
type Snapshot struct {
	// Endpoints are the configured endpoints by name.
	Endpoints map[string]*Endpoint

	// Names are the names of the endpoints, sorted. Index answers with
	// positions in Names.
	Names []string

	// Index finds the endpoints that subscribe to an event.
	Index *subscription.Index

	// EventTypes is the catalogue of event types, sorted; empty admits all.
	EventTypes []string

	// HeaderPrefix starts the names of our own headers, without a trailing
	// dash.
	HeaderPrefix string

	// UserAgent is sent with every attempt.
	UserAgent string

	// MaxInFlight bounds the attempts under way to all endpoints together.
	MaxInFlight int

	// Logger is never nil.
	Logger *zap.Logger

	// Observer is told what happens; never nil.
	Observer Observer
}

// Endpoint is a configured receiver.
type Endpoint struct {
	Name        string
	Description string

	// URL is where attempts go.
	URL *url.URL

	// DisplayURL is URL without userinfo, query and fragment, for people.
	DisplayURL string

	// Events and Filters are the subscription as it was written, for people.
	Events  []string
	Filters []subscription.Filter

	// Paused says that the configuration pauses the endpoint.
	Paused bool

	// Timeout bounds a whole attempt.
	Timeout time.Duration

	// MaxInFlight bounds the attempts under way to this endpoint.
	MaxInFlight int

	// RateLimit bounds how often attempts are started, retries and probes
	// included. Tests are not counted.
	RateLimit RateLimit

	// Retry says when a failed delivery is tried again.
	Retry RetryPolicy

	// DisableAfter is how long the endpoint may fail without a break before it
	// is paused; zero never pauses it.
	DisableAfter time.Duration

	// Header holds the endpoint's own headers in canonical form.
	Header http.Header

	// Secrets are those that the signers sign with. Nothing of an answer that
	// repeats one is kept.
	Secrets []signature.Secret

	// Signers sign each attempt, in order; none leaves it unsigned.
	Signers []signature.Signer

	// Transport sends attempts. It is guarded, follows no redirects and is
	// used for exactly one RoundTrip an attempt.
	Transport http.RoundTripper
}

// Observer is told what the engine does. Its methods are called on the hot
// path: they must be quick, must not block, and must be safe for concurrent
// use.
type Observer interface {
	// AttemptDone is told each attempt that ended, with the endpoint's name.
	AttemptDone(endpoint, verdict, code string, duration time.Duration)

	// DeliveryDone is told each delivery that reached a final status. The
	// latency runs from acceptance to the verdict.
	DeliveryDone(d Done)

	// EndpointChanged is told each change of an endpoint's health.
	EndpointChanged(endpoint string, from, to EndpointHealth, reason string)
}

// Done describes a delivery that reached a final status.
type Done struct {
	Endpoint      string
	DeliveryID    storage.DeliveryID
	EventID, Type string
	Status, Code  string
	Attempts      int
	Latency       time.Duration
}

// EndpointHealth is the state of an endpoint.
type EndpointHealth string

// The states of an endpoint.
const (
	Healthy EndpointHealth = "healthy"
	Failing EndpointHealth = "failing"
	Paused  EndpointHealth = "paused"
)
