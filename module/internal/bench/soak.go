//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

func (o options) soakName() string { return fmt.Sprintf("soak for %s", o.soak) }

const (
	reloadEvery = 10 * time.Second

	// reloadEffect is how long after a reload an arrival may be its doing.
	reloadEffect = time.Second
)

// soak sends 80 % of the peak, or of a lower one that a shared machine has
// later, to a receiver, one that fails 5 % and one that hangs and gets a
// hundredth of the events, and reloads meanwhile.
func soak(ctx context.Context, r *runner) ([]figure, error) {
	tp, err := newTarpit()
	if err != nil {
		return nil, err
	}
	defer tp.close()
	r.endpoints = 2
	c := config{
		receiver: r.receiver.addr(), endpoints: 2,
		outbox:   []string{"retention 1m"},
		defaults: []string{"retry 100 {\n\t\t\t\tschedule 1s\n\t\t\t}"},
		extra:    []string{fmt.Sprintf("hanging http://%s/9 {\n\t\t\ttimeout 2s\n\t\t\tfilter metadata.shard 00\n\t\t}", tp.ln.Addr())},
	}
	if err := r.start(ctx, c); err != nil {
		return nil, err
	}
	peak, err := r.peak(ctx, r.options.soak)
	if err != nil {
		return nil, err
	}
	r.receiver.failEvery.Store(20)
	rate := sustainable(peak)
	w := r.reloading(ctx, c)
	res, err := r.run(ctx, load{
		senders: 64, duration: r.options.soak, rate: rate, patient: true, insist: true,
		follow: min(time.Minute, r.options.soak/10),
	})
	pss, reloads, err2 := w.end()
	if err = errors.Join(err, err2); err != nil {
		return nil, err
	}
	memory, err := memory(pss)
	if err != nil {
		return nil, err
	}
	spans := make([]span, len(reloads))
	for i, at := range reloads {
		from := at.Sub(res.ledger.start)
		spans[i] = span{from, from + reloadEffect}
	}
	byReload := attribute(res.ledger.doubles, spans)
	answers, arrivals := res.ledger.samples()
	return slices.Concat(res.rates(rate, r.options.soak), []figure{
		{"reloads", count, float64(len(reloads))},
		{"doubled at a reload", count, float64(byReload)},
		{"doubled otherwise", count, float64(res.doubled - byReload)},
		{"posts repeated", count, float64(res.ledger.again.Load())},
		{"answer p99", millis, ms(percentile(res.answers, 99))},
		{"worst stall of answers", millis, ms(stall(answers))},
		{"worst stall of arrivals", millis, ms(stall(arrivals))},
	}, memory, faults(res)), nil
}

// memory says how it changed.
func memory(samples []int64) ([]figure, error) {
	if len(samples) < 10 {
		return nil, errors.New("the memory was measured too rarely")
	}
	second, last := tenth(samples, 1), tenth(samples, 9)
	return []figure{
		{"memory (PSS), highest", mebibytes, mib(slices.Max(samples))},
		{"memory (PSS), second tenth", mebibytes, mib(second)},
		{"memory (PSS), middle", mebibytes, mib(tenth(samples, 5))},
		{"memory (PSS), last tenth", mebibytes, mib(last)},
		{"memory (PSS), last tenth to second", times, float64(last) / float64(second)},
	}, nil
}

// tenth is the median of the samples in a tenth of the time, from 0 to 9.
func tenth(samples []int64, n int) int64 {
	part := slices.Sorted(slices.Values(samples[n*len(samples)/10 : (n+1)*len(samples)/10]))
	return part[len(part)/2]
}

// watcher reloads and looks at the memory until it is ended.
type watcher struct {
	cancel  context.CancelFunc
	done    chan struct{}
	pss     []int64
	reloads []time.Time
	err     error
}

func (r *runner) reloading(ctx context.Context, c config) *watcher {
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{cancel: cancel, done: make(chan struct{})}
	p := r.process
	a := p.admin()
	go func() {
		defer close(w.done)
		defer a.close()
		tick := time.NewTicker(min(time.Second, r.options.soak/20))
		defer tick.Stop()
		last := time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			n, err := p.pss()
			if err == nil && time.Since(last) >= reloadEvery {
				last = time.Now()
				w.reloads = append(w.reloads, last)
				err = reload(ctx, a, p, c, len(w.reloads))
			}
			if err != nil && ctx.Err() == nil {
				w.err = err
				return
			}
			w.pss = append(w.pss, n)
		}
	}()
	return w
}

// reload loads the configuration with a header that differs each time.
func reload(ctx context.Context, a admin, p *process, c config, n int) error {
	c.defaults = append([]string{fmt.Sprintf("header X-Configuration %d", n)}, c.defaults...)
	_, err := a.ask(ctx, http.MethodPost, "/load", []byte(c.caddyfile(sidecar, p.addr, p.dir)))
	if err != nil {
		return fmt.Errorf("reloading: %w", err)
	}
	return nil
}

func (w *watcher) end() ([]int64, []time.Time, error) {
	w.cancel()
	<-w.done
	return w.pss, w.reloads, w.err
}
