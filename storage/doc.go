// Package storage defines the outbox: the durable store of events, their
// deliveries and the attempts made for them.
//
// The package speaks of accepting, settling, listing and of what is due; it
// knows neither how an engine keeps its records nor how a delivery is sent.
// Engines live in packages below this one (storage/badger), and every engine
// passes the conformance suite in storage/storagetest.
package storage
