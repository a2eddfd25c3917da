package module

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
	"github.com/promptreports/caddy-webhooks/module/internal/event"
	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

// The defaults of a Handler.
const (
	defaultMaxEventSize = 1 << 20
	defaultMaxBatchSize = 16 << 20
	defaultReadTimeout  = 10 * time.Second
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler accepts events. It answers POST requests on whatever path it is
// mounted at, and calls no handler after it.
//
// A request is one event as `application/json`, or several: an array as
// `application/json`, or a line each as `application/x-ndjson`. It may also be
// a CloudEvent, as `application/cloudevents+json`, as headers `ce-…` with JSON
// as the body, or several as `application/cloudevents-batch+json`. The answer 202
// means that every event, and a delivery for each endpoint that subscribes to
// it, is synced to disk; 200 means that all of them were kept already. Every
// refusal is a problem detail (RFC 9457), and means that nothing was stored.
//
// A web page cannot post events, even where it can reach the handler. Refused
// are another Content-Type than those above, an `Origin` of another site, a
// `Sec-Fetch-Site` of `cross-site` or `same-site`, and a `Host` that is neither
// an IP address, nor `localhost`, nor a name without dots, nor one that a host
// matcher of the server admits (in the Caddyfile, a site address). On a Unix
// socket, which no browser can reach, the host may be anything.
type Handler struct {
	// Tokens that requests must carry one of, as `Authorization: Bearer`. Write
	// placeholders (`{env.NAME}`, `{file./path}`): a literal token shows in the
	// configuration. A token that is empty or shorter than 16 bytes is an
	// error. Default: none, which asks for no token.
	Tokens []string `json:"tokens,omitempty"`

	// Values of the `Origin` header that are accepted besides the handler's own
	// site, for example `https://app.example.com`. Default: none.
	Origins []string `json:"origins,omitempty"`

	// The greatest size of an event, in bytes: of a request with one, and of
	// each in a batch. Default: 1 MiB.
	MaxEventSize int64 `json:"max_event_size,omitempty"`

	// The greatest size of a request with several events, in bytes. Default:
	// 16 MiB, or `max_event_size` where that is greater.
	MaxBatchSize int64 `json:"max_batch_size,omitempty"`

	// How long reading a request's body may take. Default: `10s`.
	ReadTimeout caddy.Duration `json:"read_timeout,omitempty"`

	app         *App
	parser      *event.Parser
	digests     [][sha256.Size]byte
	origins     map[string]bool
	hosts       hostCache
	admission   *admission
	maxEvent    int
	maxBatch    int
	readTimeout time.Duration
	logger      *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.webhooks",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision finds the webhooks app and resolves the tokens.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	app, err := ctx.AppIfConfigured("webhooks")
	if err != nil {
		if errors.Is(err, caddy.ErrNotConfigured) {
			return errors.New("a webhooks handler needs the webhooks app: configure its endpoints in the global option webhooks (in JSON, apps.webhooks)")
		}
		return err
	}
	h.app = app.(*App)
	h.app.ingests.addServer(ctx)
	h.parser = newParser(h.app)
	h.admission = &ingest
	if err := h.provisionTokens(); err != nil {
		return err
	}
	if err := h.provisionOrigins(); err != nil {
		return err
	}
	return h.provisionLimits()
}

// newParser makes the parser of the app's events.
func newParser(a *App) *event.Parser {
	p := &event.Parser{Exact: a.Payload == PayloadExact}
	if len(a.EventTypes) > 0 {
		types := make(map[string]bool, len(a.EventTypes))
		for _, t := range a.EventTypes {
			types[t] = true
		}
		p.Types = func(eventType string) bool { return types[eventType] }
	}
	return p
}

func (h *Handler) provisionTokens() error {
	repl := newResolver()
	for i, t := range h.Tokens {
		token, err := resolveSecret(repl, t)
		if err != nil {
			return fmt.Errorf("token %d: %w", i+1, err)
		}
		if IsLiteral(t) {
			h.logger.Warn("a token stands in the configuration in clear; use {env.NAME} or {file./path}", zap.Int("token", i+1))
		}
		h.digests = append(h.digests, sha256.Sum256([]byte(token)))
	}
	repl.warn(h.logger)
	return nil
}

func (h *Handler) provisionLimits() error {
	if h.MaxEventSize < 0 || h.MaxBatchSize < 0 || h.ReadTimeout < 0 {
		return errors.New("max_event_size, max_batch_size and read_timeout must not be negative")
	}
	const most = 1 << 30 // bodies are held in memory
	if h.MaxEventSize > most || h.MaxBatchSize > most {
		return fmt.Errorf("max_event_size and max_batch_size must not exceed %d bytes", most)
	}
	h.maxEvent, h.maxBatch, h.readTimeout = defaultMaxEventSize, defaultMaxBatchSize, defaultReadTimeout
	if h.MaxEventSize > 0 {
		h.maxEvent = int(h.MaxEventSize)
	}
	switch {
	case h.MaxBatchSize > 0:
		h.maxBatch = int(h.MaxBatchSize)
	case h.maxBatch < h.maxEvent:
		h.maxBatch = h.maxEvent
	}
	if h.ReadTimeout > 0 {
		h.readTimeout = time.Duration(h.ReadTimeout)
	}
	return nil
}

// ServeHTTP answers the request. The checks come in the order of their cost,
// and nothing is stored before all of them.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	refusal := h.guard(r)
	if refusal == nil {
		refusal = h.accept(w, r)
	}
	if refusal == nil {
		return nil
	}
	countRefusal(refusal.Code)
	if c := h.logger.Check(zap.DebugLevel, "request refused"); c != nil {
		c.Write(zap.String("code", refusal.Code), zap.Int("status", refusal.Status))
	}
	refuse(w, r, refusal)
	return nil
}

// accept takes the request from admission to the answer.
func (h *Handler) accept(w http.ResponseWriter, r *http.Request) *problem.Problem {
	if !h.admission.enter() {
		return problem.Overloaded.Newf("%d requests are under way", h.admission.maxRequests)
	}
	defer h.admission.leave()
	if _, refusal := h.app.await(r.Context()); refusal != nil {
		return refusal
	}

	media, refusal := mediaType(r.Header)
	if refusal != nil {
		return refusal
	}
	body := h.newBody(media)
	defer body.free()
	if refusal := body.read(w, r); refusal != nil {
		return refusal
	}
	return h.publish(w, r, body)
}

// publish parses the body, stores its events and answers.
func (h *Handler) publish(w http.ResponseWriter, r *http.Request, body *body) *problem.Problem {
	events, batch, refusal := h.parse(r.Header, body)
	if refusal != nil {
		return refusal
	}
	publications := make([]delivery.Publication, len(events))
	for i, e := range events {
		publications[i] = delivery.Publication{Event: e}
		publications[i].TraceParent, publications[i].TraceState = traceContext(r.Header, e)
	}
	engine, refusal := h.app.await(r.Context()) // again: a reload may have ended while the body came
	if refusal != nil {
		return refusal
	}
	// The request is complete, so the events are stored even if the client
	// does not wait for the answer: when it posts them again, they are
	// duplicates.
	accepted, err := engine.Publish(context.WithoutCancel(r.Context()), publications)
	if err != nil {
		return h.storeProblem(err, batch)
	}
	countAccepted(accepted)
	answer(w, events, accepted, batch)
	return nil
}

// parse reads the events of a body, and says whether it is a batch.
func (h *Handler) parse(header http.Header, b *body) (events []*event.Event, batch bool, refusal *problem.Problem) {
	switch {
	case b.media == mediaLines:
		events, refusal = h.parser.Lines(b.bytes)
	case b.media == mediaCloudBatch:
		events, refusal = h.parser.CloudBatch(b.bytes)
	case b.media == mediaJSON && event.IsBatch(b.bytes):
		events, refusal = h.parser.Batch(b.bytes)
	default:
		one, refusal := h.parseOne(header, b)
		if refusal != nil {
			return nil, false, refusal
		}
		return []*event.Event{one}, false, nil
	}
	if refusal == nil {
		refusal = h.checkSizes(events)
	}
	return events, true, refusal
}

// parseOne reads the only event of a request.
func (h *Handler) parseOne(header http.Header, b *body) (*event.Event, *problem.Problem) {
	switch b.media {
	case mediaCloud:
		return h.parser.CloudEvent(b.bytes)
	case mediaCloudData:
		return h.parser.BinaryCloudEvent(header, b.bytes)
	default:
		return h.parser.Event(b.bytes)
	}
}

// checkSizes refuses a batch with events that are too large, as they would be
// alone. What counts is their size as they are sent.
func (h *Handler) checkSizes(events []*event.Event) *problem.Problem {
	var refused []*problem.Problem
	for i, e := range events {
		if len(e.Body) > h.maxEvent {
			refused = append(refused, problem.BodyTooLarge.Newf("an event may have %d bytes", h.maxEvent).At(i))
		}
	}
	if refused == nil {
		return nil
	}
	return problem.Batch(refused)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
