package module

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	weakrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/module/internal/egress"
)

// What a transport gets where its configuration says nothing. Caddy's own
// defaults are made for a few trusted upstreams: no limit on the TLS handshake
// and on idle connections in all, and 10 MiB of response headers.
const (
	transportDialTimeout    = 5 * time.Second
	transportTLSTimeout     = 5 * time.Second
	transportMaxHeaderBytes = 64 << 10
	transportMaxIdle        = 256
	transportIdleTimeout    = 60 * time.Second

	// An HTTP/2 connection that has been silent for transportPing while it is
	// in use is asked whether it is still there, so that one which died
	// quietly does not swallow attempt after attempt.
	transportPing        = 15 * time.Second
	transportPingTimeout = 5 * time.Second
)

// transportDefaults fills the gaps in the configuration of a transport before
// it is loaded: options whose absence cannot be told afterwards. What is
// configured is kept. Only the transport http can deliver.
func transportDefaults(raw json.RawMessage) (json.RawMessage, error) {
	config := map[string]json.RawMessage{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &config); err != nil {
			return nil, fmt.Errorf("decoding transport: %w", err)
		}
	}
	if p, ok := config["protocol"]; ok && string(p) != `"http"` {
		return nil, fmt.Errorf("transport %s cannot deliver: only http can", p)
	}
	if err := checkProxyURL(config); err != nil {
		return nil, err
	}
	setDefault(config, "protocol", "http")
	setDefault(config, "dial_timeout", caddy.Duration(transportDialTimeout))
	if config["forward_proxy_url"] == nil {
		setDefault(config, "network_proxy", map[string]string{"from": "none"})
	}

	keepAlive := map[string]json.RawMessage{}
	if k := config["keep_alive"]; len(k) > 0 {
		if err := json.Unmarshal(k, &keepAlive); err != nil {
			return nil, fmt.Errorf("decoding keep_alive of transport: %w", err)
		}
	}
	// An endpoint may keep as many connections as it has attempts in flight.
	setDefault(keepAlive, "max_idle_conns", transportMaxIdle)
	setDefault(keepAlive, "max_idle_conns_per_host", transportMaxIdle)
	setDefault(keepAlive, "idle_timeout", caddy.Duration(transportIdleTimeout))
	delete(config, "keep_alive")
	setDefault(config, "keep_alive", keepAlive)
	return json.Marshal(config)
}

func setDefault(config map[string]json.RawMessage, name string, value any) {
	if v, ok := config[name]; ok && string(v) != "null" {
		return
	}
	// Strings, numbers and maps of them always marshal.
	config[name], _ = json.Marshal(value)
}

// guardTransport makes a provisioned transport safe for deliveries, and
// returns what sends them. The transport must not have been used yet, and
// must not be shared with another policy: kept connections are not checked
// again.
//
// The answer is the inner http.Transport. HTTPTransport.RoundTrip adds a
// scheme to requests that have none, which ours always have, and chooses
// HTTP/3, which is refused here; calling it would only cost time.
func guardTransport(t *reverseproxy.HTTPTransport, policy *egress.Policy, logger *zap.Logger) (http.RoundTripper, error) {
	if err := checkTransport(t); err != nil {
		return nil, err
	}
	inner := t.Transport
	if inner.TLSHandshakeTimeout == 0 {
		// net/http dials apart from the request, so that without a limit a
		// receiver that never shakes hands holds a connection for ever.
		inner.TLSHandshakeTimeout = transportTLSTimeout
	}
	if inner.MaxResponseHeaderBytes == 0 {
		inner.MaxResponseHeaderBytes = transportMaxHeaderBytes
	}
	if inner.MaxIdleConns == 0 {
		inner.MaxIdleConns = transportMaxIdle
	}
	if inner.HTTP2 == nil {
		inner.HTTP2 = &http.HTTP2Config{SendPingTimeout: transportPing, PingTimeout: transportPingTimeout}
	}
	// Excerpts of bodies are kept as they came; nothing needs a decompressor
	// that a receiver could feed a bomb.
	inner.DisableCompression = true

	lookup, err := lookupOf(t)
	if err != nil {
		return nil, err
	}
	guard := &egress.Guard{
		Policy:  policy,
		Dial:    dialError(inner.DialContext),
		Lookup:  lookup,
		Timeout: time.Duration(t.DialTimeout),
	}
	if err := guardProxy(t, guard, logger); err != nil {
		return nil, err
	}
	inner.DialContext = logBlocked(guard.DialContext, logger)
	boundTransport(inner)
	return inner, nil
}

// logBlocked tells operators which address was refused. The attempt, which
// others may see, tells only that one was.
func logBlocked(dial egress.DialFunc, logger *zap.Logger) egress.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if blocked, ok := errors.AsType[*egress.BlockedError](err); ok {
			if c := logger.Check(zap.DebugLevel, "an address is refused"); c != nil {
				c.Write(zap.String("target", address), zap.Stringer("address", blocked.Addr))
			}
		}
		return conn, err
	}
}

// checkTransport refuses what would go past the guard, or could never work
// without a request that is being proxied.
func checkTransport(t *reverseproxy.HTTPTransport) error {
	if slices.Contains(t.Versions, "3") {
		return errors.New("versions: HTTP/3 cannot be used for deliveries: its connections would go past the egress policy")
	}
	switch {
	case t.ProxyProtocol != "":
		return errors.New("proxy_protocol cannot be used for deliveries: there is no client whose address it could send")
	case t.TLS != nil && strings.Contains(t.TLS.ServerName, "{"):
		return errors.New("tls_server_name cannot hold a placeholder in deliveries: there is no request to take it from")
	case strings.Contains(t.ForwardProxyURL, "{"):
		return errProxyPlaceholder
	case t.Transport == nil:
		return errors.New("transport was not provisioned")
	case t.Transport.DialTLSContext != nil:
		return errors.New("transport makes TLS connections of its own, which would go past the egress policy")
	}
	return nil
}

// lookupOf resolves names with the transport's own resolvers, if it has any;
// the one inside of its dialer is not used, as the guard dials addresses.
func lookupOf(t *reverseproxy.HTTPTransport) (egress.LookupFunc, error) {
	if t.Resolver == nil {
		return nil, nil
	}
	var servers []caddy.NetworkAddress
	for _, s := range t.Resolver.Addresses {
		a, err := caddy.ParseNetworkAddressWithDefaults(s, "udp", 53)
		if err != nil {
			return nil, fmt.Errorf("parsing address of resolver: %w", err)
		}
		servers = append(servers, a)
	}
	if len(servers) == 0 {
		return nil, errors.New("resolver has no addresses")
	}
	dialer := &net.Dialer{Timeout: time.Duration(t.DialTimeout)}
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		server := servers[weakrand.IntN(len(servers))]
		return dialer.DialContext(ctx, server.Network, server.JoinHostPort(0))
	}}
	return func(ctx context.Context, network, host string) ([]netip.Addr, error) {
		return resolver.LookupNetIP(ctx, network, host)
	}, nil
}

// dialError gives the errors of Caddy's dial function their causes back: it
// wraps them in a DialError, which cannot be unwrapped, so that a refused
// connection could not be told from an unreachable network. A dial to one
// literal address reports its only error to a trace, in the same goroutine.
func dialError(dial egress.DialFunc) egress.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		var cause error
		conn, err := dial(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			ConnectDone: func(_, _ string, err error) { cause = err },
		}), network, address)
		if _, ok := errors.AsType[reverseproxy.DialError](err); ok {
			switch {
			case cause != nil:
				err = cause
			case ctx.Err() != nil:
				err = ctx.Err()
			}
		}
		return conn, err
	}
}
