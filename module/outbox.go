package module

import (
	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/storage"
)

// Outbox is what a guest module of the namespace `webhooks.outbox` implements:
// the configuration of an engine. Its Provision must not touch the store; only
// Open does.
type Outbox interface {
	// Location says where the store is: for an engine on disk, its absolute
	// and cleaned directory. Within a process, all configurations with the
	// same location share one open store. It must not hold a secret.
	Location() string

	// Fingerprint tells apart what cannot change while the store is open. A
	// reload that keeps the location but changes the fingerprint is refused. It
	// must not hold a secret.
	Fingerprint() string

	// Open opens the store. The store outlives the configuration that opened
	// it, so it must not keep a context, nor a logger but the one given.
	Open(logger *zap.Logger) (storage.Outbox, error)

	// Apply makes an open store, which Open of an equal location and
	// fingerprint gave, follow this configuration in everything that can
	// change while it runs.
	Apply(open storage.Outbox) error
}

// defaultOutbox is the configuration of the outbox where none is given.
const defaultOutbox = `{"engine":"badger"}`
