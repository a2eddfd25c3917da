package module

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

// Option is one option of a Caddyfile block.
type Option struct {
	// Parse reads the option. The dispenser stands on its name. Parse consumes
	// the arguments and the block of the option, and refuses surplus ones.
	Parse func(d *caddyfile.Dispenser) error

	// Repeats says that the option may be given more than once.
	Repeats bool
}

// ParseBlock reads a Caddyfile block, strictly: an unknown option, one that is
// given twice, and a block where none belongs are errors with file and line.
// The dispenser stands on the last token before the block; no block at all is
// an empty one. What names the block in errors, for example "endpoint". Guest
// modules may use it in their UnmarshalCaddyfile.
func ParseBlock(d *caddyfile.Dispenser, what string, options map[string]Option) error {
	if d.NextArg() {
		return d.Errf("surplus argument '%s' of %s", d.Val(), what)
	}
	seen := make(map[string]bool, len(options))
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		o, ok := options[name]
		switch {
		case name == "{":
			return d.Err("unexpected block: the option before it takes none")
		case len(options) == 0:
			return d.Errf("unknown option '%s' of %s, which has none", name, what)
		case !ok:
			known := slices.Sorted(maps.Keys(options))
			return d.Errf("unknown option '%s' of %s; it knows %s", name, what, strings.Join(known, ", "))
		case seen[name] && !o.Repeats:
			return d.Errf("option '%s' of %s is given twice", name, what)
		}
		seen[name] = true
		if err := o.Parse(d); err != nil {
			return err
		}
	}
	return nil
}

// TextOption is an option with one argument, which must not be empty.
func TextOption(dst *string) Option {
	return Option{Parse: func(d *caddyfile.Dispenser) (err error) {
		*dst, err = parseArg(d, func(s string) (string, error) {
			if s == "" {
				return "", fmt.Errorf("the value is empty")
			}
			return s, nil
		})
		return err
	}}
}

// TextsOption is an option with one or more arguments, which must not be empty.
// It may be given more than once.
func TextsOption(dst *[]string) Option {
	return Option{Repeats: true, Parse: func(d *caddyfile.Dispenser) error {
		name := d.Val()
		if d.CountRemainingArgs() == 0 {
			return d.Errf("option '%s' needs a value", name)
		}
		for d.NextArg() {
			if d.Val() == "" {
				return d.Errf("reading option '%s': the value is empty", name)
			}
			*dst = append(*dst, d.Val())
		}
		return nil
	}}
}

// FlagOption is an option without arguments.
func FlagOption(dst *bool) Option {
	return Option{Parse: func(d *caddyfile.Dispenser) error {
		name := d.Val()
		if d.NextArg() {
			return d.Errf("surplus argument '%s': option '%s' takes none", d.Val(), name)
		}
		*dst = true
		return nil
	}}
}

// DurationOption is an option with one positive duration, for example "30s",
// "1h30m" or "4d".
func DurationOption(dst *caddy.Duration) Option {
	return Option{Parse: func(d *caddyfile.Dispenser) (err error) {
		*dst, err = parseArg(d, ParseDuration)
		return err
	}}
}

// SizeOption is an option with one positive size in bytes, for example
// "1048576", "1MiB" or "10GB".
func SizeOption(dst *int64) Option {
	return Option{Parse: func(d *caddyfile.Dispenser) (err error) {
		*dst, err = parseArg(d, parseSize)
		return err
	}}
}

// CountOption is an option with one whole number of at least 1.
func CountOption(dst *int) Option {
	return Option{Parse: func(d *caddyfile.Dispenser) (err error) {
		*dst, err = parseArg(d, ParseCount)
		return err
	}}
}

// ParseDuration reads a positive duration, in which a day ("d") has 24 hours.
func ParseDuration(s string) (caddy.Duration, error) {
	v, err := caddy.ParseDuration(s)
	switch {
	case err != nil:
		return 0, fmt.Errorf("'%s' is not a duration such as 30s, 5m or 4d", s)
	case v <= 0:
		return 0, fmt.Errorf("duration '%s' is not positive", s)
	}
	return caddy.Duration(v), nil
}

// ParseCount reads a whole number of at least 1.
func ParseCount(s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("'%s' is not a whole number from 1 to %d", s, math.MaxInt32)
	}
	return int(n), nil
}

func parseSize(s string) (int64, error) {
	n, err := humanize.ParseBytes(s)
	if err != nil || n > math.MaxInt64 {
		return 0, fmt.Errorf("'%s' is not a size such as 512KiB, 1MiB or 10GB", s)
	}
	if n == 0 {
		return 0, fmt.Errorf("size '%s' is not positive", s)
	}
	return int64(n), nil
}

// parseArg reads the only argument of the option the dispenser stands on.
func parseArg[T any](d *caddyfile.Dispenser, parse func(string) (T, error)) (T, error) {
	name := d.Val()
	var zero T
	if !d.NextArg() {
		return zero, d.Errf("option '%s' needs a value", name)
	}
	v, err := parse(d.Val())
	if err != nil {
		return zero, d.Errf("reading option '%s': %w", name, err)
	}
	if d.NextArg() {
		return zero, d.Errf("surplus argument '%s': option '%s' takes one", d.Val(), name)
	}
	return v, nil
}
