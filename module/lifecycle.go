package module

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
)

// defaultGracePeriod is how long attempts under way may take to end when
// Caddy shuts down.
const defaultGracePeriod = 5 * time.Second

// lifecycle is the part of an App that lives from Start to Cleanup.
//
// The engine belongs to no App: it is pooled by the location of its outbox, and
// an App attaches its snapshot to it. Two Apps overlap in every reload (the new
// one starts before the old one stops), so a reload attaches the new snapshot
// and then releases the old one, and a reload that fails after Start releases
// the new one again, which makes the old one current without doing anything.
//
// Caddy calls Cleanup after Provision alone, after a failed Start, after Start
// and Stop, and after Start without Stop. So Cleanup is complete on its own.
type lifecycle struct {
	// observer feeds the metrics and the Caddy events of this App.
	observer *observer

	// started is closed when pool and lease are set.
	started chan struct{}

	// gone is closed by Cleanup.
	gone chan struct{}

	pooled *pooledEngine
	lease  *delivery.Lease

	// holdsRef says that this App has a reference in the pool. Giving back
	// one that another App holds would close the outbox under that App.
	holdsRef bool
}

// prepare makes the App ready to be started. Provision calls it once, before
// it builds the snapshot, whose Observer is the one returned. It starts
// nothing.
func (l *lifecycle) prepare(ctx caddy.Context, endpoints []string, perEndpoint bool) (delivery.Observer, error) {
	l.started = make(chan struct{})
	l.gone = make(chan struct{})
	o, err := newObserver(ctx, endpoints, perEndpoint)
	if err != nil {
		return nil, err
	}
	l.observer = o
	return o, nil
}

// Start opens the outbox, unless a running configuration has it open, and
// makes this configuration the current one of its engine.
func (a *App) Start() error {
	p, err := loadEngine(a.outbox, a.logger)
	if err != nil {
		return fmt.Errorf("opening the outbox: %w", err)
	}
	a.pooled, a.holdsRef = p, true
	if err := p.follow(a.outbox); err != nil {
		return err
	}
	a.lease = p.engine.Attach(a.snapshot)
	close(a.started)
	a.logger.Info("webhooks started",
		zap.String("outbox", a.outbox.Location()),
		zap.Int("endpoints", len(a.Endpoints)))
	return nil
}

// Stop ends sending with this configuration. It does not end accepting: the
// HTTP servers may still be draining, and what they were sent is stored. Only
// when the process ends does it wait for the attempts under way, because a
// reload hands them over.
func (a *App) Stop() error {
	a.release()
	if a.pooled == nil || !caddy.Exiting() {
		return nil
	}
	grace := defaultGracePeriod
	if a.GracePeriod != nil {
		grace = time.Duration(*a.GracePeriod)
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := a.pooled.engine.Quiesce(ctx); err != nil {
		a.logger.Warn("attempts were cut off by the end of the grace period; they are made again after the next start",
			zap.Duration("grace_period", grace))
	}
	return nil
}

// Cleanup gives back what Start acquired. The last App of an outbox closes
// it.
func (a *App) Cleanup() error {
	if a.gone != nil {
		select {
		case <-a.gone:
			return nil
		default:
			close(a.gone)
		}
	}
	a.release()
	if !a.holdsRef {
		return nil
	}
	a.holdsRef = false
	a.observer.forget(a.pooled)
	return unloadEngine(a.pooled.location)
}

// release gives back the lease. Releasing twice, or before Start, does nothing.
func (a *App) release() {
	if a.lease != nil {
		a.lease.Release()
	}
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
