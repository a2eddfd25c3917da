package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
	"github.com/promptreports/caddy-webhooks/module/internal/event"
	"github.com/promptreports/caddy-webhooks/module/internal/subscription"
	"github.com/promptreports/caddy-webhooks/storage"
)

// reasonOperator is why an endpoint is paused that was paused through the API.
const reasonOperator = "operator"

// defaultTestType is the type of a test event where neither the request nor
// the endpoint's subscription names one.
const defaultTestType = "webhook.test"

// defaultTestData is the data of a test event where the request has none.
const defaultTestData = `{"message":"This is a test of the endpoint."}`

// endpointView is an endpoint in an answer.
type endpointView struct {
	Name          string                  `json:"name"`
	Description   string                  `json:"description"`
	URL           string                  `json:"url"`
	Events        []string                `json:"events"`
	Filters       []filterView            `json:"filters"`
	SignedBy      []string                `json:"signed_by"`
	Timeout       millis                  `json:"timeout_ms"`
	MaxInFlight   int                     `json:"max_in_flight"`
	RateLimit     *rateView               `json:"rate_limit"`
	DisableAfter  millis                  `json:"disable_after_ms"`
	State         delivery.EndpointHealth `json:"state"`
	Reason        string                  `json:"reason"`
	Since         stamp                   `json:"since"`
	Pending       int                     `json:"pending"`
	OldestPending stamp                   `json:"oldest_pending_at"`
	InFlight      int                     `json:"in_flight"`
	InFlightLimit int                     `json:"in_flight_limit"`
	LastSuccess   stamp                   `json:"last_success_at"`
	LastFailure   stamp                   `json:"last_failure_at"`
	LastCode      string                  `json:"last_code"`
	FailingSince  stamp                   `json:"failing_since"`
	DisableAt     stamp                   `json:"disable_at"`
	NextProbe     stamp                   `json:"next_probe_at"`
	HeldUntil     stamp                   `json:"held_until"`
	RateLimited   stamp                   `json:"rate_limited_until"`
}

// rateView is a rate limit in an answer.
type rateView struct {
	Attempts int    `json:"attempts"`
	Per      millis `json:"per_ms"`
}

// filterView is a filter in an answer.
type filterView struct {
	Field  string   `json:"field"`
	Values []string `json:"values"`
}

// viewEndpoint shows an endpoint. Of the headers that sign its attempts it
// tells the names only, and of its URL what is for people.
func viewEndpoint(ep *delivery.Endpoint, st *delivery.EndpointStatus) endpointView {
	v := endpointView{
		Name: ep.Name, Description: ep.Description, URL: ep.DisplayURL,
		Events: append([]string{}, ep.Events...), Filters: make([]filterView, len(ep.Filters)), SignedBy: []string{},
		Timeout: millis(ep.Timeout), MaxInFlight: ep.MaxInFlight, DisableAfter: millis(ep.DisableAfter),
		State: st.Health, Reason: st.Reason, Since: stamp(st.Since),
		Pending: st.Pending, OldestPending: stamp(st.OldestPending), InFlight: st.InFlight, InFlightLimit: st.Limit,
		LastSuccess: stamp(st.LastSuccess), LastFailure: stamp(st.LastFailure), LastCode: st.LastCode,
		FailingSince: stamp(st.FailingSince), DisableAt: stamp(st.DisableAt),
		NextProbe: stamp(st.NextProbe), HeldUntil: stamp(st.HeldUntil), RateLimited: stamp(st.RateLimitedUntil),
	}
	if limit := ep.RateLimit; limit.Attempts > 0 {
		v.RateLimit = &rateView{limit.Attempts, millis(limit.Per)}
	}
	for i, f := range ep.Filters {
		v.Filters[i] = filterView{f.Field, f.Values}
	}
	for _, signer := range ep.Signers {
		v.SignedBy = append(v.SignedBy, signer.Headers()...)
	}
	return v
}

// listEndpoints answers with all configured endpoints, by name.
func (h *Handler) listEndpoints(req *request) (any, error) {
	views := []endpointView{}
	if s := req.engine.Snapshot(); s != nil {
		statuses := req.engine.Endpoints()
		views = make([]endpointView, 0, len(statuses))
		for i := range statuses {
			// A reload may have taken place between the two calls.
			if ep := s.Endpoints[statuses[i].Name]; ep != nil {
				views = append(views, viewEndpoint(ep, &statuses[i]))
			}
		}
	}
	return struct {
		Endpoints []endpointView `json:"endpoints"`
	}{views}, nil
}

// showEndpoint answers with one endpoint.
func (h *Handler) showEndpoint(req *request) (any, error) {
	ep, err := req.endpoint()
	if err != nil {
		return nil, err
	}
	st, ok := req.engine.Endpoint(ep.Name)
	if !ok {
		return nil, delivery.ErrUnknownEndpoint
	}
	return viewEndpoint(ep, &st), nil
}

// endpoint returns the endpoint that the path names.
func (r *request) endpoint() (*delivery.Endpoint, error) {
	s := r.engine.Snapshot()
	if s == nil {
		return nil, delivery.ErrNotStarted
	}
	ep := s.Endpoints[r.argument]
	if ep == nil {
		return nil, delivery.ErrUnknownEndpoint
	}
	return ep, nil
}

// pauseEndpoint holds the deliveries of an endpoint, across restarts.
func (h *Handler) pauseEndpoint(req *request) (any, error) {
	if err := req.takesNoBody(); err != nil {
		return nil, err
	}
	if err := req.engine.Pause(req.Context(), req.argument, reasonOperator); err != nil {
		return nil, err
	}
	return h.showEndpoint(req)
}

// resumeEndpoint ends a pause. It cannot end one that the configuration
// orders, and says so.
func (h *Handler) resumeEndpoint(req *request) (any, error) {
	if err := req.takesNoBody(); err != nil {
		return nil, err
	}
	if err := req.engine.Resume(req.Context(), req.argument); err != nil {
		return nil, err
	}
	ep, err := req.endpoint()
	if err != nil {
		return nil, err
	}
	if ep.Paused {
		return nil, failf(http.StatusConflict, "the configuration pauses the endpoint; take its option paused away and reload")
	}
	return h.showEndpoint(req)
}

// testEndpoint sends a test event now and answers with what came of it.
func (h *Handler) testEndpoint(req *request) (any, error) {
	ep, err := req.endpoint()
	if err != nil {
		return nil, err
	}
	ev, err := h.testEvent(req, ep)
	if err != nil {
		return nil, err
	}
	d, attempt, err := req.engine.Test(req.Context(), ep.Name, ev)
	if err != nil {
		return nil, err
	}
	return viewDetail(req.engine.Snapshot(), d, []storage.Attempt{*attempt}), nil
}

// testEvent makes the event of a test from the type and the data in the body,
// both of which may be left out.
func (h *Handler) testEvent(req *request, ep *delivery.Endpoint) (*event.Event, error) {
	body := struct {
		Type string          `json:"type"`
		Data json.RawMessage `json:"data"`
	}{Data: json.RawMessage(defaultTestData)}
	if len(bytes.TrimSpace(req.body)) > 0 {
		dec := json.NewDecoder(bytes.NewReader(req.body))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&body); err != nil || dec.More() {
			return nil, failf(http.StatusBadRequest, "the body must be one JSON object that has no members but type and data")
		}
	}
	catalogue := req.engine.Snapshot().EventTypes
	if body.Type == "" {
		body.Type = testType(ep, catalogue)
	}
	name, err := json.Marshal(body.Type)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	text.WriteString(`{"type":`)
	text.Write(name)
	text.WriteString(`,"data":`)
	text.Write(body.Data)
	text.WriteString(`,"metadata":{"test":true}}`)

	parser := event.Parser{CloudTypes: true, Now: h.now, NewID: h.newID}
	if len(catalogue) > 0 {
		parser.Types = func(t string) bool { return contains(catalogue, t) }
	}
	ev, prob := parser.Event(text.Bytes())
	if prob == nil {
		return ev, nil
	}
	if prob.Pointer != nil && *prob.Pointer != "" {
		return nil, failf(http.StatusBadRequest, "%s: %v", strings.TrimPrefix(*prob.Pointer, "/"), prob)
	}
	return nil, failf(http.StatusBadRequest, "%v", prob)
}

// testType returns a type that the endpoint knows how to take.
func testType(ep *delivery.Endpoint, catalogue []string) string {
	types, err := subscription.Subscription{Patterns: ep.Events}.Types(catalogue)
	if err == nil && len(types) > 0 {
		return types[0]
	}
	for _, text := range ep.Events {
		if p, err := subscription.ParsePattern(text); err == nil {
			if eventType, ok := p.Exact(); ok {
				return eventType
			}
		}
	}
	return defaultTestType
}

// change acts on the delivery that the path names.
func (r *request) change(act func(*delivery.Engine, context.Context, storage.DeliveryID) (*storage.Delivery, error)) (any, error) {
	id, err := r.deliveryID()
	if err != nil {
		return nil, err
	}
	if err := r.takesNoBody(); err != nil {
		return nil, err
	}
	d, err := act(r.engine, r.Context(), id)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, errors.New("engine answered without a delivery")
	}
	return viewDelivery(r.engine.Snapshot(), d), nil
}
