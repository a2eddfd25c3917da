package caddyfile

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/promptreports/caddy-webhooks/module"
)

// retry reads:
//
//	retry [<max_attempts>|off] { … }
func (p *appParser) retry(dst **module.Retry, path []string) module.Option {
	return module.Option{Parse: func(d *caddyfile.Dispenser) error {
		r := new(module.Retry)
		*dst = r
		off := false
		if d.NextArg() {
			if off = d.Val() == "off"; off {
				r.MaxAttempts = 1
			} else {
				n, err := module.ParseCount(d.Val())
				if err != nil {
					return d.Errf("reading option 'retry': %w; or off", err)
				}
				r.MaxAttempts = n
			}
		}
		read := 0
		options := map[string]module.Option{}
		for name, o := range p.retryOptions(r, below(path, "retry")) {
			options[name] = module.Option{Parse: func(d *caddyfile.Dispenser) error {
				read++
				return o.Parse(d)
			}}
		}
		if err := module.ParseBlock(d, "retry", options); err != nil {
			return err
		}
		if off && read > 0 {
			return d.Err("'retry off' takes no options: there is nothing to wait for")
		}
		return nil
	}}
}

func (p *appParser) retryOptions(r *module.Retry, path []string) map[string]module.Option {
	at := func(name string, parse func(d *caddyfile.Dispenser) error) module.Option {
		return p.at.option(module.Option{Parse: parse}, below(path, name)...)
	}
	return map[string]module.Option{
		"schedule":  at("schedule", func(d *caddyfile.Dispenser) error { return parseSchedule(d, r) }),
		"backoff":   at("backoff", func(d *caddyfile.Dispenser) error { return parseBackoff(d, r) }),
		"jitter":    at("jitter", func(d *caddyfile.Dispenser) error { return parseJitter(d, r) }),
		"max_age":   at("max_age", module.DurationOption(&r.MaxAge).Parse),
		"on_status": once(p.at.texts(&r.OnStatus, below(path, "on_status")...)),
	}
}

// parseSchedule reads:
//
//	schedule <duration...>
func parseSchedule(d *caddyfile.Dispenser, r *module.Retry) error {
	for d.NextArg() {
		wait, err := module.ParseDuration(d.Val())
		if err != nil {
			return d.Errf("reading option 'schedule': %w", err)
		}
		r.Schedule = append(r.Schedule, wait)
	}
	if len(r.Schedule) == 0 {
		return d.Err("option 'schedule' needs a value")
	}
	return nil
}

// parseBackoff reads:
//
//	backoff <initial> <max> [<factor>]
func parseBackoff(d *caddyfile.Dispenser, r *module.Retry) error {
	words := d.RemainingArgs()
	if len(words) != 2 && len(words) != 3 {
		return d.Err("a backoff needs two waits: backoff <initial> <max> [<factor>]")
	}
	b, err := backoff(words)
	if err != nil {
		return d.Errf("reading option 'backoff': %w", err)
	}
	r.Backoff = b
	return nil
}

func backoff(words []string) (*module.Backoff, error) {
	b := new(module.Backoff)
	for i, dst := range []*caddy.Duration{&b.Initial, &b.Max} {
		wait, err := module.ParseDuration(words[i])
		if err != nil {
			return nil, err
		}
		*dst = wait
	}
	if len(words) == 3 {
		factor, err := strconv.ParseFloat(words[2], 64)
		if err != nil {
			return nil, fmt.Errorf("'%s' is not a number", words[2])
		}
		if factor == 0 { // 0 means the default in JSON
			return nil, errors.New("the factor is 0")
		}
		b.Factor = factor
	}
	return b, nil
}

// parseJitter reads:
//
//	jitter <0..1>
func parseJitter(d *caddyfile.Dispenser, r *module.Retry) error {
	var text string
	if !d.AllArgs(&text) {
		return d.Err("option 'jitter' needs one value, a share between 0 and 1")
	}
	jitter, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return d.Errf("reading option 'jitter': '%s' is not a number between 0 and 1", text)
	}
	r.Jitter = &jitter
	return nil
}
