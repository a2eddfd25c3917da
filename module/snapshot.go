package module

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
	"github.com/promptreports/caddy-webhooks/module/internal/egress"
	"github.com/promptreports/caddy-webhooks/module/internal/subscription"
)

const (
	defaultHeaderPrefix     = "X-Webhook"
	defaultMaxInFlight      = 512
	defaultEndpointInFlight = 16
	defaultTimeout          = 30 * time.Second
	defaultDisableAfter     = 5 * 24 * time.Hour
)

// modulePath is the path of this module in a build's list of dependencies.
const modulePath = "github.com/promptreports/caddy-webhooks"

// builder turns a configuration that passed Check into a snapshot.
type builder struct {
	ctx    caddy.Context
	app    *App
	policy *egress.Policy
	repl   *resolver

	// ours are the headers which every attempt has besides the reserved ones.
	ours []string

	// signers are the modules of endpoints that name none, or nil where
	// defaults name none either.
	signers []SignerModule

	// secrets and transports are shared by those that configure them with the
	// same text.
	secrets    map[string]Secret
	transports map[string]http.RoundTripper

	// literal, weak and unsigned name the endpoints to warn about.
	literal, weak, unsigned []string
}

// build makes the snapshot. It reads the environment and secret files, and
// touches nothing else.
func (a *App) build(ctx caddy.Context, observer delivery.Observer) (*delivery.Snapshot, error) {
	policy, err := a.Egress.policy()
	if err != nil {
		return nil, in(err, "egress")
	}
	policy.Refuse = a.refusesOwn
	b := &builder{
		ctx: ctx, app: a, policy: policy, repl: newResolver(),
		secrets: make(map[string]Secret), transports: make(map[string]http.RoundTripper),
	}
	for _, suffix := range []string{"-Event", "-Delivery", "-Attempt"} {
		b.ours = append(b.ours, textproto.CanonicalMIMEHeaderKey(a.headerPrefix()+suffix))
	}
	if err := b.shared(); err != nil {
		return nil, err
	}
	s := &delivery.Snapshot{
		Endpoints:    make(map[string]*delivery.Endpoint, len(a.Endpoints)),
		Names:        slices.Sorted(maps.Keys(a.Endpoints)),
		EventTypes:   slices.Sorted(slices.Values(a.EventTypes)),
		HeaderPrefix: a.headerPrefix(),
		UserAgent:    "caddy-webhooks/" + version(),
		MaxInFlight:  cmp.Or(a.MaxInFlight, defaultMaxInFlight),
		Logger:       a.logger.Named("delivery"),
		Observer:     observer,
	}
	subs := make([]subscription.Subscription, len(s.Names))
	for i, name := range s.Names {
		subs[i] = a.Endpoints[name].subscription()
		if s.Endpoints[name], err = b.endpoint(name, a.Endpoints[name], subs[i]); err != nil {
			return nil, in(err, "endpoints", name)
		}
	}
	if s.Index, err = subscription.NewIndex(subs); err != nil {
		return nil, fmt.Errorf("compiling subscriptions: %w", err)
	}
	b.warn()
	return s, nil
}

// shared loads what endpoints share, so that a mistake there shows even where
// no endpoint uses it.
func (b *builder) shared() (err error) {
	if _, err = b.transport(b.app.TransportRaw); err != nil {
		return in(err, "transport")
	}
	d := b.app.Defaults
	if d == nil {
		return nil
	}
	if len(d.TransportRaw) > 0 {
		if _, err = b.transport(d.TransportRaw); err != nil {
			return in(err, "defaults", "transport")
		}
	}
	for i, s := range d.Secret {
		if _, err = b.secret(s); err != nil {
			return in(err, "defaults", "secret", index(i))
		}
	}
	if d.SignRaw != nil {
		if b.signers, err = b.loadSigners(d); err != nil {
			return in(err, "defaults", "sign")
		}
	}
	return nil
}

func (b *builder) endpoint(name string, e *Endpoint, sub subscription.Subscription) (*delivery.Endpoint, error) {
	o := e.EndpointOptions.merge(b.app.Defaults)
	u, err := b.policy.CheckURL(e.URL)
	if err != nil {
		return nil, in(err, "url")
	}
	d := &delivery.Endpoint{
		Name:         name,
		Description:  o.Description,
		URL:          u,
		DisplayURL:   displayURL(u),
		Events:       sub.Patterns,
		Filters:      sub.Filters,
		Paused:       o.Paused != nil && *o.Paused,
		Timeout:      cmp.Or(time.Duration(o.Timeout), defaultTimeout),
		MaxInFlight:  cmp.Or(o.MaxInFlight, defaultEndpointInFlight),
		RateLimit:    o.RateLimit.limit(),
		DisableAfter: defaultDisableAfter,
	}
	if o.DisableAfter != nil {
		d.DisableAfter = time.Duration(*o.DisableAfter)
	}
	if d.Retry, err = o.Retry.policy(); err != nil {
		return nil, in(err, "retry")
	}
	if d.Header, err = b.header(o.Header); err != nil {
		return nil, in(err, "header")
	}
	if d.Secrets, err = b.secretsOf(name, o.Secret); err != nil {
		return nil, err
	}
	if d.Signers, err = b.sign(name, e, d.Secrets, d.Header); err != nil {
		return nil, err
	}
	if len(o.literals()) > 0 {
		b.literal = append(b.literal, name)
	}
	if d.Transport, err = b.transport(b.transportOf(e)); err != nil {
		return nil, in(err, "transport")
	}
	return d, nil
}

// header resolves the placeholders of an endpoint's own headers.
func (b *builder) header(h http.Header) (http.Header, error) {
	resolved := make(http.Header, len(h))
	for name, values := range h {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		for _, v := range values {
			v, err := resolve(b.repl, v)
			if err == nil {
				err = checkHeaderValue(v)
			}
			if err != nil {
				return nil, in(err, canonical)
			}
			resolved[canonical] = append(resolved[canonical], v)
		}
	}
	return resolved, nil
}

// secretsOf resolves the secrets of an endpoint.
func (b *builder) secretsOf(name string, configured []string) ([]Secret, error) {
	secrets := make([]Secret, len(configured))
	for i, text := range configured {
		s, err := b.secret(text)
		if err != nil {
			return nil, in(err, "secret", index(i))
		}
		secrets[i] = s
	}
	if slices.ContainsFunc(secrets, func(s Secret) bool { return s.Warning() != "" }) {
		b.weak = append(b.weak, name)
	}
	return secrets, nil
}

// secret resolves a configured secret once.
func (b *builder) secret(text string) (Secret, error) {
	if s, ok := b.secrets[text]; ok {
		return s, nil
	}
	_, s, err := readSecret(b.repl, text)
	if err != nil {
		return Secret{}, err
	}
	b.secrets[text] = s
	return s, nil
}

// transportOf returns the configuration of the transport that an endpoint
// uses: its own, that of defaults, or the app's.
func (b *builder) transportOf(e *Endpoint) json.RawMessage {
	switch d := b.app.Defaults; {
	case len(e.TransportRaw) > 0:
		return e.TransportRaw
	case d != nil && len(d.TransportRaw) > 0:
		return d.TransportRaw
	default:
		return b.app.TransportRaw
	}
}

// transport loads a transport, once for each text of configuration.
func (b *builder) transport(raw json.RawMessage) (http.RoundTripper, error) {
	if t, ok := b.transports[string(raw)]; ok {
		return t, nil
	}
	config, err := transportDefaults(raw)
	if err != nil {
		return nil, err
	}
	holder := struct {
		Raw json.RawMessage `caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`
	}{config}
	loaded, err := b.ctx.LoadModule(&holder, "Raw")
	if err != nil {
		return nil, err
	}
	t, ok := loaded.(*reverseproxy.HTTPTransport)
	if !ok {
		return nil, errors.New("only the transport http can deliver")
	}
	guarded, err := guardTransport(t, b.policy, b.app.logger)
	if err != nil {
		return nil, err
	}
	b.transports[string(raw)] = guarded
	return guarded, nil
}

// warn tells operators what is allowed but unwise.
func (b *builder) warn() {
	for _, w := range []struct {
		message string
		names   []string
	}{
		{WarnLiteral, b.literal},
		{"secrets are short; use 24 bytes or more", b.weak},
		{"endpoints have no secret; their receivers cannot check who sent an event", b.unsigned},
	} {
		if n := len(w.names); n > 0 {
			b.app.logger.Warn(w.message, zap.Int("count", n), zap.Strings("endpoints", w.names[:min(n, 10)]))
		}
	}
	b.repl.warn(b.app.logger)
}

// displayURL leaves out of a URL what may be secret.
func displayURL(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// version is that of this module in the running build, or "dev".
var version = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	return versionIn(info)
})

func versionIn(info *debug.BuildInfo) string {
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path != modulePath {
			continue
		}
		// A directory in place of the module has no version but "(devel)": that
		// which was asked for holds.
		if m.Replace != nil && strings.HasPrefix(m.Replace.Version, "v") {
			m = m.Replace
		}
		if v, ok := strings.CutPrefix(m.Version, "v"); ok {
			return v
		}
	}
	return "dev"
}

// Interface guards
var (
	_ caddy.Provisioner = (*App)(nil)
)
