package module

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
	"github.com/promptreports/caddy-webhooks/module/internal/subscription"
)

// Endpoint is a configured receiver.
type Endpoint struct {
	// Where attempts are posted. It is https, or http where the host is a
	// literal loopback or private address or `localhost`.
	URL string `json:"url,omitempty"`

	// Which event types are wanted: exact types, `prefix.*` or `*`. A leading
	// `!` excludes. Default: `*`.
	Events []string `json:"events,omitempty"`

	// Conditions on fields of the event, which must all hold.
	Filter []Filter `json:"filter,omitempty"`

	EndpointOptions
}

// Filter is a condition on a field of an event.
type Filter struct {
	// The dotted path of the field, for example `metadata.folderId`.
	Field string `json:"field,omitempty"`

	// The values, any of which the field must have.
	Values []string `json:"values,omitempty"`
}

// EndpointOptions are the options which an endpoint may leave to `defaults`.
type EndpointOptions struct {
	// What the endpoint is, for people.
	Description string `json:"description,omitempty"`

	// The secrets that sign: the one in use first, then those before it, which
	// schemes with several signatures keep signing with. One that starts with
	// `whsk_` is a private key, with which `ed25519` signs and no other scheme;
	// `ed25519` signs with no other secret. A secret of a kind that no scheme of
	// the endpoint signs with is an error. Write placeholders (`{env.NAME}`,
	// `{file./path}`): a literal secret shows in the configuration. Default:
	// none, which leaves attempts unsigned.
	Secret []string `json:"secret,omitempty"`

	// How attempts are signed, modules of `webhooks.signers`. Two may share no
	// header, except that `standard` and `ed25519` together put the signatures of
	// both into `webhook-signature`. Default: `hmac` and `standard` where there
	// is a shared secret, `ed25519` where there is a private key.
	SignRaw []json.RawMessage `json:"sign,omitempty" caddy:"namespace=webhooks.signers inline_key=scheme"`

	// Headers to send with every attempt. Values may hold placeholders
	// (`{env.NAME}`, `{file./path}`). An endpoint's values replace those which
	// `defaults` has for the same name.
	Header http.Header `json:"header,omitempty"`

	// How long a whole attempt may take. Default: `30s`.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// When failed deliveries are tried again.
	Retry *Retry `json:"retry,omitempty"`

	// How long the endpoint may fail without a break before it is paused with
	// the reason `disabled`: by the first attempt that fails after that time.
	// Its deliveries wait until it is resumed through the management API, which
	// begins the time anew. 0 never disables it. Default: `5d`.
	DisableAfter *caddy.Duration `json:"disable_after,omitempty"`

	// How many attempts may be under way to the endpoint. Default: 16.
	MaxInFlight int `json:"max_in_flight,omitempty"`

	// How often attempts to the endpoint may be started. Default: no limit.
	RateLimit *RateLimit `json:"rate_limit,omitempty"`

	// Whether the endpoint is paused: its deliveries wait. Default: false.
	Paused *bool `json:"paused,omitempty"`

	// A transport of the endpoint's own. Only `http` is supported. Default:
	// the app's.
	TransportRaw json.RawMessage `json:"transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`
}

// RateLimit bounds how often attempts are started. It is a sliding window:
// there is no period of that length, wherever it begins, in which more are
// started. Retries and probes count, tests do not. Reloads change nothing
// about what was counted; a new process begins to count anew. What counts is
// when an attempt is started: the network may bring two closer together.
type RateLimit struct {
	// How many attempts may be started in any such period, 1 at least. All of
	// them may start at once.
	Attempts int `json:"attempts,omitempty"`

	// The length of the period.
	Per caddy.Duration `json:"per,omitempty"`
}

// check finds what is wrong with the limit.
func (r *RateLimit) check() error {
	switch {
	case r == nil:
		return nil
	case r.Attempts < 1:
		return in(errors.New("must be 1 at least"), "attempts")
	case r.Per <= 0:
		return in(errors.New("must be positive"), "per")
	}
	return nil
}

// limit returns what passed check; the zero limit is none.
func (r *RateLimit) limit() delivery.RateLimit {
	if r == nil {
		return delivery.RateLimit{}
	}
	return delivery.RateLimit{Attempts: r.Attempts, Per: time.Duration(r.Per)}
}

// check finds what is wrong with options, wherever they stand.
func (o *EndpointOptions) check(headerPrefix string) error {
	if o == nil {
		return nil
	}
	for i, s := range o.Secret {
		if err := CheckSecret(s); err != nil {
			return in(err, "secret", index(i))
		}
	}
	if err := checkHeader(o.Header, headerPrefix); err != nil {
		return in(err, "header")
	}
	if o.Timeout < 0 {
		return in(errNegative, "timeout")
	}
	if o.MaxInFlight < 0 {
		return in(errNegative, "max_in_flight")
	}
	if o.DisableAfter != nil && *o.DisableAfter < 0 {
		return in(errNegative, "disable_after")
	}
	if err := o.RateLimit.check(); err != nil {
		return in(err, "rate_limit")
	}
	return in(o.Retry.check(), "retry")
}

// merge fills what the endpoint does not say with what defaults say.
func (o EndpointOptions) merge(defaults *EndpointOptions) EndpointOptions {
	if defaults == nil {
		return o
	}
	o.Description = cmp.Or(o.Description, defaults.Description)
	if o.Secret == nil {
		o.Secret = defaults.Secret
	}
	o.Header = mergeHeader(o.Header, defaults.Header)
	o.Timeout = cmp.Or(o.Timeout, defaults.Timeout)
	o.Retry = o.Retry.merge(defaults.Retry)
	o.DisableAfter = cmp.Or(o.DisableAfter, defaults.DisableAfter)
	o.MaxInFlight = cmp.Or(o.MaxInFlight, defaults.MaxInFlight)
	o.RateLimit = cmp.Or(o.RateLimit, defaults.RateLimit)
	o.Paused = cmp.Or(o.Paused, defaults.Paused)
	return o
}

func (e *Endpoint) subscription() subscription.Subscription {
	s := subscription.Subscription{Patterns: e.Events}
	if len(e.Events) == 0 {
		s.Patterns = everyEvent
	}
	for _, f := range e.Filter {
		s.Filters = append(s.Filters, subscription.Filter(f))
	}
	return s
}

// everyEvent are the patterns of an endpoint that names none.
var everyEvent = []string{"*"}
