package badger

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// corruptWriter makes a finished segment that is packed, one that is packed
// with something pending and whose write-ahead log is in use, and a journal
// that is sealed; then it accepts and settles until it is killed. It prints
// the ids of the events, and whether they were settled.
func corruptWriter(dir string) int {
	o, err := Open(dir, Options{limits: corruptLimits})
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	w := &formsWriter{o: o, out: bufio.NewWriter(os.Stdout)}
	for n := uint32(1); n <= 3; n++ {
		w.do(func() error { return w.phase(n) })
	}
	w.do(w.settleInDatabase)
	w.do(func() error {
		return o.SetEndpointState(context.Background(), "x", storage.EndpointState{Paused: true, Reason: "test"})
	})
	w.say("all forms")
	for c := range 4 {
		go func() {
			random := rand.New(rand.NewPCG(uint64(c), 1))
			for i := 0; ; i++ {
				w.event(random, fmt.Sprintf("%d-%d", c, i), i%10 != 7, 0)
				w.later(0)
			}
		}()
	}
	select {}
}

type formsWriter struct {
	o       *Outbox
	out     *bufio.Writer
	mu      sync.Mutex
	waiting []waitingDelivery
}

type waitingDelivery struct {
	event string
	id    storage.DeliveryID
}

func (w *formsWriter) say(a ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintln(w.out, a...)
	_ = w.out.Flush()
}

func (w *formsWriter) do(f func() error) {
	if err := f(); err != nil {
		w.say("error", err)
		os.Exit(1)
	}
}

// event accepts an event and settles it, now or later.
func (w *formsWriter) event(random *rand.Rand, id string, settle bool, excerpt int) {
	body := make([]byte, 400)
	for j := range body {
		body[j] = byte(random.Uint32())
	}
	a, err := w.o.Accept(context.Background(), []storage.NewEvent{{ID: id, Type: "t", Body: append([]byte(id+" "), body...), Endpoints: []string{"x"}}})
	if err != nil {
		w.say("error", err)
		return
	}
	d := waitingDelivery{id, a[0].Key.Delivery(0)}
	if settle {
		w.settle(d, excerpt)
		return
	}
	w.say(id, false)
	if random.IntN(2) == 0 {
		return
	}
	w.mu.Lock()
	w.waiting = append(w.waiting, d)
	w.mu.Unlock()
}

func (w *formsWriter) settle(d waitingDelivery, excerpt int) {
	body := make([]byte, excerpt)
	for i := range body {
		body[i] = byte(rand.Uint32())
	}
	err := w.o.Settle(context.Background(), []storage.Settlement{{
		Delivery: d.id, Attempt: &storage.Attempt{Number: 1, Body: body}, Status: storage.StatusDelivered,
	}})
	if err != nil {
		w.say("error", err)
		return
	}
	w.say(d.event, true)
}

// later settles one of those that wait, if there are enough.
func (w *formsWriter) later(excerpt int) {
	w.mu.Lock()
	n := len(w.waiting)
	if n < 20 {
		w.mu.Unlock()
		return
	}
	d := w.waiting[0]
	w.waiting = w.waiting[1:]
	w.mu.Unlock()
	w.settle(d, excerpt)
}

// phase fills segment n: the first one with what is settled, others with some
// that will be settled later, and some that never will.
func (w *formsWriter) phase(n uint32) error {
	random := rand.New(rand.NewPCG(uint64(n), 2))
	for i := range 200 {
		w.event(random, fmt.Sprintf("phase-%d-%d", n, i), n == 1 || i%3 == 0, 0)
	}
	w.o.houseMu.Lock()
	s, err := sealNow(w.o)
	w.o.houseMu.Unlock()
	if err != nil {
		return err
	}
	if n == 2 {
		s.mu.Lock()
		s.sealedAt = 0 // the drain is over
		s.mu.Unlock()
	}
	w.o.wakeHousekeeper()
	for deadline := time.Now().Add(patienceOfTests); n < 3 && !s.isPacked(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("the segment is not packed")
		}
	}
	return nil
}

// settleInDatabase settles enough in the second segment to fill a memtable,
// and then some more.
func (w *formsWriter) settleInDatabase() error {
	s := (*w.o.segments.Load())[1]
	tables := len(s.vet.tables)
	for range 40 {
		w.later(12 << 10)
	}
	if got := formOf(s); got != "open" || s.oldestLog() == 0 && s.db.walID < 2 {
		return fmt.Errorf("the packed segment is %s, with %d tables and log %d", got, tables, s.db.walID)
	}
	return nil
}
