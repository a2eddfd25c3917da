// Package badger is the embedded outbox: a row of segments, of which the last
// takes new events.
//
// Everything of an event lives in the segment that was active when it was
// accepted, so that one commit never spans two segments, and space is given
// back by removing files instead of deleting keys.
//
// A segment has two forms. First it is a journal: a commit log, to which its
// one writer appends whatever callers wait for at the moment, with one write
// and one sync, and an index of that in memory. Once it takes no more events
// and nothing in it is pending, or not for the time being, it is packed: its
// records become the tables of a Badger database, in order and compressed, and
// the log goes. Settlements of what was pending then are committed to the
// database. Nothing is ever deleted inside a segment, no compaction runs, and
// listing never meets tombstones.
//
// Packing at once is what makes this fast: a database that takes every record
// as it comes, in transactions through its own mapped log and memtables, costs
// several times the processor time, a slower sync, and memory for memtables
// that hold the largest commit.
//
// Delivery ids sort in the order of acceptance, and the writer assigns them
// when it commits: an id becomes visible only after every smaller one.
package badger
