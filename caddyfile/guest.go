package caddyfile

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/promptreports/caddy-webhooks/module"
)

// guest reads an option whose argument names a module of the namespace, and
// leaves the rest of the line and the block to that module.
func guest(dst *json.RawMessage, namespace, inlineKey string) module.Option {
	return module.Option{Parse: func(d *caddyfile.Dispenser) (err error) {
		option := d.Val()
		if !d.NextArg() {
			return d.Errf("option '%s' needs a name, one of %s", option, names(namespace))
		}
		name := d.Val()
		if _, err := caddy.GetModule(namespace + "." + name); err != nil {
			return d.Errf("unknown name '%s' of option '%s'; there are %s", name, option, names(namespace))
		}
		guest, err := caddyfile.UnmarshalModule(d, namespace+"."+name)
		if err != nil {
			return err
		}
		*dst, err = moduleObject(guest, inlineKey, name)
		return err
	}}
}

// signers reads the lines which name signature schemes.
func signers(dst *[]json.RawMessage) module.Option {
	return module.Option{Repeats: true, Parse: func(d *caddyfile.Dispenser) error {
		var raw json.RawMessage
		if err := guest(&raw, "webhooks.signers", "scheme").Parse(d); err != nil {
			return err
		}
		*dst = append(*dst, raw)
		return nil
	}}
}

// transport reads:
//
//	transport http { … }
func transport(dst *json.RawMessage) module.Option {
	return module.Option{Parse: func(d *caddyfile.Dispenser) error {
		if !d.NextArg() || d.Val() != "http" {
			return d.Err("the transport must be http: transport http { … }")
		}
		if d.CountRemainingArgs() > 0 { // the module would ignore them, and its block
			d.NextArg()
			return d.Errf("surplus argument '%s' of transport http", d.Val())
		}
		guest, err := caddyfile.UnmarshalModule(d, "http.reverse_proxy.transport.http")
		if err != nil {
			return err
		}
		*dst, err = moduleObject(guest, "protocol", "http")
		return err
	}}
}

func moduleObject(guest any, inlineKey, name string) (json.RawMessage, error) {
	var warnings []caddyconfig.Warning
	raw := caddyconfig.JSONModuleObject(guest, inlineKey, name, &warnings)
	if len(warnings) > 0 {
		return nil, fmt.Errorf("encoding module %s: %s", name, warnings[0].Message)
	}
	return raw, nil
}

// names lists the modules of a namespace.
func names(namespace string) string {
	var names []string
	for _, m := range caddy.GetModules(namespace) {
		names = append(names, m.ID.Name())
	}
	return strings.Join(names, ", ")
}
