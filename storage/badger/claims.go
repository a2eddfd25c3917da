package badger

import (
	"context"
	"sync"
)

// claims serialise calls that concern the same keys: a call claims all of its
// keys or none, so that calls never wait for each other in a circle.
type claims[K comparable] struct {
	mu   sync.Mutex
	held map[K]chan struct{} // nil until somebody waits
}

func newClaims[K comparable]() *claims[K] {
	return &claims[K]{held: make(map[K]chan struct{})}
}

// claim takes all keys, or none and returns a channel that is closed when
// the key in the way is given back. The keys differ from each other.
func (c *claims[K]) claim(keys []K) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range keys {
		if wait, ok := c.held[k]; ok {
			if wait == nil {
				wait = make(chan struct{})
				c.held[k] = wait
			}
			return wait
		}
	}
	for _, k := range keys {
		c.held[k] = nil
	}
	return nil
}

// wait claims all keys, waiting until none of them is held.
func (c *claims[K]) wait(ctx context.Context, keys []K) error {
	for {
		held := c.claim(keys)
		if held == nil {
			return nil
		}
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *claims[K]) release(keys []K) {
	if len(keys) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.releaseLocked(keys)
}

func (c *claims[K]) releaseLocked(keys []K) {
	for _, k := range keys {
		if wait := c.held[k]; wait != nil {
			close(wait)
		}
		delete(c.held, k)
	}
}
