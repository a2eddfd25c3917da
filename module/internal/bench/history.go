//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

func (o options) historyName() string {
	return fmt.Sprintf("history of %s deliveries", thousands(o.history))
}

// listing is one query of the history, and how it went.
type listing struct {
	name  string
	query url.Values
	took  []time.Duration
	short bool // the page was not full although there was more
}

const (
	pagesWarm   = 5   // requests before any is measured
	pagesEach   = 100 // measured for each listing
	pagesPause  = 20 * time.Millisecond
	rareEvery   = 20_000
	failedEvery = 50
)

// historyFiller spreads deliveries over endpoints, types and codes.
func (o options) historyFiller() filler {
	return filler{
		n: o.history, writers: 8, span: o.span,
		endpoint: func(seq int) string {
			if seq%rareEvery == 0 {
				return "rare"
			}
			return fmt.Sprintf("past-%d", seq%10)
		},
		kind: func(seq int) string {
			return []string{"version.promoted", "prompt.created", "prompt.updated", "prompt.deleted"}[seq/10%4]
		},
		code: func(seq int) string {
			switch {
			case seq%1000 == 7:
				return "http_422"
			case seq/7%failedEvery == 0:
				return "http_404"
			}
			return "ok"
		},
	}
}

// history measures pages of a long history, alone and beside an ingest at
// half of the peak.
func history(ctx context.Context, r *runner) ([]figure, error) {
	o := r.options
	began := time.Now()
	if err := o.historyFiller().fill(ctx, r.dir); err != nil {
		return nil, err
	}
	filled := time.Since(began)
	size, err := outboxSize(r.dir)
	if err != nil {
		return nil, err
	}
	c := config{receiver: r.receiver.addr(), endpoints: 1, outbox: []string{"max_size 1TiB"}}
	if err := r.start(ctx, c); err != nil {
		return nil, err
	}
	a := r.process.admin()
	defer a.close()
	if err := a.ready(ctx); err != nil {
		return nil, err
	}
	listings, err := a.listings(ctx, o, began)
	if err != nil {
		return nil, err
	}
	figures := []figure{
		{"filled with", perSecond, float64(o.history) / filled.Seconds()},
		{"disk per delivery", kibibytes, float64(size) / float64(o.history) / 1024},
	}
	if err := a.measure(ctx, listings); err != nil {
		return nil, err
	}
	figures = append(figures, pages(listings, "")...)
	beside, err := r.beside(ctx, a, listings)
	return append(figures, beside...), err
}

// listings are the queries; began is when the fill did.
func (a admin) listings(ctx context.Context, o options, began time.Time) ([]*listing, error) {
	at := func(part float64) string {
		return began.Add(-o.span + time.Duration(part*float64(o.span))).UTC().Format(time.RFC3339)
	}
	cursor, err := a.cursor(ctx, at(0.3))
	if err != nil {
		return nil, err
	}
	return []*listing{
		{name: "no filter", query: url.Values{}},
		{name: "endpoint", query: url.Values{"endpoint": {"past-3"}}},
		{name: "rare endpoint", query: url.Values{"endpoint": {"rare"}}},
		{name: "type", query: url.Values{"type": {"prompt.created"}}},
		{name: "failed", query: url.Values{"status": {"failed"}}},
		{name: "endpoint and failed", query: url.Values{"endpoint": {"past-3"}, "status": {"failed"}}},
		{name: "code", query: url.Values{"code": {"http_422"}}},
		{name: "event_id", query: url.Values{"event_id": {eventID(0, o.history/3)}}},
		{name: "since and until", query: url.Values{"since": {at(0.4)}, "until": {at(0.5)}}},
		{name: "deep cursor", query: url.Values{"cursor": {cursor}}},
	}, nil
}

// cursor returns one that lies deep in the history.
func (a admin) cursor(ctx context.Context, until string) (string, error) {
	p, err := a.page(ctx, url.Values{"until": {until}})
	if err == nil && p.Next == "" {
		err = errors.New("no cursor in the midst of the history")
	}
	return p.Next, err
}

// page is what is read of an answer.
type page struct {
	Deliveries []struct {
		ID string `json:"id"`
	} `json:"deliveries"`
	Next string `json:"next_cursor"`
}

func (a admin) page(ctx context.Context, q url.Values) (p page, err error) {
	b, err := a.ask(ctx, http.MethodGet, "/webhooks/deliveries?"+q.Encode(), nil)
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(b, &p)
}

// measure asks for every listing many times.
func (a admin) measure(ctx context.Context, listings []*listing) error {
	for _, l := range listings {
		l.took = nil
		for n := range pagesWarm + pagesEach {
			if err := a.turn(ctx, l, n >= pagesWarm); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a admin) turn(ctx context.Context, l *listing, counts bool) error {
	path := "/webhooks/deliveries?" + l.query.Encode()
	start := time.Now()
	b, err := a.ask(ctx, http.MethodGet, path, nil)
	took := time.Since(start)
	if err != nil || !counts {
		return err
	}
	l.took = append(l.took, took)
	var p page
	if err := json.Unmarshal(b, &p); err != nil {
		return fmt.Errorf("reading a page: %w", err)
	}
	l.short = l.short || len(p.Deliveries) < 100 && p.Next != ""
	if len(p.Deliveries) == 0 && p.Next == "" {
		return fmt.Errorf("listing by %s: got no delivery, want some", l.name)
	}
	return nil
}

// pages are the figures of all listings, and the worst.
func pages(listings []*listing, when string) []figure {
	var figures []figure
	var worst time.Duration
	short := 0
	for _, l := range listings {
		p99 := percentile(l.took, 99)
		worst = max(worst, p99)
		if l.short {
			short++
		}
		figures = append(figures,
			figure{l.name + " p50" + when, millis, ms(percentile(l.took, 50))},
			figure{l.name + " p99" + when, millis, ms(p99)})
	}
	return append(figures,
		figure{"page p99, worst filter" + when, millis, ms(worst)},
		figure{"filters with short pages" + when, count, float64(short)})
}

// besideIngest ends the names of figures taken while events come in.
const besideIngest = ", beside ingest"

// besideTurns is how often the ingest runs alone and then beside pages.
const besideTurns = 3

// beside measures the listings and the ingest beside each other, and the
// ingest alone, in turns: one stall of the disk is more than a hundredth of a
// single turn.
func (r *runner) beside(ctx context.Context, a admin, listings []*listing) ([]figure, error) {
	peak, err := r.peak(ctx, 0)
	if err != nil {
		return nil, err
	}
	ld := load{senders: 64, duration: 2 * r.duration, rate: max(int(peak/2), 1), patient: true}
	for _, l := range listings {
		l.took, l.short = nil, false
	}
	var alone, during []time.Duration
	var all result
	add := func(to *[]time.Duration, res result) {
		*to = append(*to, res.answers...)
		all.lost += res.lost
		all.doubled += res.doubled
	}
	for range besideTurns {
		res, err := r.run(ctx, ld)
		if err != nil {
			return nil, err
		}
		add(&alone, res)
		if res, err = r.asked(ctx, ld, a, listings); err != nil {
			return nil, err
		}
		add(&during, res)
	}
	p99Alone, p99Beside := ms(percentile(alone, 99)), ms(percentile(during, 99))
	return append(append(pages(listings, besideIngest),
		figure{"ingest", perSecond, float64(ld.rate)},
		figure{"ingest answer p99, alone", millis, p99Alone},
		figure{"ingest answer p99, beside pages", millis, p99Beside},
		figure{"ingest answer p99, beside pages to alone", times, p99Beside / p99Alone},
	), faults(all)...), nil
}

// asked runs the load while one client asks for pages, with short pauses. What
// was closed meanwhile is opened before: the bar is one for warm pages.
func (r *runner) asked(ctx context.Context, ld load, a admin, listings []*listing) (result, error) {
	for _, l := range listings {
		if err := a.turn(ctx, l, false); err != nil {
			return result{}, err
		}
	}
	asking, stop := context.WithCancel(ctx)
	defer stop()
	asked := make(chan error, 1)
	go func() {
		for n := 0; ; n++ {
			err := a.turn(asking, listings[n%len(listings)], true)
			if err != nil || asking.Err() != nil {
				asked <- err
				return
			}
			time.Sleep(pagesPause)
		}
	}()
	res, err := r.run(ctx, ld)
	stopped := asking.Err()
	stop()
	if askErr := <-asked; !errors.Is(askErr, context.Canceled) || stopped != nil {
		err = errors.Join(err, askErr)
	}
	return res, err
}
