// Package api is the management API: one http.Handler that shows what the
// delivery engine does and has done, and lets operators act on it. It knows
// nothing of where it is mounted.
//
// Answers are JSON with names in snake_case, errors {"error":"…"}. Times are
// RFC 3339 in UTC with microseconds, or null; durations are numbers whose name
// ends in _ms. No answer holds a secret, a signature of ours, or the userinfo
// or query of an endpoint's URL. State changes only by POST.
package api

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
	"github.com/promptreports/caddy-webhooks/module/internal/event"
)

// Root is the path below which every route of the API lies. A mount that
// registers Patterns registers Root too, so that wrong methods and unknown
// paths get the API's own answers.
const Root = "/webhooks/"

// Handler is the management API.
type Handler struct {
	engine  func() *delivery.Engine
	version string
	origins *http.CrossOriginProtection

	now   func() time.Time
	newID func(time.Time) string
}

// New returns the API of the engine. The engine is asked for at each request,
// because a mount may outlive the configuration that made it; while it is nil,
// the API answers 503. The version is shown by the status route.
func New(engine func() *delivery.Engine, version string) *Handler {
	return &Handler{
		engine:  engine,
		version: version,
		origins: http.NewCrossOriginProtection(),
		now:     time.Now,
		newID:   event.NewID,
	}
}

// route is one method on one path. A path has at most one {parameter}.
type route struct {
	method, path string
	serve        func(*Handler, *request) (any, error)
}

// routes is a function so that it may name methods that name routes.
func routes() []route {
	return []route{
		{http.MethodGet, "/webhooks/status", (*Handler).status},
		{http.MethodGet, "/webhooks/event_types", (*Handler).eventTypes},
		{http.MethodGet, "/webhooks/endpoints", (*Handler).listEndpoints},
		{http.MethodGet, "/webhooks/endpoints/{name}", (*Handler).showEndpoint},
		{http.MethodPost, "/webhooks/endpoints/{name}/test", (*Handler).testEndpoint},
		{http.MethodPost, "/webhooks/endpoints/{name}/pause", (*Handler).pauseEndpoint},
		{http.MethodPost, "/webhooks/endpoints/{name}/resume", (*Handler).resumeEndpoint},
		{http.MethodGet, "/webhooks/deliveries", (*Handler).listDeliveries},
		{http.MethodGet, "/webhooks/deliveries/{id}", (*Handler).showDelivery},
		{http.MethodPost, "/webhooks/deliveries/{id}/retry", (*Handler).retryDelivery},
		{http.MethodPost, "/webhooks/deliveries/{id}/cancel", (*Handler).cancelDelivery},
		{http.MethodGet, "/webhooks/events/{id}", (*Handler).showEvent},
	}
}

// table is routes, with the paths split.
var table = func() []routeEntry {
	var entries []routeEntry
	for _, r := range routes() {
		entries = append(entries, routeEntry{r, strings.Split(r.path, "/")})
	}
	return entries
}()

type routeEntry struct {
	route
	words []string
}

// Patterns returns the routes as patterns of http.ServeMux, for example
// "GET /webhooks/deliveries/{id}", for mounts that count requests by pattern.
func Patterns() []string {
	var patterns []string
	for _, r := range routes() {
		patterns = append(patterns, r.method+" "+r.path)
	}
	return patterns
}

// find returns the route of the request with its path's parameter, or the
// methods that the path has, or nothing where there is no such path. HEAD goes
// where GET does.
func find(r *http.Request) (found *route, argument string, allowed []string) {
	words := strings.Split(r.URL.EscapedPath(), "/")
	for i := range table {
		entry := &table[i]
		value, ok := match(entry.words, words)
		if !ok {
			continue
		}
		if r.Method == entry.method || (r.Method == http.MethodHead && entry.method == http.MethodGet) {
			return &entry.route, value, nil
		}
		allowed = append(allowed, entry.method)
		if entry.method == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	return nil, "", allowed
}

// match compares a path with that of a route, word by word.
func match(pattern, path []string) (argument string, ok bool) {
	if len(pattern) != len(path) {
		return "", false
	}
	for i, word := range pattern {
		if !strings.HasPrefix(word, "{") {
			if word != path[i] {
				return "", false
			}
			continue
		}
		value, err := url.PathUnescape(path[i])
		if err != nil || value == "" {
			return "", false
		}
		argument = value
	}
	return argument, true
}
