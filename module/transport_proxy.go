package module

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/promptreports/caddy-webhooks/module/internal/egress"
)

var errProxyPlaceholder = errors.New("network_proxy cannot hold a placeholder in deliveries: there is no request to take it from")

// proxyFunc chooses the proxy of a request, as http.Transport.Proxy does.
type proxyFunc func(*http.Request) (*url.URL, error)

// guardProxy turns proxies off unless the configuration names one. With
// proxies from the environment, which Caddy uses by default, the guard would
// see the address of the proxy only.
//
// Through a configured proxy the guard still refuses the proxy's own address
// where the policy denies it, and, as far as names resolve here, receivers
// that the policy refuses. But it is the proxy that connects: the addresses
// it resolves and reaches are its own business from then on.
func guardProxy(t *reverseproxy.HTTPTransport, guard *egress.Guard, logger *zap.Logger) error {
	inner := t.Transport
	proxy := proxyFunc(inner.Proxy)
	configured, err := isConfigured(proxy)
	if err != nil {
		return err
	}
	if !configured && t.ForwardProxyURL == "" {
		inner.Proxy = nil
		warnEnvironment(logger)
		return nil
	}
	proxies := new(addressSet)
	guard.IsProxy = proxies.contains
	inner.Proxy = func(r *http.Request) (*url.URL, error) {
		u, err := proxy(r)
		if err != nil || u == nil {
			return u, err
		}
		if err := guard.CheckTarget(r.Context(), r.URL.Hostname()); err != nil {
			return nil, err
		}
		proxies.add(proxyAddress(u))
		return u, nil
	}
	inner.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
		if res.StatusCode != http.StatusOK {
			return egress.ErrProxyRefused
		}
		return nil
	}
	return nil
}

// isConfigured says whether a provisioned transport's proxy comes from the
// configuration. It can only be seen from what the function does: it differs
// from the environment's for one of these requests. The environment never
// gives a proxy for localhost.
func isConfigured(proxy proxyFunc) (bool, error) {
	if proxy == nil {
		return false, nil
	}
	for _, target := range []string{"https://localhost", "http://localhost", "https://proxy-test.invalid", "http://proxy-test.invalid"} {
		r, err := http.NewRequest(http.MethodPost, target, nil)
		if err != nil {
			return false, fmt.Errorf("asking for the proxy: %w", err)
		}
		got, err := proxy(r)
		want, envErr := http.ProxyFromEnvironment(r)
		switch {
		case err != nil && envErr != nil: // an unreadable HTTP_PROXY, which is not used
		case err != nil:
			return false, errProxyPlaceholder
		case (got == nil) != (want == nil), got != nil && want != nil && *got != *want:
			return true, nil
		}
	}
	return false, nil
}

// proxyAddress is the address that http.Transport dials for a proxy.
func proxyAddress(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// addressSet remembers addresses. A configuration names one proxy, or a few.
type addressSet struct{ m sync.Map }

func (s *addressSet) add(address string) {
	if !s.contains(address) {
		s.m.Store(address, true)
	}
}

func (s *addressSet) contains(address string) bool {
	_, ok := s.m.Load(address)
	return ok
}
