package badger

import (
	"testing"
	"testing/synctest"
	"time"
)

// taker takes groups from a queue, as a writer does.
type taker struct {
	*testing.T
	q     *queue
	taken chan int
}

func (k *taker) push(ops ...*op) {
	k.Helper()
	for _, p := range ops {
		if err := k.q.push(k.Context(), p); err != nil {
			k.Error(err)
		}
	}
	synctest.Wait()
}

func (k *taker) take() {
	go func() {
		ops, _ := k.q.take()
		k.taken <- len(ops)
	}()
	synctest.Wait()
}

// want checks how long the group is waited for from now on, and its size.
func (k *taker) want(size int, wait time.Duration) {
	k.Helper()
	start := time.Now()
	if got := <-k.taken; got != size || time.Since(start) != wait {
		k.Errorf("group: got %d after %v, want %d after %v", got, time.Since(start), size, wait)
	}
}

// Settlements wait for an acceptance to share its sync with, but only while
// acceptances keep coming, and never for long.
func TestSettlementsShareSyncs(t *testing.T) {
	t.Parallel()
	accept := func() *op { return &op{events: make([]acceptance, 1)} }
	settle := func() *op { return new(op) }
	for name, test := range map[string]struct {
		quiet bool // no acceptance came before
		do    func(k *taker)
	}{
		"an acceptance goes at once": {do: func(k *taker) {
			k.push(accept())
			k.want(1, 0)
		}},
		"settlements alone go at once": {quiet: true, do: func(k *taker) {
			k.push(settle())
			k.want(1, 0)
		}},
		"settlements wait for the next acceptance": {do: func(k *taker) {
			k.push(settle(), settle())
			time.Sleep(patience / 2)
			k.push(accept())
			k.want(3, 0)
		}},
		"settlements wait no longer than patience": {do: func(k *taker) {
			k.push(settle())
			k.want(1, patience)
		}},
		"many settlements do not wait": {do: func(k *taker) {
			for range mostPatient {
				k.push(settle())
			}
			k.want(mostPatient, 0)
		}},
		"closing ends the wait": {do: func(k *taker) {
			k.push(settle())
			k.q.close()
			k.want(1, 0)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := &taker{T: t, q: newQueue(), taken: make(chan int, 1)}
				if !test.quiet {
					k.push(accept())
					k.take()
					k.want(1, 0)
				}
				k.take()
				test.do(k)
			})
		})
	}
}
