// Package signature makes the signature headers of attempts.
package signature

import "time"

// Message is what a signer signs: one attempt of one event.
type Message struct {
	// EventID is the public id of the event.
	EventID string

	// Timestamp is the time of the attempt.
	Timestamp time.Time

	// Body is the exact body of the request. Signers must not change it.
	Body []byte
}

// Signer adds headers that let a receiver check who sent a message. It holds
// its own resolved keys, and is safe for concurrent use. Sign calls set for
// each header; name is in canonical form. It never fails: whatever can be
// wrong with a key is found when the signer is made.
type Signer interface {
	Sign(msg Message, set func(name, value string))

	// Headers names the headers that Sign sets, in canonical form, so that a
	// configuration with two signers for one header can be refused.
	Headers() []string
}
