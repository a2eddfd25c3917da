package caddyfile

import (
	"errors"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/promptreports/caddy-webhooks/module"
)

// positions remember where each part of the configuration was written, by its
// path through the JSON, so that a mistake which shows only when the whole
// block is known still gets its file and line.
type positions map[string]caddyfile.Token

// mark remembers the current token.
func (p positions) mark(d *caddyfile.Dispenser, path ...string) {
	p[key(path)] = d.Token()
}

// locate adds file and line to an error of App.Check.
func (p positions) locate(err error) error {
	var mistake *module.ConfigError
	if !errors.As(err, &mistake) {
		return err
	}
	token := p.find(mistake.Path)
	if token.Line == 0 {
		return err
	}
	d := caddyfile.NewDispenser([]caddyfile.Token{token})
	d.Next()
	return d.WrapErr(err)
}

// find returns the token that stands for the longest part of a path, or none.
func (p positions) find(path []string) caddyfile.Token {
	for n := len(path); n >= 0; n-- {
		if token, ok := p[key(path[:n])]; ok {
			return token
		}
	}
	return caddyfile.Token{}
}

// option marks where an option is given.
func (p positions) option(o module.Option, path ...string) module.Option {
	return module.Option{Repeats: o.Repeats, Parse: func(d *caddyfile.Dispenser) error {
		p.mark(d, path...)
		return o.Parse(d)
	}}
}

// texts is an option with several values, each of which is marked.
func (p positions) texts(dst *[]string, path ...string) module.Option {
	o := module.TextsOption(dst)
	return module.Option{Repeats: true, Parse: func(d *caddyfile.Dispenser) error {
		token, before := d.Token(), len(*dst)
		p[key(path)] = token
		err := o.Parse(d)
		for i := before; i < len(*dst); i++ {
			p[key(path)+"\x00"+strconv.Itoa(i)] = token
		}
		return err
	}}
}

// once makes an option one that must not be repeated.
func once(o module.Option) module.Option {
	o.Repeats = false
	return o
}

func key(path []string) string { return strings.Join(path, "\x00") }
