package api

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
	"github.com/promptreports/caddy-webhooks/storage"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// deliveryParameters are the parameters of GET /webhooks/deliveries, the one
// route that has any.
var deliveryParameters = []string{
	"endpoint", "type", "status", "event_id", "code", "since", "until", "limit", "cursor",
}

// parseQuery reads a query whose parameters the route must know. None may be
// empty or stand twice.
func parseQuery(raw, path string) (url.Values, error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, failf(http.StatusBadRequest, "the query is malformed")
	}
	var names []string
	if path == "/webhooks/deliveries" {
		names = deliveryParameters
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch values := query[name]; {
		case !slices.Contains(names, name):
			return nil, failf(http.StatusBadRequest, "unknown parameter %q", name)
		case len(values) > 1:
			return nil, failf(http.StatusBadRequest, "parameter %s: is given %d times", name, len(values))
		case values[0] == "":
			return nil, failf(http.StatusBadRequest, "parameter %s: is empty", name)
		}
	}
	return query, nil
}

// listing is what a query asks for.
type listing struct {
	filter storage.Filter
	page   storage.PageRequest

	// none says that no delivery can be admitted.
	none bool
}

// parseListing reads the filters and the page of a listing. The snapshot says
// which endpoints are configured; pending, which have pending deliveries.
func parseListing(q url.Values, s *delivery.Snapshot, pending func() map[string]storage.PendingCount) (*listing, error) {
	l := &listing{
		filter: storage.Filter{Type: q.Get("type"), EventID: q.Get("event_id"), Code: q.Get("code")},
		page:   storage.PageRequest{Limit: defaultLimit, Cursor: q.Get("cursor")},
	}
	if name := q.Get("endpoint"); name != "" {
		l.filter.Endpoints = []string{name}
	}
	if code := l.filter.Code; code != "" && !delivery.IsCode(code) {
		return nil, failf(http.StatusBadRequest, "parameter code: must be a code of attempts, such as http_503 or connection_refused")
	}
	var err error
	if l.filter.Since, err = parseTime(q, "since"); err != nil {
		return nil, err
	}
	if l.filter.Until, err = parseTime(q, "until"); err != nil {
		return nil, err
	}
	if text := q.Get("limit"); text != "" {
		l.page.Limit, err = strconv.Atoi(text)
		if err != nil || l.page.Limit < 1 || l.page.Limit > maxLimit {
			return nil, failf(http.StatusBadRequest, "parameter limit: must be a number from 1 to %d", maxLimit)
		}
	}
	return l, l.setStatus(storage.Status(q.Get("status")), s, pending)
}

// setStatus admits deliveries by status. Orphaned ones are stored as pending,
// and told apart by their endpoints.
func (l *listing) setStatus(status storage.Status, s *delivery.Snapshot, pending func() map[string]storage.PendingCount) error {
	switch status {
	case "", storage.StatusDelivered, storage.StatusFailed, storage.StatusCancelled:
		l.filter.Status = status
	case storage.StatusPending, storage.StatusOrphaned:
		l.filter.Status = storage.StatusPending
		l.narrow(status == storage.StatusOrphaned, orphans(s, pending()))
	default:
		return failf(http.StatusBadRequest, "parameter status: must be pending, delivered, failed, cancelled or orphaned")
	}
	return nil
}

// narrow admits only the endpoints among the orphaned, or only the others.
func (l *listing) narrow(orphaned bool, names []string) {
	switch asked := l.filter.Endpoints; {
	case len(asked) > 0:
		l.none = slices.Contains(names, asked[0]) != orphaned
	case orphaned:
		l.filter.Endpoints = names
		l.none = len(names) == 0
	default:
		l.filter.NotEndpoints = names
	}
}

// orphans returns the endpoints that have pending deliveries and are not
// configured, sorted.
func orphans(s *delivery.Snapshot, pending map[string]storage.PendingCount) []string {
	var names []string
	for name := range pending {
		if isOrphan(s, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// isOrphan says whether an endpoint is not configured. Without any
// configuration that is not known of any.
func isOrphan(s *delivery.Snapshot, endpoint string) bool {
	return s != nil && s.Endpoints[endpoint] == nil
}

func parseTime(q url.Values, name string) (time.Time, error) {
	text := q.Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, failf(http.StatusBadRequest, `parameter %s: must be a time of RFC 3339, such as 2024-01-15T10:30:00Z`, name)
	}
	return t, nil
}
