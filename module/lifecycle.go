package module

import (
	"context"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

const (
	// defaultGracePeriod is how long attempts under way may take to end when
	// Caddy shuts down.
	defaultGracePeriod = 5 * time.Second

	// startWait is how long a request waits for the start of the app. Caddy
	// starts apps in random order, so an HTTP server may be ahead of us.
	startWait = 2 * time.Second
)

// lifecycle is the part of an App that lives from Start to Cleanup.
//
// The engine belongs to no App: it is pooled by the location of its outbox. Two
// Apps overlap in every reload, because the new one starts before the old one
// stops. The new one becomes current when the old one stops; a reload that
// fails after Start never comes that far, so the old one goes on as it was.
//
// Caddy calls Cleanup after Provision alone, after a failed Start, after Start
// and Stop, and after Start without Stop. So Cleanup is complete on its own.
type lifecycle struct {
	// observer feeds the metrics and the Caddy events of this App.
	observer *observer

	// started is closed when the engine is there.
	started chan struct{}

	// gone is closed by Cleanup.
	gone chan struct{}

	pooled *pooledEngine

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

// Start opens the outbox, unless a running configuration has it open. From
// then on the App's events are accepted.
func (a *App) Start() error {
	filterStdLog()
	p, err := loadEngine(a.outbox, a.logger)
	if err != nil {
		return err
	}
	a.pooled, a.holdsRef = p, true
	if err := p.attach(a); err != nil {
		return err // Cleanup gives back the reference
	}
	close(a.started)
	a.logger.Info("delivering webhooks",
		zap.String("outbox", a.outbox.Location()),
		zap.Int("endpoints", len(a.Endpoints)))
	return nil
}

// Stop ends sending with this configuration. It does not end accepting: the
// HTTP servers may still be draining, and what they were sent is stored. Only
// when the process ends does it wait for the attempts under way, because a
// reload hands them over.
func (a *App) Stop() error {
	if a.pooled == nil {
		return nil
	}
	a.pooled.release(a)
	if !caddy.Exiting() {
		return nil
	}
	grace := a.gracePeriod()
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := a.pooled.engine.Quiesce(ctx); err != nil {
		a.logger.Warn("attempts were cut off by the end of the grace period; they are made again after the next start",
			zap.Duration("grace_period", grace))
	}
	return nil
}

// gracePeriod is how long attempts under way may take to end.
func (a *App) gracePeriod() time.Duration {
	if a.GracePeriod != nil {
		return time.Duration(*a.GracePeriod)
	}
	return defaultGracePeriod
}

// Cleanup gives back what Start acquired. The last App of an outbox closes
// it.
func (a *App) Cleanup() error {
	filterStdLog() // Caddy has changed it, be it in vain
	if a.gone == nil {
		return nil // Provision failed before there was anything
	}
	if isClosed(a.gone) {
		return nil
	}
	close(a.gone)
	if !a.holdsRef {
		a.observer.forget()
		return nil
	}
	a.holdsRef = false
	a.pooled.release(a)
	a.observer.forget()
	return unloadEngine(a.pooled.location)
}

// await returns the engine that stores the App's events. Until Caddy has
// started all apps of the configuration, one of which may fail, that is the
// engine of the configuration which it is to replace: so no request is held up
// by a reload, nor stored where one that fails would leave it. After Cleanup it
// is that of the next configuration, for requests that came to a server before
// it was closed. Without one, await waits for the start of the App.
func (a *App) await(ctx context.Context) (*delivery.Engine, *problem.Problem) {
	if !isClosed(a.gone) && isClosed(a.observer.started) {
		return a.pooled.engine, nil
	}
	if e := activeEngine(); e != nil {
		return e, nil
	}
	timer := time.NewTimer(startWait)
	defer timer.Stop()
	select {
	case <-a.started:
		return a.pooled.engine, nil
	case <-a.gone:
		return nil, problem.ShuttingDown.New("the configuration was replaced before it had started")
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil, problem.NotReady.New(fmt.Sprintf("the outbox was not open within %s", startWait))
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
