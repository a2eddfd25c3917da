package signature

import (
	"crypto/hmac"
	"hash"
	"strconv"
	"sync"
)

// keyed makes MACs with one key. Setting up an HMAC costs as much as a short
// message, so keyed states are kept and reset.
type keyed struct{ pool sync.Pool } // of *state

// state is a MAC under way, with room for its text.
type state struct {
	mac hash.Hash

	// buf collects short parts of the content, then the header's value.
	buf []byte

	// sum is the MAC, as bytes.
	sum []byte
}

func newKeyed(newHash func() hash.Hash, key []byte) *keyed {
	k := &keyed{}
	k.pool.New = func() any {
		return &state{mac: hmac.New(newHash, key), buf: make([]byte, 0, 256), sum: make([]byte, 0, 64)}
	}
	return k
}

// get returns a state that is ready for a message; put takes it back.
func (k *keyed) get() *state {
	s := k.pool.Get().(*state)
	s.mac.Reset()
	s.buf = s.buf[:0]
	return s
}

func (k *keyed) put(s *state) { k.pool.Put(s) }

// write adds what buf collected, and then more, to the message.
func (s *state) write(more []byte) {
	if len(s.buf) > 0 {
		_, _ = s.mac.Write(s.buf)
		s.buf = s.buf[:0]
	}
	if len(more) > 0 {
		_, _ = s.mac.Write(more)
	}
}

// finish ends the message and keeps the MAC in sum.
func (s *state) finish() {
	s.write(nil)
	s.sum = s.mac.Sum(s.sum[:0])
}

// addTime collects the message's time in whole seconds since 1970.
func (s *state) addTime(m *Message) {
	s.buf = strconv.AppendInt(s.buf, m.Timestamp.Unix(), 10)
}
