package api

import (
	"cmp"
	"slices"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
)

// statusView is the answer of GET /webhooks/status.
type statusView struct {
	Version          string         `json:"version"`
	State            delivery.State `json:"state"`
	Pending          int            `json:"pending"`
	Orphaned         int            `json:"orphaned"`
	InFlight         int            `json:"in_flight"`
	OldestPendingAt  stamp          `json:"oldest_pending_at"`
	OldestPendingAge millis         `json:"oldest_pending_age_ms"`
	Outbox           outboxView     `json:"outbox"`
	Endpoints        countsView     `json:"endpoints"`
}

// outboxView describes the outbox. Full says that new events are refused for
// want of room; error is null while the outbox works.
type outboxView struct {
	Path      string  `json:"path"`
	Bytes     int64   `json:"bytes"`
	FreeBytes *int64  `json:"free_bytes"`
	Full      bool    `json:"full"`
	Error     *string `json:"error"`
}

// countsView counts the configured endpoints by state.
type countsView struct {
	Healthy int `json:"healthy"`
	Failing int `json:"failing"`
	Paused  int `json:"paused"`
}

// status describes the engine and its outbox.
func (h *Handler) status(req *request) (any, error) {
	st, usage := req.engine.Status(), req.engine.Outbox().Usage()
	v := statusView{
		Version: h.version, State: st.State, Pending: st.Pending, Orphaned: st.Orphaned, InFlight: st.InFlight,
		OldestPendingAt: stamp(st.OldestPending),
		Outbox:          outboxView{Path: usage.Path, Bytes: usage.Bytes, Full: usage.Full},
		Endpoints:       countsView{st.Healthy, st.Failing, st.Paused},
	}
	if !st.OldestPending.IsZero() {
		v.OldestPendingAge = millis(max(0, h.now().Sub(st.OldestPending)))
	}
	if usage.FreeBytes >= 0 {
		v.Outbox.FreeBytes = &usage.FreeBytes
	}
	if err := cmp.Or(usage.Err, st.Err); err != nil {
		text := err.Error()
		v.Outbox.Error = &text
	}
	return v, nil
}

// typeView is an event type with the endpoints whose patterns admit it.
type typeView struct {
	Type      string   `json:"type"`
	Endpoints []string `json:"endpoints"`
}

// eventTypes answers with the catalogue. Where there is none, any type is
// accepted.
func (h *Handler) eventTypes(req *request) (any, error) {
	s := req.engine.Snapshot()
	if s == nil {
		return nil, delivery.ErrNotStarted
	}
	views := make([]typeView, len(s.EventTypes))
	var found []int
	for i, t := range s.EventTypes {
		found = s.Index.MayMatch(found[:0], t)
		views[i] = typeView{t, make([]string, len(found))}
		for j, position := range found {
			views[i].Endpoints[j] = s.Names[position]
		}
	}
	return struct {
		EventTypes []typeView `json:"event_types"`
		AnyType    bool       `json:"any_type"`
	}{views, len(s.EventTypes) == 0}, nil
}

func contains(sorted []string, s string) bool {
	_, ok := slices.BinarySearch(sorted, s)
	return ok
}
