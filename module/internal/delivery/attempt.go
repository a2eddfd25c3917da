package delivery

import (
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// Message is what one attempt sends.
type Message struct {
	Endpoint                *Endpoint
	HeaderPrefix, UserAgent string
	Delivery                storage.DeliveryID
	EventID, Type           string
	Body                    []byte
	TraceParent, TraceState string

	// Number counts the delivery's attempts from 1.
	Number int
}

// Outcome is what an attempt came to.
type Outcome struct {
	// Attempt is the record for the history, without NextAttemptAt.
	Attempt storage.Attempt

	// RetryAfter is how long the receiver asked to be left alone by a 429 or
	// 503, at most an hour; zero where it did not ask.
	RetryAfter time.Duration

	// Gone says that the receiver answered 410.
	Gone bool
}
