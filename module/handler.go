package module

import (
	"github.com/caddyserver/caddy/v2"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler accepts events. It answers POST requests on whatever path it is
// mounted at, and calls no handler after it.
//
// A request is one event as `application/json`, or several: an array as
// `application/json`, or a line each as `application/x-ndjson`. The answer 202
// means that every event, and a delivery for each endpoint that subscribes to
// it, is synced to disk. Every refusal is a problem detail (RFC 9457), and
// means that nothing was stored.
//
// A web page cannot post events, even where it can reach the handler: another
// Content-Type than those above, an `Origin` of another site, a
// `Sec-Fetch-Site` of `cross-site` or `same-site`, and a `Host` that is neither
// an IP address, nor `localhost`, nor a name without dots, nor matched by a host
// matcher of the server (a site address in the Caddyfile) are refused.
type Handler struct {
	// Tokens that requests must carry one of, as `Authorization: Bearer`. Write
	// placeholders (`{env.NAME}`, `{file./path}`): a literal token shows in the
	// configuration. A token that is empty or shorter than 16 bytes is an
	// error. Default: none, which asks for no token.
	Tokens []string `json:"tokens,omitempty"`

	// Values of the `Origin` header that are accepted besides the handler's own
	// site, for example `https://app.example.com`. Default: none.
	Origins []string `json:"origins,omitempty"`

	// The greatest size of a request with one event, in bytes. Default: 1 MiB.
	MaxEventSize int64 `json:"max_event_size,omitempty"`

	// The greatest size of a request with several events, in bytes. Default:
	// 16 MiB.
	MaxBatchSize int64 `json:"max_batch_size,omitempty"`

	// How long reading a request's body may take. Default: `10s`.
	ReadTimeout caddy.Duration `json:"read_timeout,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.webhooks",
		New: func() caddy.Module { return new(Handler) },
	}
}
