package module

import (
	"encoding/json"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
)

func init() {
	caddy.RegisterModule(new(App))
}

// App is the webhooks app: it keeps the events that handlers accept in the
// outbox, and delivers each to the endpoints that subscribe to it.
//
// Everything may change by a reload except the engine of the outbox and what
// the engine says cannot change while it runs.
type App struct {
	// The engine that keeps events, deliveries and attempts, a module of
	// `webhooks.outbox`. Default: `badger` in the directory `webhooks` of
	// Caddy's data directory.
	OutboxRaw json.RawMessage `json:"outbox,omitempty" caddy:"namespace=webhooks.outbox inline_key=engine"`

	// The catalogue of event types. When it is given, events of any other
	// type are refused, and so are patterns that match none of it. Default:
	// every type is accepted.
	EventTypes []string `json:"event_types,omitempty"`

	// What the names of our own headers start with, without a trailing dash.
	// Default: `X-Webhook`.
	HeaderPrefix string `json:"header_prefix,omitempty"`

	// How the payload is written: `js_stable` writes it so that
	// `JSON.stringify(JSON.parse(body))` gives the same bytes, and refuses
	// what cannot be written so without changing a value; `exact` keeps `data`
	// and `metadata` byte for byte. Default: `js_stable`.
	Payload string `json:"payload,omitempty"`

	// What holds for every endpoint that does not say otherwise.
	Defaults *EndpointOptions `json:"defaults,omitempty"`

	// Where deliveries may go. Default: public addresses by https, and
	// loopback or private ones that an endpoint's URL names literally.
	Egress *Egress `json:"egress,omitempty"`

	// The transport that sends attempts, shared by all endpoints without one
	// of their own. Only `http` is supported, as in `reverse_proxy`. Default:
	// `http` as it comes.
	TransportRaw json.RawMessage `json:"transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`

	// How many attempts may be under way to all endpoints together. Default:
	// 512.
	MaxInFlight int `json:"max_in_flight,omitempty"`

	// How long attempts under way may take to end when Caddy shuts down. Those
	// cut off are made again after the next start. 0 does not wait. Default:
	// `5s`.
	GracePeriod *caddy.Duration `json:"grace_period,omitempty"`

	// What the metrics tell.
	Metrics *Metrics `json:"metrics,omitempty"`

	// The receivers, by name. A name has 1 to 64 letters, digits, dashes, dots
	// and underscores, and starts with a letter or a digit. Deliveries belong to
	// the name: those of a name that leaves wait until it comes back.
	Endpoints map[string]*Endpoint `json:"endpoints,omitempty"`

	logger   *zap.Logger
	outbox   Outbox
	snapshot *delivery.Snapshot
}

// Metrics says what the metrics tell.
type Metrics struct {
	// Whether metrics carry the endpoint's name as a label. The number of
	// series grows with the number of endpoints. Default: false.
	PerEndpoint bool `json:"per_endpoint,omitempty"`
}

// Egress says where deliveries may go. It is checked on the address that is
// really dialled, after the name was resolved.
type Egress struct {
	// Address ranges in CIDR notation, or single addresses, which deliveries
	// may reach although they are loopback, private, link-local or otherwise
	// special.
	Allow []string `json:"allow,omitempty"`

	// Address ranges in CIDR notation, or single addresses, which deliveries
	// must not reach. It wins over `allow`.
	Deny []string `json:"deny,omitempty"`

	// Whether URLs with http:// may name public hosts. Default: false.
	AllowHTTP bool `json:"allow_http,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "webhooks",
		New: func() caddy.Module { return new(App) },
	}
}
