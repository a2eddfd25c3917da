package delivery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
	"github.com/promptreports/caddy-webhooks/storage/storagetest"
)

// model drives an engine with tiny windows by random operations, while its
// outbox is slow at random places and receivers answer at random. What must
// hold is checked by the sender (no delivery is sent twice at a time, nor
// again after it succeeded), by the outbox (nothing finished is settled again)
// and at the end (everything is finished).
type model struct {
	*rig
	mu        sync.Mutex
	rand      *rand.Rand
	ids       []storage.DeliveryID
	succeeded map[storage.DeliveryID]bool
	calm      bool
	crashed   bool
	wg        sync.WaitGroup
}

func (m *model) intn(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rand.IntN(n)
}

// delay sleeps for a random while, or not at all.
func (m *model) delay(most time.Duration) {
	if m.intn(3) > 0 {
		time.Sleep(time.Duration(m.intn(int(most))))
	}
}

func (m *model) hooks() storagetest.FakeHooks {
	return storagetest.FakeHooks{
		AfterAccept:  func([]storage.Accepted) error { m.delay(50 * time.Millisecond); return nil },
		BeforeSettle: func([]storage.Settlement) error { m.delay(20 * time.Millisecond); return nil },
		AfterSettle:  func([]storage.Settlement) error { m.delay(50 * time.Millisecond); return nil },
		BeforeDue:    func(string) error { m.delay(20 * time.Millisecond); return nil },
		AfterDue: func(string) error {
			m.delay(100 * time.Millisecond)
			if m.intn(20) == 0 {
				return fmt.Errorf("unreadable")
			}
			return nil
		},
	}
}

// answer is the receivers.
func (m *model) answer(_ context.Context, msg *Message) Outcome {
	m.mu.Lock()
	calm, dice := m.calm, m.rand.IntN(100)
	if m.succeeded[msg.Delivery] && !m.crashed {
		m.t.Errorf("delivery %s is sent again after it succeeded", msg.Delivery)
	}
	m.mu.Unlock()
	m.delay(30 * time.Millisecond)
	out := outcomeOf(200)
	switch {
	case calm || dice < 60:
	case dice < 75:
		out = outcomeOf(500)
	case dice < 85:
		out = outcomeOf(0)
	case dice < 88:
		out = outcomeOf(404)
	case dice < 90:
		out = outcomeOf(429)
		out.RetryAfter = 300 * time.Millisecond
	case dice < 91:
		panic("a fault")
	}
	if out.Attempt.Verdict == VerdictSuccess {
		m.mu.Lock()
		m.succeeded[msg.Delivery] = true
		m.mu.Unlock()
	}
	return out
}

func (m *model) some() storage.DeliveryID {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.ids) == 0 {
		return storage.DeliveryID{}
	}
	return m.ids[m.rand.IntN(len(m.ids))]
}

func (m *model) background(operation func()) {
	m.wg.Go(operation)
}

func (m *model) publishSome(types []string) {
	n := 1 + m.intn(6)
	batch := make([]Publication, n)
	for i := range batch {
		m.rig.mu.Lock()
		m.seq++
		id := newEventID(m.seq)
		m.rig.mu.Unlock()
		batch[i].Event = newEvent(id, types[m.intn(len(types))])
	}
	m.background(func() {
		accepted, err := m.engine.Publish(context.Background(), batch)
		if err != nil {
			return // closed meanwhile
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, a := range accepted {
			for i := range a.Deliveries {
				m.ids = append(m.ids, a.Key.Delivery(i))
			}
		}
	})
}

func (m *model) snapshots() []*Snapshot {
	small := func(ep *Endpoint) {
		ep.MaxInFlight = 3
		ep.Retry.Schedule = []time.Duration{100 * time.Millisecond, time.Second}
		ep.Retry.MaxAttempts, ep.Retry.Jitter = 6, 0.5
		switch ep.Name {
		case "a": // which an operator resumes
			ep.DisableAfter = time.Millisecond
		case "b":
			ep.RateLimit = RateLimit{4, 500 * time.Millisecond}
		}
	}
	paused := func(ep *Endpoint) { ep.Paused = true }
	all := []*Snapshot{
		m.snapshot(endpoint("a", small), endpoint("b", small), endpoint("c", small)),
		m.snapshot(endpoint("a", small), endpoint("b", small)),
		m.snapshot(endpoint("a", small, paused), endpoint("c", small)),
		m.snapshot(endpoint("c", small)),
	}
	for _, s := range all {
		s.MaxInFlight = 5
	}
	return all
}

func (m *model) run(steps int, crashes bool) {
	snapshots := m.snapshots()
	m.engine.size = 8
	lease := m.engine.Attach(snapshots[0])
	ctx := context.Background()
	for range steps {
		m.delay(20 * time.Millisecond)
		switch dice := m.intn(100); {
		case dice < 50:
			m.publishSome([]string{"a", "b", "c", "all"})
		case dice < 60:
			m.background(func() { _, _ = m.engine.Retry(ctx, m.some()) })
		case dice < 65:
			m.background(func() { _, _ = m.engine.Cancel(ctx, m.some()) })
		case dice < 70:
			m.background(func() { _ = m.engine.Pause(ctx, "a", "operator") })
		case dice < 80:
			m.background(func() { _ = m.engine.Resume(ctx, "a") })
		case dice < 88:
			next := m.engine.Attach(snapshots[m.intn(len(snapshots))])
			if m.intn(4) == 0 {
				next.Release() // a reload that failed
			} else {
				lease.Release()
				lease = next
			}
		case dice < 90:
			lease.Release()
			time.Sleep(time.Second)
			lease = m.engine.Attach(snapshots[0])
		case dice < 91 && crashes:
			m.wg.Wait()
			m.restart()
			m.engine.size = 8
			m.mu.Lock()
			m.crashed = true
			m.mu.Unlock()
			lease = m.engine.Attach(snapshots[0])
		default:
			time.Sleep(time.Duration(m.intn(int(3 * time.Second))))
		}
	}
	m.wg.Wait()
	m.settleDown(snapshots[0])
}

// settleDown lets everything succeed and checks that nothing was forgotten.
func (m *model) settleDown(s *Snapshot) {
	m.mu.Lock()
	m.calm = true
	m.mu.Unlock()
	m.engine.Attach(s)
	time.Sleep(time.Second) // attempts under way may still fail, and disable
	if err := m.engine.Resume(context.Background(), "a"); err != nil {
		m.t.Error(err)
	}
	time.Sleep(30 * time.Minute)
	synctest.Wait()
	m.engine.mu.Lock()
	defer m.engine.mu.Unlock()
	if n := m.fake.Usage().Pending; n > 0 {
		m.t.Errorf("forgotten deliveries: got %d of %d pending: %v", n, len(m.ids), m.fake.Pending())
		for name, q := range m.engine.queues {
			m.t.Logf("%s: ready %d later %d complete %v cursor %v in flight %d reading %+v health %+v state %+v",
				name, q.win.readyLen(), len(q.win.later), q.win.complete, q.win.cursor.milli, len(q.flights), q.reading, q.health, q.state)
		}
	}
	if p := m.engine.pinned; p != 0 {
		m.t.Errorf("pinned bytes at the end: got %d, want 0", p)
	}
	if d := &m.engine.dispatch; d.inFlight != 0 {
		m.t.Errorf("in flight at the end: got %d, want 0", d.inFlight)
	}
	for name, q := range m.engine.queues {
		if q.inFlight != 0 || len(q.flights) != 0 || q.win.len() != 0 {
			m.t.Errorf("queue %s at the end: got %d in flight and %d waiting, want none", name, len(q.flights), q.win.len())
		}
	}
}

func TestModel(t *testing.T) {
	rounds := uint64(60)
	if testing.Short() {
		rounds = 10
	}
	for seed := range rounds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				m := &model{rand: rand.New(rand.NewPCG(seed, 7)), succeeded: make(map[storage.DeliveryID]bool)}
				m.rig = newRig(t, nil)
				defer func() { m.close() }()
				m.reply = m.answer
				m.fake.SetHooks(m.hooks())
				m.run(300, seed%2 == 1)
			})
		})
	}
}
