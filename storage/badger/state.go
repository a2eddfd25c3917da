package badger

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/promptreports/caddy-webhooks/storage"
)

// formatVersion is that of the directory as a whole. A newer one is refused.
const formatVersion = 4

// state is what an outbox knows about itself apart from its segments, so
// that what they lose is noticed.
type state struct {
	Format int `json:"format"`

	// HighWater is a key up to which everything is synced.
	HighWater hexKey         `json:"high_water"`
	Segments  []segmentState `json:"segments"`

	// Endpoints is how many changes of the endpoints' states there were, at
	// least: their file knows of as many, or of more.
	Endpoints int `json:"endpoints,omitempty"`

	// Clean says that the outbox was closed, and Boot which start of the
	// system wrote this.
	Clean bool   `json:"clean,omitempty"`
	Boot  string `json:"boot,omitempty"`
}

// segmentState is what is known about one segment. First, Last and Events
// are exact when it is sealed, and lower bounds before.
type segmentState struct {
	N      uint32 `json:"n"`
	First  hexKey `json:"first"`
	Last   hexKey `json:"last"`
	Events int    `json:"events"`
	Counts []int  `json:"counts,omitempty"`
	// Short is the number of deliveries whose loss was accepted.
	Short     int   `json:"short,omitempty"`
	CreatedAt int64 `json:"created_at"`
	SealedAt  int64 `json:"sealed_at,omitempty"`
	EndedAt   int64 `json:"ended_at,omitempty"`
	Sealed    bool  `json:"sealed,omitempty"`
	// Finished says that nothing in it is pending, so that it is not read
	// when the outbox opens.
	Finished bool `json:"finished,omitempty"`
	// Journal is the place in the commit log up to which everything was
	// synced, and zero once the segment is a database.
	Journal int64 `json:"journal,omitempty"`
	// Codeless says that its filter does not know the codes of deliveries.
	Codeless bool `json:"codeless,omitempty"`
	// Thinned says that finished history was taken out of it.
	Thinned bool `json:"thinned,omitempty"`
	// Tables are some that the manifest of the database must name.
	Tables []uint64 `json:"tables,omitempty"`
}

// bySegment returns what is known about each segment, by its number.
func (st state) bySegment() map[uint32]segmentState {
	known := make(map[uint32]segmentState, len(st.Segments))
	for _, s := range st.Segments {
		known[s.N] = s
	}
	return known
}

// hexKey is an event key in JSON.
type hexKey storage.EventKey

// MarshalText implements encoding.TextMarshaler.
func (k hexKey) MarshalText() ([]byte, error) {
	return hex.AppendEncode(nil, k[:]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *hexKey) UnmarshalText(b []byte) error {
	if n, err := hex.Decode(k[:], b); err != nil || n != len(k) || len(b) != 2*len(k) {
		return errors.New("event key is not 20 hexadecimal digits")
	}
	return nil
}

// stateFile writes the state, when it changed.
type stateFile struct {
	mu   sync.Mutex
	last []byte
	// high is the greatest key that a state ever named; it stays when the
	// events below it go.
	high storage.EventKey
}

func (o *Outbox) statePath() string { return filepath.Join(o.dir, "STATE") }

// loadState reads the state; found says whether there is one.
func (o *Outbox) loadState() (st state, found bool, err error) {
	b, err := os.ReadFile(o.statePath())
	if errors.Is(err, os.ErrNotExist) {
		return st, false, nil
	}
	if err != nil {
		return st, false, fmt.Errorf("reading the outbox's state: %w", err)
	}
	b, whole := cutChecksum(b)
	if err := json.Unmarshal(b, &st); err != nil {
		return st, true, fmt.Errorf("reading %s: %w: %w", o.statePath(), errDamaged, err)
	}
	if st.Format < formatVersion {
		return st, true, fmt.Errorf("outbox has format %d, of a development version, and this program knows format %d", st.Format, formatVersion)
	}
	if st.Format > formatVersion {
		return st, true, fmt.Errorf("outbox has format %d and this program knows formats up to %d: use a newer one", st.Format, formatVersion)
	}
	if !whole {
		return st, true, fmt.Errorf("reading %s: %w", o.statePath(), errDamaged)
	}
	return st, true, nil
}

// saveState makes the state as it is durable.
func (o *Outbox) saveState() error {
	if o.closing.Load() {
		return nil
	}
	return o.writeState(false)
}

// writeState makes the state durable, and clean when the outbox is closed.
func (o *Outbox) writeState(clean bool) error {
	o.state.mu.Lock()
	defer o.state.mu.Unlock()
	st := state{Format: formatVersion, Endpoints: o.states.number(), Clean: clean, Boot: bootID()}
	for _, s := range *o.segments.Load() {
		s.mu.Lock()
		if !s.removed {
			st.Segments = append(st.Segments, segmentState{
				N: s.n, First: hexKey(s.first), Last: hexKey(s.last), Events: s.events, Counts: slices.Clone(s.counts[:]), Short: s.short,
				CreatedAt: s.createdAt, SealedAt: s.sealedAt, EndedAt: s.endedAt, Sealed: s.sealed,
				Journal: s.journalEnd, Codeless: s.codeless, Thinned: s.thinned, Tables: s.vet.tables,
				Finished: s.sealed && s.counts[statusPending] == 0 && s.stored,
			})
		}
		if compareKeys(s.last, o.state.high) > 0 {
			o.state.high = s.last
		}
		s.mu.Unlock()
	}
	st.HighWater = hexKey(o.state.high)
	b, err := json.MarshalIndent(&st, "", "\t")
	if err != nil {
		return fmt.Errorf("writing the outbox's state: %w", err)
	}
	if string(b) == string(o.state.last) {
		return nil
	}
	if err := o.replaceFile(o.statePath(), withChecksum(b)); err != nil {
		o.state.last = nil // either may be on the disk
		return err
	}
	o.state.last = b
	return nil
}
