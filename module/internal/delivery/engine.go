package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/promptreports/caddy-webhooks/module/internal/event"
	"github.com/promptreports/caddy-webhooks/storage"
)

// Errors on which callers decide.
var (
	// ErrUnknownEndpoint means that no such endpoint is configured.
	ErrUnknownEndpoint = errors.New("endpoint is not configured")

	// ErrNotPending means that a delivery is finished already.
	ErrNotPending = errors.New("delivery is finished")

	// ErrNotStarted means that the engine was never given a configuration.
	ErrNotStarted = errors.New("engine has no configuration yet")

	// ErrStopping means that nothing is sent any more.
	ErrStopping = errors.New("engine is stopping")
)

// Options configures an Engine.
type Options struct {
	// Outbox is required. The caller closes it after the engine.
	Outbox storage.Outbox

	// Now is the wall clock, for what is stored and shown; waiting does not
	// depend on it. The default is time.Now.
	Now func() time.Time

	// Rand returns evenly spread numbers in [0, 1) for jitter. It must be
	// safe for concurrent use. The default is math/rand/v2.Float64.
	Rand func() float64
}

// Publication is an event to be published, with the W3C trace context that it
// came with.
type Publication struct {
	Event                   *event.Event
	TraceParent, TraceState string
}

type Engine struct{ opts Options }

type Lease struct{}

func New(opts Options) (*Engine, error)             { return &Engine{opts: opts}, nil }
func (e *Engine) Outbox() storage.Outbox            { return e.opts.Outbox }
func (e *Engine) Snapshot() *Snapshot               { return nil }
func (e *Engine) Attach(s *Snapshot) *Lease         { return nil }
func (l *Lease) Release()                           {}
func (e *Engine) Quiesce(ctx context.Context) error { return nil }
func (e *Engine) Close() error                      { return nil }
func (e *Engine) Publish(ctx context.Context, publications []Publication) ([]storage.Accepted, error) {
	return nil, ErrNotStarted
}
func (e *Engine) Test(ctx context.Context, endpoint string, ev *event.Event) (*storage.Delivery, *storage.Attempt, error) {
	return nil, nil, ErrNotStarted
}
func (e *Engine) Retry(ctx context.Context, id storage.DeliveryID) (*storage.Delivery, error) {
	return nil, ErrNotStarted
}
func (e *Engine) Cancel(ctx context.Context, id storage.DeliveryID) (*storage.Delivery, error) {
	return nil, ErrNotStarted
}
func (e *Engine) Pause(ctx context.Context, endpoint, reason string) error { return ErrNotStarted }
func (e *Engine) Resume(ctx context.Context, endpoint string) error        { return ErrNotStarted }
func (e *Engine) Endpoint(name string) (EndpointStatus, bool)              { return EndpointStatus{}, false }
func (e *Engine) Endpoints() []EndpointStatus                              { return nil }
func (e *Engine) Status() Status                                           { return Status{} }
