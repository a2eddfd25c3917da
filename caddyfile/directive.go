package caddyfile

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/promptreports/caddy-webhooks/module"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("webhooks", parseHandler)
	httpcaddyfile.RegisterDirectiveOrder("webhooks", httpcaddyfile.Before, "respond")
}

// parseHandler reads the directive webhooks.
func parseHandler(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // the directive's name
	handler := new(module.Handler)
	err := module.ParseBlock(h.Dispenser, "webhooks", map[string]module.Option{
		"token":          {Repeats: true, Parse: func(d *caddyfile.Dispenser) error { return parseTokens(d, handler) }},
		"origins":        {Repeats: true, Parse: func(d *caddyfile.Dispenser) error { return parseOrigins(d, handler) }},
		"max_event_size": module.SizeOption(&handler.MaxEventSize),
		"max_batch_size": module.SizeOption(&handler.MaxBatchSize),
		"read_timeout":   module.DurationOption(&handler.ReadTimeout),
	})
	if err != nil {
		return nil, err
	}
	return handler, nil
}

func parseTokens(d *caddyfile.Dispenser, handler *module.Handler) error {
	before := len(handler.Tokens)
	if err := module.TextsOption(&handler.Tokens).Parse(d); err != nil {
		return err
	}
	for _, token := range handler.Tokens[before:] {
		if err := module.CheckSecret(token); err != nil {
			return d.Errf("reading option 'token': %w", err)
		}
		if module.IsLiteral(token) {
			warnLiteral(d.Token())
		}
	}
	return nil
}

func parseOrigins(d *caddyfile.Dispenser, handler *module.Handler) error {
	if err := module.TextsOption(&handler.Origins).Parse(d); err != nil {
		return err
	}
	for _, origin := range handler.Origins {
		if err := module.CheckOrigin(origin); err != nil {
			return d.Errf("reading option 'origins': %w", err)
		}
	}
	return nil
}
