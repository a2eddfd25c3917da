package module

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/storage"
	"github.com/promptreports/caddy-webhooks/storage/badger"
)

func init() {
	caddy.RegisterModule(new(BadgerOutbox))
}

// minMaxSize is the least max_size. An empty outbox has files of about 55 MiB,
// made beforehand, and a smaller bound would refuse each event for ever.
const minMaxSize = 128 << 20

// BadgerOutbox keeps the outbox in a local directory, which belongs to one
// process at a time.
type BadgerOutbox struct {
	// The directory, which is created when Caddy starts. It may hold
	// placeholders. Default: `webhooks` in Caddy's data directory.
	Dir string `json:"dir,omitempty"`

	// How long finished deliveries and their events are kept. Default: `30d`.
	Retention caddy.Duration `json:"retention,omitempty"`

	// The size of the outbox in bytes above which new events are refused with
	// 507. It must be at least 128 MiB. Default: 10 GiB.
	MaxSize int64 `json:"max_size,omitempty"`

	// The space in bytes that the file system must have left, below which new
	// events are refused with 507. Default: 256 MiB.
	MinFree int64 `json:"min_free,omitempty"`

	// How many deliveries may be pending, above which new events are refused
	// with 503. Default: 10000000.
	MaxPending int `json:"max_pending,omitempty"`

	// Go on, at the next start of Caddy, without what is missing or damaged in
	// the outbox. It does so once: later starts refuse a new loss until the
	// option was taken out and set again. Default: an outbox that lost
	// something can be read, but takes and sends nothing.
	AcceptDataLoss bool `json:"accept_data_loss,omitempty"`

	location string
}

// CaddyModule returns the Caddy module information.
func (*BadgerOutbox) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "webhooks.outbox.badger",
		New: func() caddy.Module { return new(BadgerOutbox) },
	}
}

// Provision finds the directory without touching it.
func (b *BadgerOutbox) Provision(caddy.Context) error {
	if b.Retention < 0 || b.MaxSize < 0 || b.MinFree < 0 || b.MaxPending < 0 {
		return errors.New("retention, max_size, min_free and max_pending must not be negative")
	}
	if b.MaxSize > 0 {
		if err := checkMaxSize(b.MaxSize); err != nil {
			return err
		}
	}
	dir := filepath.Join(caddy.AppDataDir(), "webhooks")
	if b.Dir != "" {
		var err error
		if dir, err = resolve(newResolver(), b.Dir); err != nil {
			return fmt.Errorf("dir: %w", err)
		}
	}
	location, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("finding the directory of the outbox: %w", err)
	}
	b.location = location
	return nil
}

// Location implements Outbox.
func (b *BadgerOutbox) Location() string { return b.location }

// Fingerprint implements Outbox.
func (b *BadgerOutbox) Fingerprint() string { return "badger" }

// Open implements Outbox.
func (b *BadgerOutbox) Open(logger *zap.Logger) (storage.Outbox, error) {
	return badger.Open(b.location, b.options(logger))
}

// Apply implements Outbox.
func (b *BadgerOutbox) Apply(open storage.Outbox) error {
	if o, ok := open.(*badger.Outbox); ok {
		return o.Configure(b.options(nil))
	}
	return fmt.Errorf("outbox is a %T, not one of badger", open)
}

func (b *BadgerOutbox) options(logger *zap.Logger) badger.Options {
	return badger.Options{
		Retention:  time.Duration(b.Retention),
		MaxSize:    b.MaxSize,
		MinFree:    b.MinFree,
		MaxPending: b.MaxPending,
		Logger:     logger,

		AcceptDataLoss: b.AcceptDataLoss,
	}
}

// UnmarshalCaddyfile reads:
//
//	outbox badger [<dir>] {
//		retention   <duration>
//		max_size    <size>
//		min_free    <size>
//		max_pending <count>
//		accept_data_loss
//	}
func (b *BadgerOutbox) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the engine's name
	if d.NextArg() {
		if b.Dir = d.Val(); b.Dir == "" {
			return d.Err("the directory of the outbox is empty")
		}
	}
	return ParseBlock(d, "outbox badger", map[string]Option{
		"retention":   DurationOption(&b.Retention),
		"max_size":    {Parse: b.parseMaxSize},
		"min_free":    SizeOption(&b.MinFree),
		"max_pending": CountOption(&b.MaxPending),

		"accept_data_loss": FlagOption(&b.AcceptDataLoss),
	})
}

func (b *BadgerOutbox) parseMaxSize(d *caddyfile.Dispenser) error {
	if err := SizeOption(&b.MaxSize).Parse(d); err != nil {
		return err
	}
	if err := checkMaxSize(b.MaxSize); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func checkMaxSize(size int64) error {
	if size < minMaxSize {
		return fmt.Errorf("max_size of %d bytes holds no event: it must be at least 128MiB", size)
	}
	return nil
}

// Interface guards
var (
	_ Outbox                = (*BadgerOutbox)(nil)
	_ caddy.Provisioner     = (*BadgerOutbox)(nil)
	_ caddyfile.Unmarshaler = (*BadgerOutbox)(nil)
)
