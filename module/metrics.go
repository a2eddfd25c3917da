package module

import (
	"errors"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
	"github.com/promptreports/caddy-webhooks/storage"
)

// The collectors are made once and registered with the registry of every
// configuration, because Caddy makes a new registry for each: so the counters
// keep their values over reloads.
var (
	eventsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_webhooks_events_total",
		Help: "Events that were accepted or were duplicates, and requests that were refused, by result.",
	}, []string{"result"})

	eventsAccepted  = eventsTotal.WithLabelValues("accepted")
	eventsDuplicate = eventsTotal.WithLabelValues("duplicate")

	// total counts all endpoints together, and byEndpoint each of those whose
	// configuration asks for it. They have the same names and different
	// labels, so that a scrape shows one or the other.
	total      = newTraffic()
	byEndpoint = newTraffic("endpoint")
	allTraffic = total.child()
)

// registerMetrics registers all collectors, unless they are already.
func registerMetrics(reg *prometheus.Registry) error {
	if reg == nil {
		return nil
	}
	// The first collector stands for the others, because a second
	// registration of an unchecked one goes unnoticed.
	err := reg.Register(eventsTotal)
	if already := (prometheus.AlreadyRegisteredError{}); errors.As(err, &already) {
		return nil
	}
	return errors.Join(err, reg.Register(stateCollector{}), reg.Register(trafficCollector{}))
}

// countAccepted counts events that were stored, or were kept already.
func countAccepted(accepted []storage.Accepted) {
	duplicates := 0
	for i := range accepted {
		if accepted[i].Duplicate {
			duplicates++
		}
	}
	if n := len(accepted) - duplicates; n > 0 {
		eventsAccepted.Add(float64(n))
	}
	if duplicates > 0 {
		eventsDuplicate.Add(float64(duplicates))
	}
}

// countRefusal counts a request that was refused, by the code of the problem.
func countRefusal(code string) { eventsTotal.WithLabelValues(code).Inc() }

// traffic holds what is counted about attempts and deliveries.
type traffic struct {
	deliveries, attempts *prometheus.CounterVec
	duration, latency    *prometheus.HistogramVec
}

func newTraffic(labels ...string) *traffic {
	return &traffic{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "caddy_webhooks_deliveries_total",
			Help: "Deliveries that reached a final status, by status.",
		}, append(labels, "status")),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "caddy_webhooks_attempts_total",
			Help: "Attempts that ended, by verdict.",
		}, append(labels, "verdict")),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "caddy_webhooks_attempt_duration_seconds",
			Help:    "Time from the start of an attempt to its verdict.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, labels),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "caddy_webhooks_delivery_latency_seconds",
			Help:    "Time from the acceptance of an event to its delivery.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 5, 30, 300, 3600, 21600, 86400},
		}, labels),
	}
}

func (t *traffic) collect(ch chan<- prometheus.Metric) {
	for _, c := range []prometheus.Collector{t.deliveries, t.attempts, t.duration, t.latency} {
		c.Collect(ch)
	}
}

// forget removes the series of an endpoint.
func (t *traffic) forget(endpoint string) {
	labels := prometheus.Labels{"endpoint": endpoint}
	t.deliveries.DeletePartialMatch(labels)
	t.attempts.DeletePartialMatch(labels)
	t.duration.DeletePartialMatch(labels)
	t.latency.DeletePartialMatch(labels)
}

// child resolves the series of one endpoint, or of all, so that counting looks
// nothing up.
func (t *traffic) child(labels ...string) *trafficChild {
	c := &trafficChild{
		duration: t.duration.WithLabelValues(labels...),
		latency:  t.latency.WithLabelValues(labels...),
	}
	counter := func(vec *prometheus.CounterVec, value string) prometheus.Counter {
		return vec.WithLabelValues(append(slices.Clip(labels), value)...)
	}
	c.delivered = counter(t.deliveries, string(storage.StatusDelivered))
	c.failed = counter(t.deliveries, string(storage.StatusFailed))
	c.cancelled = counter(t.deliveries, string(storage.StatusCancelled))
	c.success = counter(t.attempts, "success")
	c.retry = counter(t.attempts, "retry")
	c.permanent = counter(t.attempts, "permanent")
	c.interrupted = counter(t.attempts, storage.CodeInterrupted)
	return c
}

type trafficChild struct {
	delivered, failed, cancelled           prometheus.Counter
	success, retry, permanent, interrupted prometheus.Counter
	duration, latency                      prometheus.Observer
}

func (c *trafficChild) attemptDone(verdict string, duration time.Duration) {
	switch verdict {
	case "success":
		c.success.Inc()
	case "retry":
		c.retry.Inc()
	case "permanent":
		c.permanent.Inc()
	default:
		c.interrupted.Inc()
	}
	c.duration.Observe(duration.Seconds())
}

func (c *trafficChild) deliveryDone(status string, latency time.Duration) {
	switch storage.Status(status) {
	case storage.StatusDelivered:
		c.delivered.Inc()
		c.latency.Observe(latency.Seconds())
	case storage.StatusFailed:
		c.failed.Inc()
	case storage.StatusCancelled:
		c.cancelled.Inc()
	case storage.StatusPending, storage.StatusOrphaned: // not done
	}
}

// trafficCollector shows what was counted, and what is pending: by endpoint
// where the current configuration says so. It describes nothing, because its
// labels depend on the configuration.
type trafficCollector struct{}

var (
	pendingDesc  = gaugeDescs("deliveries_pending", "Deliveries that are pending.")
	inFlightDesc = gaugeDescs("deliveries_in_flight", "Deliveries with an attempt under way.")
	oldestDesc   = gaugeDescs("oldest_pending_seconds", "Age of the oldest pending delivery.")
)

// gaugeDescs describes a gauge without and with the endpoint as a label.
func gaugeDescs(name, help string) [2]*prometheus.Desc {
	return [2]*prometheus.Desc{
		prometheus.NewDesc("caddy_webhooks_"+name, help, nil, nil),
		prometheus.NewDesc("caddy_webhooks_"+name, help, []string{"endpoint"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (trafficCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (trafficCollector) Collect(ch chan<- prometheus.Metric) {
	open := openEngines()
	if !showsEndpoints(open) {
		total.collect(ch)
		var all backlog
		for _, p := range open {
			s := p.engine.Status()
			all.add(s.Pending, s.InFlight, s.OldestPending)
		}
		if len(open) > 0 {
			all.collect(ch, 0)
		}
		return
	}
	byEndpoint.collect(ch)
	endpoints := make(map[string]*backlog)
	for _, p := range open {
		for _, s := range p.engine.Endpoints() {
			if endpoints[s.Name] == nil {
				endpoints[s.Name] = new(backlog)
			}
			endpoints[s.Name].add(s.Pending, s.InFlight, s.OldestPending)
		}
	}
	for name, b := range endpoints {
		b.collect(ch, 1, name)
	}
}

// backlog sums up what is pending.
type backlog struct {
	pending, inFlight int
	oldest            time.Time
}

func (b *backlog) add(pending, inFlight int, oldest time.Time) {
	b.pending += pending
	b.inFlight += inFlight
	if pending > 0 && !oldest.IsZero() && (b.oldest.IsZero() || oldest.Before(b.oldest)) {
		b.oldest = oldest
	}
}

func (b *backlog) collect(ch chan<- prometheus.Metric, desc int, labels ...string) {
	age := 0.0
	if !b.oldest.IsZero() {
		age = max(0, time.Since(b.oldest).Seconds())
	}
	ch <- gauge(pendingDesc[desc], float64(b.pending), labels...)
	ch <- gauge(inFlightDesc[desc], float64(b.inFlight), labels...)
	ch <- gauge(oldestDesc[desc], age, labels...)
}

// stateCollector shows the state of the engines and their outboxes.
type stateCollector struct{}

var (
	endpointsDesc   = prometheus.NewDesc("caddy_webhooks_endpoints", "Configured endpoints, by state.", []string{"state"}, nil)
	outboxBytesDesc = prometheus.NewDesc("caddy_webhooks_outbox_bytes", "Size of the outbox on disk.", nil, nil)
	storeFailedDesc = prometheus.NewDesc("caddy_webhooks_store_failed", "Whether the outbox failed (1), so that nothing is accepted until a restart.", nil, nil)
)

// Describe implements prometheus.Collector.
func (stateCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- endpointsDesc
	ch <- outboxBytesDesc
	ch <- storeFailedDesc
}

// Collect implements prometheus.Collector.
func (stateCollector) Collect(ch chan<- prometheus.Metric) {
	open := openEngines()
	if len(open) == 0 {
		return
	}
	var healthy, failing, paused int
	var size, failed float64
	for _, p := range open {
		s, usage := p.engine.Status(), p.outbox.Usage()
		healthy, failing, paused = healthy+s.Healthy, failing+s.Failing, paused+s.Paused
		size += float64(usage.Bytes)
		if usage.Err != nil {
			failed = 1
		}
	}
	ch <- gauge(endpointsDesc, float64(healthy), string(delivery.Healthy))
	ch <- gauge(endpointsDesc, float64(failing), string(delivery.Failing))
	ch <- gauge(endpointsDesc, float64(paused), string(delivery.Paused))
	ch <- gauge(outboxBytesDesc, size)
	ch <- gauge(storeFailedDesc, failed)
}

func gauge(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

// showsEndpoints says whether the current configuration of any engine asks for
// the endpoint as a label.
func showsEndpoints(open []*pooledEngine) bool {
	for _, p := range open {
		if o := p.observer(); o != nil && o.endpoints != nil {
			return true
		}
	}
	return false
}

// Interface guards
var (
	_ prometheus.Collector = stateCollector{}
	_ prometheus.Collector = trafficCollector{}
)
