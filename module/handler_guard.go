package module

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

// An endpoint whose URL leads back to a handler must not feed on itself. Every
// attempt has a User-Agent that starts so; the header is for what replaces the
// User-Agent on the way.
const (
	loopAgent  = "caddy-webhooks/"
	loopHeader = "X-Caddy-Webhooks-Hop"
)

// guard refuses requests by their head, whatever their body holds: those that
// a web page could have sent first, and then those without a token.
func (h *Handler) guard(r *http.Request) *problem.Problem {
	if r.Method != http.MethodPost {
		return problem.MethodNotAllowed.New("send the event as the body of a POST")
	}
	if _, ok := r.Header[loopHeader]; ok || strings.HasPrefix(r.UserAgent(), loopAgent) {
		return problem.Loop.New("an endpoint's URL leads back to this handler")
	}
	if refusal := h.checkSite(r); refusal != nil {
		return refusal
	}
	if len(h.digests) > 0 && !h.authorized(r.Header) {
		return problem.Unauthorized.New("the Authorization header must be Bearer with one of the handler's tokens")
	}
	return nil
}

// hostClass says what a request's Host header proves.
type hostClass int

const (
	// foreignHost may be a name that an attacker points at us (DNS rebinding).
	foreignHost hostClass = iota

	// bareHost is a name without a dot, such as a container's. It cannot be
	// a name on the Internet, but a neighbour on the local network may be able
	// to claim it, so it does not prove that a web page is ours.
	bareHost

	// ownHost is ours: an address, which a browser takes for an origin only if
	// it dialled it, or a name that the configuration lists.
	ownHost
)

// checkSite refuses what a web page of another site sends. Sec-Fetch-Mode does
// not count: Node's fetch sends it, too.
func (h *Handler) checkSite(r *http.Request) *problem.Problem {
	class := h.classify(r)
	if class == foreignHost {
		return problem.ForbiddenHost.New("the Host header names neither an address nor a site of this server; make the name a site address")
	}
	origins := r.Header["Origin"]
	listed := len(origins) == 1 && h.origins[strings.ToLower(origins[0])]
	if len(origins) > 0 && !listed && (class != ownHost || len(origins) > 1 || !sameOrigin(origins[0], r)) {
		return problem.ForbiddenOrigin.New("the Origin header names another site, which is not among the handler's origins")
	}
	for _, site := range r.Header["Sec-Fetch-Site"] {
		if site != "none" && site != "same-origin" && !listed {
			return problem.ForbiddenOrigin.New("the Sec-Fetch-Site header says that another site's page sent the request")
		}
	}
	return nil
}

func (h *Handler) classify(r *http.Request) hostClass {
	host := hostname(r.Host)
	if strings.EqualFold(host, "localhost") {
		return ownHost
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return ownHost
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && strings.HasPrefix(local.Network(), "unix") {
		return ownHost
	}
	if h.hosts.match(r) {
		return ownHost
	}
	if host != "" && !strings.Contains(strings.TrimSuffix(host, "."), ".") {
		return bareHost
	}
	return foreignHost
}

// hostname returns the host of an authority without port and brackets.
func hostname(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		return host
	}
	return strings.TrimSuffix(strings.TrimPrefix(authority, "["), "]")
}

// sameOrigin says whether a page of the origin was served by the host that
// the request is for. Behind a proxy that ends TLS the schemes differ.
func sameOrigin(origin string, r *http.Request) bool {
	scheme, authority, ok := strings.Cut(origin, "://")
	if !ok || !strings.EqualFold(authority, r.Host) {
		return false
	}
	return scheme == "https" || scheme == "http" && r.TLS == nil
}

// hostCache remembers the host matchers of the server that runs the handler.
// They are not known when the handler is provisioned, because the routes
// around it are not there yet.
type hostCache struct {
	last atomic.Pointer[serverHosts]
}

type serverHosts struct {
	server   *caddyhttp.Server
	matchers []*caddyhttp.MatchHost
}

// match says whether a host matcher of the server admits the request's host.
func (c *hostCache) match(r *http.Request) bool {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return false
	}
	hosts := c.last.Load()
	if hosts == nil || hosts.server != server {
		hosts = &serverHosts{server: server, matchers: appendHosts(nil, server.Routes)}
		for _, route := range server.NamedRoutes {
			hosts.matchers = appendHosts(hosts.matchers, caddyhttp.RouteList{*route})
		}
		c.last.Store(hosts)
	}
	for _, m := range hosts.matchers {
		if ok, err := m.MatchWithError(r); ok && err == nil {
			return true
		}
	}
	return false
}

func appendHosts(matchers []*caddyhttp.MatchHost, routes caddyhttp.RouteList) []*caddyhttp.MatchHost {
	for _, route := range routes {
		for _, set := range route.MatcherSets {
			for _, m := range set {
				if host, ok := m.(*caddyhttp.MatchHost); ok {
					matchers = append(matchers, host)
				}
			}
		}
		for _, handler := range route.Handlers {
			if sub, ok := handler.(*caddyhttp.Subroute); ok {
				matchers = appendHosts(matchers, sub.Routes)
			}
		}
	}
	return matchers
}

// authorized says whether the request carries one of the tokens. It compares
// digests, all of them and in constant time, so that the time taken tells
// nothing about a token, not even its length.
func (h *Handler) authorized(header http.Header) bool {
	values := header["Authorization"]
	if len(values) != 1 {
		return false
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	got := sha256.Sum256([]byte(strings.TrimLeft(token, " ")))
	match := 0
	for i := range h.digests {
		match |= subtle.ConstantTimeCompare(got[:], h.digests[i][:])
	}
	return match == 1
}

// provisionOrigins checks the configured origins. They are compared in lower
// case, as browsers write them (RFC 6454, section 6.2).
func (h *Handler) provisionOrigins() error {
	h.origins = make(map[string]bool, len(h.Origins))
	for _, o := range h.Origins {
		if err := CheckOrigin(o); err != nil {
			return err
		}
		h.origins[strings.ToLower(o)] = true
	}
	return nil
}

// CheckOrigin returns an error unless the text is an origin as browsers write
// it: a scheme and a host, and a port if it is not the scheme's own (RFC 6454,
// section 6.2).
func CheckOrigin(o string) error {
	u, err := url.Parse(o)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.Scheme+"://"+u.Host != o {
		return fmt.Errorf("origin '%s' has not the form https://host or https://host:port", o)
	}
	return nil
}
