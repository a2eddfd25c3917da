package caddyfile

import (
	"encoding/json"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/module"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("webhooks", parseApp)
}

// appParser reads the global option.
type appParser struct {
	app *module.App
	at  positions
}

// parseApp reads the global option webhooks.
func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	d.Next() // the option's name
	if existing != nil {
		return nil, d.Err("option 'webhooks' is given twice")
	}
	p, err := readApp(d)
	if err != nil {
		return nil, err
	}
	for _, path := range p.app.LiteralSecrets() {
		warnLiteral(p.at.find(path))
	}
	value, err := json.Marshal(p.app)
	if err != nil {
		return nil, fmt.Errorf("encoding the webhooks app: %w", err)
	}
	return httpcaddyfile.App{Name: "webhooks", Value: value}, nil
}

// readApp reads the global option whose name the dispenser stands on.
func readApp(d *caddyfile.Dispenser) (*appParser, error) {
	p := &appParser{app: new(module.App), at: make(positions)}
	p.at.mark(d)
	if err := module.ParseBlock(d, "webhooks", p.options()); err != nil {
		return nil, err
	}
	if err := p.app.Check(); err != nil {
		return nil, p.at.locate(err)
	}
	return p, nil
}

// warnLiteral tells of a secret that stands in the Caddyfile. Adapters have no
// other way to warn from a global option.
func warnLiteral(at caddyfile.Token) {
	caddy.Log().Named("caddyfile").Warn(module.WarnLiteral, zap.String("file", at.File), zap.Int("line", at.Line))
}

func (p *appParser) options() map[string]module.Option {
	a, at := p.app, p.at
	return map[string]module.Option{
		"outbox":        at.option(guest(&a.OutboxRaw, "webhooks.outbox", "engine"), "outbox"),
		"event_types":   at.texts(&a.EventTypes, "event_types"),
		"header_prefix": at.option(module.TextOption(&a.HeaderPrefix), "header_prefix"),
		"payload":       at.option(module.TextOption(&a.Payload), "payload"),
		"defaults":      at.option(module.Option{Parse: p.parseDefaults}, "defaults"),
		"egress":        at.option(module.Option{Parse: p.parseEgress}, "egress"),
		"transport":     at.option(transport(&a.TransportRaw), "transport"),
		"max_in_flight": at.option(module.CountOption(&a.MaxInFlight), "max_in_flight"),
		"grace_period":  at.option(module.Option{Parse: p.parseGracePeriod}, "grace_period"),
		"metrics":       at.option(module.Option{Parse: p.parseMetrics}, "metrics"),
		"endpoint":      {Parse: p.parseEndpoint, Repeats: true},
	}
}

func (p *appParser) parseDefaults(d *caddyfile.Dispenser) error {
	p.app.Defaults = new(module.EndpointOptions)
	return module.ParseBlock(d, "defaults", p.endpointOptions(p.app.Defaults, "defaults"))
}

func (p *appParser) parseEgress(d *caddyfile.Dispenser) error {
	e := new(module.Egress)
	p.app.Egress = e
	return module.ParseBlock(d, "egress", map[string]module.Option{
		"allow":      p.at.texts(&e.Allow, "egress", "allow"),
		"deny":       p.at.texts(&e.Deny, "egress", "deny"),
		"allow_http": module.FlagOption(&e.AllowHTTP),
	})
}

func (p *appParser) parseMetrics(d *caddyfile.Dispenser) error {
	p.app.Metrics = new(module.Metrics)
	return module.ParseBlock(d, "metrics", map[string]module.Option{
		"per_endpoint": module.FlagOption(&p.app.Metrics.PerEndpoint),
	})
}

// parseGracePeriod reads the one duration that may be 0.
func (p *appParser) parseGracePeriod(d *caddyfile.Dispenser) error {
	var text string
	if !d.AllArgs(&text) {
		return d.ArgErr()
	}
	grace, err := caddy.ParseDuration(text)
	if err != nil || grace < 0 {
		return d.Errf("reading option 'grace_period': '%s' is not a duration such as 5s, nor 0", text)
	}
	p.app.GracePeriod = (*caddy.Duration)(&grace)
	return nil
}
