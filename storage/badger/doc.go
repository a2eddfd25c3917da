// Package badger is the embedded outbox: segments, each a small Badger
// database, and one writer a segment that syncs what all callers wait for at
// once.
//
// Everything of an event lives in the segment that was active when it was
// accepted, so that one commit never spans two databases, and space is given
// back by removing a directory instead of deleting keys. Nothing is ever
// deleted inside a segment, no compaction runs, and listing never meets
// tombstones.
//
// Delivery ids sort in the order of acceptance, and the writer assigns them
// when it commits: an id becomes visible only after every smaller one.
package badger
