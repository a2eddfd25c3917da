package module

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
	"github.com/promptreports/caddy-webhooks/storage"
)

// engines pools the engines by the location of their outbox, and by nothing
// else: with an option in the key, changing that option would open the same
// directory a second time.
var engines = caddy.NewUsagePool()

// running holds the engines that are open and know their endpoints, for
// whoever needs one without taking a reference. An engine is in here only from
// its first snapshot on: before that, events would match no endpoint.
var running = struct {
	sync.RWMutex
	byLocation map[string]*pooledEngine
}{byLocation: make(map[string]*pooledEngine)}

// pooledEngine is an open outbox with its engine. It outlives the
// configurations that use it, and keeps nothing of them but what attach and
// release replace.
type pooledEngine struct {
	location, fingerprint string

	engine *delivery.Engine
	outbox storage.Outbox
	log    *relayCore
	events *eventQueue

	mu sync.Mutex
	// apps are the configurations that have started, in that order. The first
	// one is current: engine, outbox and log follow it. In a reload the next
	// one waits until Caddy stops the one before it, which Caddy does only
	// when nothing can fail any more; so no event is matched against, and no
	// attempt is made by, a configuration that does not come to be.
	apps  []*App
	lease *delivery.Lease

	// grace is the grace period of the configuration that was last in use.
	grace time.Duration
}

// loadEngine returns the engine of the outbox, and opens it unless a running
// configuration has. Each call that succeeds takes a reference, which
// unloadEngine gives back.
func loadEngine(o Outbox, logger *zap.Logger) (*pooledEngine, error) {
	v, _, err := engines.LoadOrNew(o.Location(), func() (caddy.Destructor, error) {
		return openEngine(o, logger)
	})
	if err != nil {
		return nil, err
	}
	return v.(*pooledEngine), nil
}

// unloadEngine gives back a reference. The last one closes the outbox, before
// unloadEngine returns: whoever opens it next must find it unlocked.
func unloadEngine(location string) error {
	_, err := engines.Delete(location)
	return err
}

func openEngine(o Outbox, logger *zap.Logger) (*pooledEngine, error) {
	p := &pooledEngine{location: o.Location(), fingerprint: o.Fingerprint(), log: newRelayCore(logger.Core())}
	var err error
	if p.outbox, err = o.Open(zap.New(p.log).Named("webhooks.outbox")); err != nil {
		return nil, fmt.Errorf("opening the outbox %s: %w", p.location, err)
	}
	if p.engine, err = delivery.New(delivery.Options{Outbox: p.outbox}); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the engine of the outbox %s: %w", p.location, err), p.outbox.Close())
	}
	return p, nil
}

// attach makes the App's configuration the current one, or the next one where
// another is in use.
func (p *pooledEngine) attach(a *App) error {
	if p.fingerprint != a.outbox.Fingerprint() {
		return fmt.Errorf("the engine of the outbox %s, and its encryption key, cannot change while it is open; restart Caddy to change them", p.location)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.apps = append(p.apps, a)
	if p.events == nil {
		p.events = startEventQueue(p)
	}
	a.observer.queue.Store(p.events)
	if len(p.apps) == 1 {
		p.use(a)
	}
	return nil
}

// release takes the App's configuration out of use. When it was the current
// one, the next one is.
func (p *pooledEngine) release(a *App) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.apps, a)
	if i < 0 {
		return
	}
	p.apps = slices.Delete(p.apps, i, i+1)
	switch {
	case i > 0:
	case len(p.apps) > 0:
		p.use(p.apps[0])
	default:
		p.lease.Release()
	}
}

// use makes the App's configuration the current one. The caller holds the lock.
func (p *pooledEngine) use(a *App) {
	p.log.set(a.logger.Core())
	p.grace = a.gracePeriod()
	if err := a.outbox.Apply(p.outbox); err != nil { // Provision has checked the options
		a.logger.Error("changing the options of the outbox", zap.String("outbox", p.location), zap.Error(err))
	}
	before := p.lease
	p.lease = p.engine.Attach(a.snapshot)
	before.Release() // only now, so that sending never pauses

	running.Lock()
	defer running.Unlock()
	running.byLocation[p.location] = p
}

// observer returns the observer of the current configuration, or nil.
func (p *pooledEngine) observer() *observer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.apps) == 0 {
		return nil
	}
	return p.apps[0].observer
}

// Destruct closes the engine, and then its outbox.
func (p *pooledEngine) Destruct() error {
	running.Lock()
	delete(running.byLocation, p.location)
	running.Unlock()

	logger := zap.New(p.log).Named("webhooks")
	// An attempt that is cut off is made again, so a reload to another outbox
	// waits for those under way. At shutdown Stop has waited already.
	ctx, cancel := context.WithTimeout(context.Background(), p.grace)
	defer cancel()
	_ = p.engine.Quiesce(ctx)
	err := p.engine.Close()
	p.events.stop()
	if n := p.outbox.Usage().Pending; n > 0 {
		log := logger.Warn
		if caddy.Exiting() {
			log = logger.Info
		}
		log("outbox closed with pending deliveries; they are sent when it is opened again",
			zap.String("outbox", p.location), zap.Int("pending", n))
	}
	if err = errors.Join(err, p.outbox.Close()); err != nil {
		return fmt.Errorf("closing the outbox %s: %w", p.location, err)
	}
	return nil
}

// openEngines returns all engines that are open.
func openEngines() []*pooledEngine {
	running.RLock()
	defer running.RUnlock()
	open := make([]*pooledEngine, 0, len(running.byLocation))
	for _, p := range running.byLocation {
		open = append(open, p)
	}
	return open
}

// Interface guards
var _ caddy.Destructor = (*pooledEngine)(nil)
