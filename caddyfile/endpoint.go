package caddyfile

import (
	"net/http"
	"net/textproto"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/promptreports/caddy-webhooks/module"
)

// parseEndpoint reads:
//
//	endpoint <name> <url> { … }
func (p *appParser) parseEndpoint(d *caddyfile.Dispenser) error {
	token := d.Token()
	var name, url string
	if !d.Args(&name, &url) {
		return d.Err("an endpoint needs a name and a URL: endpoint <name> <url>")
	}
	if p.app.Endpoints[name] != nil {
		return d.Errf("endpoint '%s' is given twice", name)
	}
	path := []string{"endpoints", name}
	p.at[key(path)] = token
	e := &module.Endpoint{URL: url}
	if p.app.Endpoints == nil {
		p.app.Endpoints = make(map[string]*module.Endpoint)
	}
	p.app.Endpoints[name] = e

	options := p.endpointOptions(&e.EndpointOptions, path...)
	options["events"] = p.at.texts(&e.Events, "endpoints", name, "events")
	options["filter"] = module.Option{Repeats: true, Parse: func(d *caddyfile.Dispenser) error {
		p.at.mark(d, "endpoints", name, "filter", strconv.Itoa(len(e.Filter)))
		words := d.RemainingArgs()
		if len(words) < 2 {
			return d.Err("a filter needs a field and at least one value: filter <field> <value...>")
		}
		e.Filter = append(e.Filter, module.Filter{Field: words[0], Values: words[1:]})
		return nil
	}}
	return module.ParseBlock(d, "endpoint "+name, options)
}

// endpointOptions are the options of an endpoint and of defaults.
func (p *appParser) endpointOptions(o *module.EndpointOptions, path ...string) map[string]module.Option {
	at := func(name string, option module.Option) module.Option {
		return p.at.option(option, below(path, name)...)
	}
	return map[string]module.Option{
		"description":   module.TextOption(&o.Description),
		"secret":        once(p.at.texts(&o.Secret, below(path, "secret")...)),
		"sign":          at("sign", signers(&o.SignRaw)),
		"header":        p.header(&o.Header, path),
		"timeout":       at("timeout", module.DurationOption(&o.Timeout)),
		"retry":         at("retry", p.retry(&o.Retry, path)),
		"disable_after": at("disable_after", disableAfter(&o.DisableAfter)),
		"max_in_flight": at("max_in_flight", module.CountOption(&o.MaxInFlight)),
		"rate_limit":    at("rate_limit", rateLimit(&o.RateLimit)),
		"paused":        paused(&o.Paused),
		"transport":     at("transport", transport(&o.TransportRaw)),
	}
}

// header reads:
//
//	header <name> <value>
func (p *appParser) header(dst *http.Header, path []string) module.Option {
	return module.Option{Repeats: true, Parse: func(d *caddyfile.Dispenser) error {
		token := d.Token()
		var name, value string
		if !d.AllArgs(&name, &value) {
			return d.Err("a header needs a name and a value: header <name> <value>")
		}
		if *dst == nil {
			*dst = make(http.Header)
		}
		dst.Add(name, value)
		p.at[key(below(path, "header", textproto.CanonicalMIMEHeaderKey(name)))] = token
		return nil
	}}
}

// disableAfter reads:
//
//	disable_after <duration>|off
func disableAfter(dst **caddy.Duration) module.Option {
	return module.Option{Parse: func(d *caddyfile.Dispenser) error {
		var text string
		if !d.AllArgs(&text) {
			return d.Err("option 'disable_after' needs one value: disable_after <duration>|off")
		}
		after := new(caddy.Duration)
		if text != "off" {
			var err error
			if *after, err = module.ParseDuration(text); err != nil {
				return d.Errf("reading option 'disable_after': %w; or off", err)
			}
		}
		*dst = after
		return nil
	}}
}

// rateLimit reads:
//
//	rate_limit <n> <duration>
func rateLimit(dst **module.RateLimit) module.Option {
	return module.Option{Parse: func(d *caddyfile.Dispenser) error {
		var count, period string
		if !d.AllArgs(&count, &period) {
			return d.Err("a rate limit needs a number of attempts and a duration: rate_limit <n> <duration>")
		}
		n, err := module.ParseCount(count)
		if err != nil {
			return d.Errf("reading option 'rate_limit': %w", err)
		}
		per, err := module.ParseDuration(period)
		if err != nil {
			return d.Errf("reading option 'rate_limit': %w", err)
		}
		*dst = &module.RateLimit{Attempts: n, Per: per}
		return nil
	}}
}

func paused(dst **bool) module.Option {
	*dst = nil
	return module.Option{Parse: func(d *caddyfile.Dispenser) error {
		*dst = new(bool)
		return module.FlagOption(*dst).Parse(d)
	}}
}

// below returns a path of its own that leads on from path.
func below(path []string, parts ...string) []string {
	return append(slices.Clip(path), parts...)
}
