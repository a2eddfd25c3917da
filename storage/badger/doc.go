// Package badger is the embedded outbox: segments, each a small Badger
// database, and one writer that syncs what all callers wait for at once.
package badger
