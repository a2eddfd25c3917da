package module

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

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
	named, environment, err := probeProxy(proxy)
	if err != nil {
		return err
	}
	if !named || environment {
		warnEnvironment(logger)
	}
	if environment && t.ForwardProxyURL == "" {
		proxy = nil
	}
	if inner.Proxy = proxy; proxy == nil {
		return nil
	}
	proxies := new(addressSet)
	guard.IsProxy = proxies.contains
	inner.Proxy = func(r *http.Request) (*url.URL, error) {
		u, err := proxy(r)
		if err != nil || u == nil {
			return u, err
		}
		if err := guard.CheckTarget(r.Context(), dialAddress(r.URL)); err != nil {
			return nil, err
		}
		proxies.add(dialAddress(u))
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

// warnEnvironment tells that the proxies of the environment are not used.
func warnEnvironment(logger *zap.Logger) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
		if os.Getenv(name) != "" {
			logger.Info("proxies of the environment are not used for deliveries; name one with network_proxy in the transport",
				zap.String("variable", name))
			return
		}
	}
}

// probeProxy says whether a provisioned transport's proxy function names a
// proxy at all, and whether it takes it from the environment. Once the
// transport is provisioned, that shows only in what the function does: like
// the environment it names the same proxies, and none for localhost.
func probeProxy(proxy proxyFunc) (named, environment bool, err error) {
	if proxy == nil {
		return false, false, nil
	}
	environment = true
	for _, target := range []string{"https://localhost", "http://localhost", "https://proxy-test.invalid", "http://proxy-test.invalid"} {
		r, err := http.NewRequest(http.MethodPost, target, nil)
		if err != nil {
			return false, false, fmt.Errorf("asking for the proxy: %w", err)
		}
		got, err := proxy(r)
		want, envErr := http.ProxyFromEnvironment(r)
		if err != nil && envErr == nil {
			return false, false, errProxyPlaceholder
		}
		named = named || got != nil || err != nil
		environment = environment && urlText(got) == urlText(want)
	}
	return named, named && environment, nil
}

func urlText(u *url.URL) string {
	if u == nil {
		return ""
	}
	return u.String()
}

// dialAddress is the address that http.Transport dials for a URL, be it of a
// receiver or of a proxy.
func dialAddress(u *url.URL) string {
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
