package badger

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"github.com/promptreports/caddy-webhooks/storage"
)

// heldLog is an outbox whose first sync is held up.
type heldLog struct {
	*Outbox
	entered chan struct{}
	leave   func()
	syncs   int // of the writer, to be read when it is idle
	callers sync.WaitGroup
	errs    chan error
}

func holdSync(t *testing.T, callers int) *heldLog {
	t.Helper()
	h := &heldLog{
		Outbox:  open(t, filepath.Join(t.TempDir(), "outbox"), Options{limits: quiet()}),
		entered: make(chan struct{}), errs: make(chan error, callers),
	}
	held, leave := context.WithCancel(context.Background())
	h.leave = leave
	t.Cleanup(leave) // before the outbox is closed
	log := h.active.Load().journal.log
	sync := log.sync
	log.sync = func() error {
		if h.syncs++; h.syncs == 1 {
			close(h.entered)
			<-held.Done()
		}
		return sync()
	}
	return h
}

func (h *heldLog) accept(ctx context.Context, id string) {
	h.callers.Go(func() {
		_, err := h.Accept(ctx, []storage.NewEvent{{ID: id, Type: "t", Endpoints: []string{"x"}}})
		h.errs <- err
	})
}

func (h *heldLog) waiting() int {
	q := h.active.Load().w.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.ops)
}

// TestWhatWaitsSharesASync sees that nothing is acknowledged before its sync,
// and that all that came during one share the next.
func TestWhatWaitsSharesASync(t *testing.T) {
	t.Parallel()
	const callers = 50
	h := holdSync(t, callers+1)
	h.accept(t.Context(), "first")
	<-h.entered
	for i := range callers {
		h.accept(t.Context(), counted("event", i))
	}
	await(t, "the others wait", func() bool { return h.waiting() == callers })
	if n := len(h.errs); n != 0 {
		t.Errorf("before the sync: got %d answers, want none", n)
	}
	h.leave()
	h.callers.Wait()
	for range callers + 1 {
		if err := <-h.errs; err != nil {
			t.Errorf("accepting: got %v", err)
		}
	}
	if h.syncs != 2 {
		t.Errorf("got %d syncs for %d events, want 2", h.syncs, callers+1)
	}
}

// TestFullQueueHoldsCallersBack fills the queue of the commit group: whoever
// comes then waits for room, and may go away.
func TestFullQueueHoldsCallersBack(t *testing.T) {
	t.Parallel()
	h := holdSync(t, maxQueuedOps+2)
	h.accept(t.Context(), "first")
	<-h.entered
	for i := range maxQueuedOps {
		h.accept(t.Context(), counted("event", i))
	}
	await(t, "the queue is full", func() bool { return h.waiting() == maxQueuedOps })
	ctx, cancel := context.WithCancel(t.Context())
	h.accept(ctx, "one more")
	q := h.active.Load().w.queue
	await(t, "one more waits for room", func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.room != nil
	})
	if n := h.waiting(); n != maxQueuedOps {
		t.Errorf("in the queue: got %d, want %d", n, maxQueuedOps)
	}
	cancel()
	if err := <-h.errs; !errors.Is(err, context.Canceled) {
		t.Errorf("one more: got %v, want context.Canceled", err)
	}
	h.leave()
	h.callers.Wait()
	for range maxQueuedOps + 1 {
		if err := <-h.errs; err != nil {
			t.Fatalf("accepting: got %v", err)
		}
	}
	if _, _, err := h.EventByID(t.Context(), "one more"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("one more: got %v, want that it was not stored", err)
	}
}

// TestMaxPendingCountsWhatWaits sees that events which are not committed yet
// have their place among the pending ones, and give it back if they come to
// nothing.
func TestMaxPendingCountsWhatWaits(t *testing.T) {
	t.Parallel()
	const most, callers = 3, 10
	h := holdSync(t, callers+1)
	limit := func(n int) {
		b := *h.bounds.Load()
		b.maxPending = n
		h.bounds.Store(&b)
	}
	limit(most)
	h.accept(t.Context(), "first")
	<-h.entered
	ctx, cancel := context.WithCancel(t.Context())
	h.accept(ctx, "gone")
	await(t, "one waits", func() bool { return h.waiting() == 1 })
	cancel()
	if err := <-h.errs; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the caller went away", err)
	}
	if got := h.admitted.Load(); got != 2 {
		t.Errorf("got %d places kept, want 2: what its caller left may still be committed", got)
	}
	for i := range callers {
		h.accept(t.Context(), counted("event", i))
	}
	await(t, "the others wait or are refused", func() bool { return h.waiting()+len(h.errs) == callers+1 })
	h.leave()
	h.callers.Wait()
	refused := 0
	for range callers + 1 {
		switch err := <-h.errs; {
		case errors.Is(err, storage.ErrBacklogFull):
			refused++
		case err != nil:
			t.Errorf("accepting: got %v", err)
		}
	}
	if got := h.pending.Load(); got > most || refused != callers+2-int(got) {
		t.Errorf("got %d pending, and %d refused of %d, want %d pending at most", got, refused, callers+2, most)
	}
	if got := h.admitted.Load(); got != 0 {
		t.Errorf("when all is committed: got %d places kept, want none", got)
	}
	limit(most + 1)
	h.active.Load().w.stop()
	if _, err := h.Accept(t.Context(), []storage.NewEvent{{ID: "refused", Endpoints: []string{"x"}}}); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("got %v, want that nothing takes it", err)
	}
	if got := h.admitted.Load(); got != 0 {
		t.Errorf("when it came to nothing: got %d places kept, want none", got)
	}
}
