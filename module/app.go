package module

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

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

	// The receivers, by name. A name has 1 to 128 letters, digits and
	// `. _ ~ : -`, and starts with a letter or a digit. Deliveries belong to the
	// name: those of a name that leaves wait until it comes back.
	Endpoints map[string]*Endpoint `json:"endpoints,omitempty"`

	lifecycle

	logger   *zap.Logger
	outbox   Outbox
	snapshot *delivery.Snapshot

	// ingests are where the servers listen that have a handler for events,
	// and ownTold says that an endpoint leads to one of them.
	ingests listenerSet
	ownTold sync.Once
}

// Metrics says what the metrics tell.
type Metrics struct {
	// Whether metrics carry the endpoint's name as a label. The number of
	// series grows with the number of endpoints. Default: false.
	PerEndpoint bool `json:"per_endpoint,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "webhooks",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision reads the configuration into memory. It opens no store, starts
// nothing, and touches no file but those that placeholders name, so that a
// configuration can be validated beside a running instance.
func (a *App) Provision(ctx caddy.Context) error {
	a.logger = ctx.Logger()
	if err := a.Check(); err != nil {
		return err
	}
	warnOpenAdmin(ctx, a.logger)
	observer, err := a.prepare(ctx, slices.Sorted(maps.Keys(a.Endpoints)), a.Metrics != nil && a.Metrics.PerEndpoint)
	if err != nil {
		return err
	}
	if err := a.loadOutbox(ctx); err != nil {
		return in(err, "outbox")
	}
	a.snapshot, err = a.build(ctx, observer)
	return err
}

func (a *App) loadOutbox(ctx caddy.Context) error {
	if len(a.OutboxRaw) == 0 {
		a.OutboxRaw = json.RawMessage(defaultOutbox)
	}
	loaded, err := ctx.LoadModule(a, "OutboxRaw")
	if err != nil {
		return err
	}
	o, ok := loaded.(Outbox)
	if !ok {
		return fmt.Errorf("module %T is not an outbox", loaded)
	}
	a.outbox = o
	return nil
}

// headerPrefix is what the names of our own headers start with.
func (a *App) headerPrefix() string { return cmp.Or(a.HeaderPrefix, defaultHeaderPrefix) }
