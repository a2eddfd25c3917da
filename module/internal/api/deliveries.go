package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
	"github.com/promptreports/caddy-webhooks/storage"
)

// fillTime bounds the time in which a page that came short is filled up from
// those that follow.
const fillTime = 10 * time.Millisecond

// deliveryView is a delivery in an answer.
type deliveryView struct {
	ID            string         `json:"id"`
	EventID       string         `json:"event_id"`
	Type          string         `json:"type"`
	Endpoint      string         `json:"endpoint"`
	Status        storage.Status `json:"status"`
	Test          bool           `json:"test"`
	CreatedAt     stamp          `json:"created_at"`
	AttemptCount  int            `json:"attempt_count"`
	Code          string         `json:"code"`
	StatusCode    optional       `json:"status_code"`
	LastAttemptAt stamp          `json:"last_attempt_at"`
	NextAttemptAt stamp          `json:"next_attempt_at"`
	ReplayOf      *string        `json:"replay_of"`
}

func viewDelivery(s *delivery.Snapshot, d *storage.Delivery) deliveryView {
	v := deliveryView{
		ID: d.ID.String(), EventID: d.EventID, Type: d.Type, Endpoint: d.Endpoint, Status: d.Status, Test: d.Test,
		CreatedAt: stamp(d.CreatedAt), AttemptCount: d.Attempts, Code: d.Code, StatusCode: optional(d.StatusCode),
		LastAttemptAt: stamp(d.LastAttemptAt), NextAttemptAt: stamp(d.NextAttemptAt),
	}
	if d.Status == storage.StatusPending && isOrphan(s, d.Endpoint) {
		v.Status = storage.StatusOrphaned
	}
	if !d.ReplayOf.IsZero() {
		of := d.ReplayOf.String()
		v.ReplayOf = &of
	}
	return v
}

func viewDeliveries(s *delivery.Snapshot, deliveries []storage.Delivery) []deliveryView {
	views := make([]deliveryView, len(deliveries))
	for i := range deliveries {
		views[i] = viewDelivery(s, &deliveries[i])
	}
	return views
}

// detailView is a delivery with its attempts.
type detailView struct {
	deliveryView
	Attempts []attemptView `json:"attempts"`
}

// attemptView is an attempt in an answer.
type attemptView struct {
	Number          int               `json:"number"`
	StartedAt       stamp             `json:"started_at"`
	Duration        millis            `json:"duration_ms"`
	Phases          phasesView        `json:"phases"`
	Verdict         string            `json:"verdict"`
	Code            string            `json:"code"`
	StatusCode      optional          `json:"status_code"`
	ResponseHeaders map[string]string `json:"response_headers"`

	// ResponseBody is the excerpt as text, or as base64 where it is none.
	ResponseBody           string `json:"response_body"`
	ResponseBodyEncoding   string `json:"response_body_encoding"`
	ResponseBodyTruncated  bool   `json:"response_body_truncated"`
	ResponseBodyIncomplete bool   `json:"response_body_incomplete"`

	RemoteAddr    string `json:"remote_addr"`
	TLSVersion    string `json:"tls_version"`
	NextAttemptAt stamp  `json:"next_attempt_at"`
}

// phasesView are the parts of an attempt's duration.
type phasesView struct {
	DNS     millis `json:"dns_ms"`
	Connect millis `json:"connect_ms"`
	TLS     millis `json:"tls_ms"`
	Write   millis `json:"write_ms"`
	Wait    millis `json:"wait_ms"`
	Body    millis `json:"body_ms"`
}

func viewDetail(s *delivery.Snapshot, d *storage.Delivery, attempts []storage.Attempt) detailView {
	v := detailView{viewDelivery(s, d), make([]attemptView, len(attempts))}
	for i := range attempts {
		v.Attempts[i] = viewAttempt(&attempts[i])
	}
	return v
}

func viewAttempt(a *storage.Attempt) attemptView {
	p := &a.Phases
	v := attemptView{
		Number: a.Number, StartedAt: stamp(a.StartedAt), Duration: millis(a.Duration),
		Phases: phasesView{
			DNS: millis(p.DNS), Connect: millis(p.Connect), TLS: millis(p.TLS),
			Write: millis(p.Write), Wait: millis(p.Wait), Body: millis(p.Body),
		},
		Verdict: a.Verdict, Code: a.Code, StatusCode: optional(a.StatusCode), ResponseHeaders: a.Header,
		ResponseBodyTruncated: a.BodyTruncated, ResponseBodyIncomplete: a.BodyIncomplete,
		RemoteAddr: a.RemoteAddr, TLSVersion: a.TLSVersion, NextAttemptAt: stamp(a.NextAttemptAt),
	}
	if v.ResponseHeaders == nil {
		v.ResponseHeaders = map[string]string{}
	}
	v.ResponseBody, v.ResponseBodyEncoding = excerpt(a.Body, a.BodyTruncated || a.BodyIncomplete)
	return v
}

// excerpt shows the part of a response body that is kept. A character that was
// cut in two at the end is left out.
func excerpt(body []byte, cut bool) (text, encoding string) {
	whole := body
	if cut {
		for i := 1; i < utf8.UTFMax && i <= len(body); i++ {
			if tail := body[len(body)-i:]; utf8.RuneStart(tail[0]) {
				if !utf8.FullRune(tail) {
					whole = body[:len(body)-i]
				}
				break
			}
		}
	}
	if utf8.Valid(whole) {
		return string(whole), "text"
	}
	return base64.StdEncoding.EncodeToString(body), "base64"
}

// listDeliveries answers with one page of the history, newest first.
func (h *Handler) listDeliveries(req *request) (any, error) {
	outbox, snapshot := req.engine.Outbox(), req.engine.Snapshot()
	l, err := parseListing(req.query, snapshot, outbox.Pending)
	if err != nil {
		return nil, err
	}
	var page storage.Page
	if !l.none {
		if page, err = h.fill(req, outbox, l); err != nil {
			return nil, err
		}
	}
	var next *string
	if page.Next != "" {
		next = &page.Next
	}
	return struct {
		Deliveries []deliveryView `json:"deliveries"`
		NextCursor *string        `json:"next_cursor"`
	}{viewDeliveries(snapshot, page.Deliveries), next}, nil
}

// fill asks for pages until one is full, there are no more, or the time is up:
// an outbox bounds the work for a page, so that one may come short or empty
// although there is more.
func (h *Handler) fill(req *request, outbox storage.Outbox, l *listing) (page storage.Page, err error) {
	ask := l.page
	for start := h.now(); ; {
		part, err := outbox.List(req.Context(), l.filter, ask)
		if err != nil {
			return page, err
		}
		page.Deliveries = append(page.Deliveries, part.Deliveries...)
		page.Next = part.Next
		ask.Cursor = part.Next
		ask.Limit = l.page.Limit - len(page.Deliveries)
		if part.Next == "" || ask.Limit <= 0 || h.now().Sub(start) > fillTime {
			return page, nil
		}
	}
}

// deliveryID reads the path's parameter.
func (r *request) deliveryID() (storage.DeliveryID, error) {
	id, err := storage.ParseDeliveryID(r.argument)
	if err != nil {
		return id, failf(http.StatusBadRequest, "%v", err)
	}
	return id, nil
}

// showDelivery answers with a delivery and all its attempts.
func (h *Handler) showDelivery(req *request) (any, error) {
	id, err := req.deliveryID()
	if err != nil {
		return nil, err
	}
	d, attempts, err := req.engine.Outbox().Delivery(req.Context(), id)
	if err != nil {
		return nil, err
	}
	return viewDetail(req.engine.Snapshot(), d, attempts), nil
}

// retryDelivery has a pending delivery tried now, and a finished one repeated
// by a new delivery.
func (h *Handler) retryDelivery(req *request) (any, error) {
	req.status = http.StatusAccepted
	return req.change((*delivery.Engine).Retry)
}

// cancelDelivery gives a pending delivery up.
func (h *Handler) cancelDelivery(req *request) (any, error) {
	return req.change((*delivery.Engine).Cancel)
}

// showEvent answers with an event, its deliveries and its exact payload.
func (h *Handler) showEvent(req *request) (any, error) {
	ev, deliveries, err := req.engine.Outbox().EventByID(req.Context(), req.argument)
	if err != nil {
		return nil, err
	}
	if !json.Valid(ev.Body) {
		return nil, errors.New("payload of an event in the outbox is not JSON")
	}
	head, err := encode(struct {
		ID         string         `json:"id"`
		Type       string         `json:"type"`
		AcceptedAt stamp          `json:"accepted_at"`
		Test       bool           `json:"test"`
		Deliveries []deliveryView `json:"deliveries"`
	}{ev.ID, ev.Type, stamp(ev.AcceptedAt), ev.Test, viewDeliveries(req.engine.Snapshot(), deliveries)})
	if err != nil {
		return nil, err
	}
	// Package json would drop white space within the payload, which is shown
	// as it is sent.
	answer := append(head[:len(head)-len("}\n")], `,"payload":`...)
	return verbatim(append(append(answer, ev.Body...), "}\n"...)), nil
}
