package delivery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

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

	// MaxPinned bounds the memory for the bodies of events that wait, in
	// bytes. Beyond it a body is read again when it is sent. The default is
	// 64 MiB.
	MaxPinned int64
}

const defaultMaxPinned = 64 << 20

// Engine sends what the outbox holds. It outlives the configurations that it
// is given one after the other, so that a reload interrupts nothing.
//
// One lock guards all queues. Nothing is done under it that waits or that
// grows with the number of endpoints, except when a configuration is attached
// or an operator asks.
type Engine struct {
	outbox storage.Outbox
	now    func() time.Time
	rand   func() float64
	send   func(context.Context, *Message) Outcome

	// size is that of every window; zero derives it from the number of
	// endpoints.
	size int

	// epoch is the zero of the engine's own clock.
	epoch     time.Time
	wallEpoch time.Time

	// current is what Publish matches against, nil before the first Attach.
	current atomic.Pointer[binding]

	scratch sync.Pool // of *publishing

	// merges counts what may have changed where deliveries are.
	merges atomic.Uint64
	closed atomic.Bool

	// ctx ends when attempts under way are cut off.
	ctx    context.Context
	cutOff context.CancelFunc

	// saving is held by whoever writes the state of an endpoint.
	saving chan struct{}

	running sync.WaitGroup // workers and readers

	mu       sync.Mutex
	idle     sync.Cond // workers without work wait here
	queues   map[string]*queue
	leases   []*Lease
	states   map[string]storage.EndpointState // of endpoints not yet seen
	dispatch dispatcher
	readers  readers
	pinned   int64
	most     int64 // the bound of pinned
	tests    int
	stopping bool
	failure  error
	drained  chan struct{} // closed when nothing is in flight; nil where nobody waits
}

// binding is a snapshot with the queues of its endpoints, parallel to Names.
type binding struct {
	*Snapshot
	queues []*queue
}

// New makes an engine for what is in the outbox. It sends nothing before a
// snapshot is attached.
func New(opts Options) (*Engine, error) { return newEngine(opts, Send) }

func newEngine(opts Options, send func(context.Context, *Message) Outcome) (*Engine, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Rand == nil {
		opts.Rand = rand.Float64
	}
	if opts.MaxPinned == 0 {
		opts.MaxPinned = defaultMaxPinned
	}
	states, err := opts.Outbox.EndpointStates(context.Background())
	if err != nil {
		return nil, fmt.Errorf("reading the states of endpoints: %w", err)
	}
	e := &Engine{
		outbox: opts.Outbox, now: opts.Now, rand: opts.Rand, send: send, most: opts.MaxPinned,
		epoch: time.Now(), wallEpoch: opts.Now(),
		saving: make(chan struct{}, 1), queues: make(map[string]*queue), states: states,
	}
	e.scratch.New = func() any { return new(publishing) }
	e.idle.L = &e.mu
	e.ctx, e.cutOff = context.WithCancel(context.Background())
	return e, nil
}

// clock is the engine's own time, which never jumps.
func (e *Engine) clock() time.Duration { return time.Since(e.epoch) }

// agingClock is the time by which deliveries age. It is behind the wall clock
// after that jumped forward, because a jump must not end deliveries.
func (e *Engine) agingClock(now time.Duration) time.Time {
	wall, steady := e.now(), e.wallEpoch.Add(now)
	if wall.After(steady.Add(time.Minute)) {
		return steady
	}
	return wall
}

// Outbox returns the outbox that the engine was made for.
func (e *Engine) Outbox() storage.Outbox { return e.outbox }

// Snapshot returns the current configuration, or the last one where none is
// attached; nil before the first Attach.
func (e *Engine) Snapshot() *Snapshot {
	if b := e.current.Load(); b != nil {
		return b.Snapshot
	}
	return nil
}

// Quiesce ends sending for good: no attempt is started any more, and those
// under way are waited for until ctx ends, when they are cut off, recorded as
// interrupted, and left due. It then returns the error of ctx. Accepting goes
// on.
func (e *Engine) Quiesce(ctx context.Context) error {
	e.mu.Lock()
	e.stopping = true
	drained := e.wait()
	e.mu.Unlock()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-drained:
		return nil
	default:
	}
	e.cutOff()
	<-drained
	return ctx.Err()
}

// wait returns a channel that is closed when nothing is in flight. The caller
// holds the lock.
func (e *Engine) wait() <-chan struct{} {
	if e.drained == nil {
		e.drained = make(chan struct{})
	}
	drained := e.drained
	e.checkDrained()
	return drained
}

// checkDrained wakes those who wait for the end of all attempts. The caller
// holds the lock.
func (e *Engine) checkDrained() {
	if e.drained != nil && e.dispatch.inFlight == 0 && e.tests == 0 {
		close(e.drained)
		e.drained = nil
	}
}

// Close cuts off the attempts under way, if Quiesce left any, and ends the
// engine's goroutines. The caller closes the outbox afterwards. Close is
// idempotent and returns nil.
func (e *Engine) Close() error {
	cut, cancel := context.WithCancel(context.Background())
	cancel()
	_ = e.Quiesce(cut) // its error says no more than that attempts were cut off
	e.cutOff()
	e.mu.Lock()
	e.closed.Store(true)
	e.dispatch.stopTimer()
	e.idle.Broadcast()
	e.mu.Unlock()
	e.running.Wait()
	return nil
}

// halted says whether nothing may be sent or read. The caller holds the lock.
func (e *Engine) halted() bool {
	return e.stopping || e.closed.Load() || e.failed() || len(e.leases) == 0
}

// failed says whether the outbox can record nothing any more: that may be so
// from the start on, when something in it is missing. The caller holds the
// lock.
func (e *Engine) failed() bool {
	if e.failure == nil {
		select {
		case <-e.outbox.Failed():
			e.failure = e.outbox.Usage().Err
		default:
		}
	}
	return e.failure != nil
}

// fail ends sending because the outbox cannot record anything any more.
func (e *Engine) fail(err error) {
	e.mu.Lock()
	first := e.failure == nil && !e.closed.Load()
	if first {
		e.failure = err
	}
	e.mu.Unlock()
	if first {
		e.logger().Error("the outbox failed; nothing is sent until the process restarts", zap.Error(err))
	}
}

// isFatal says whether the outbox will never record anything any more.
func isFatal(err error) bool {
	return errors.Is(err, storage.ErrFailed) || errors.Is(err, storage.ErrClosed)
}

func (e *Engine) logger() *zap.Logger {
	if s := e.Snapshot(); s != nil {
		return s.Logger
	}
	return zap.NewNop()
}
