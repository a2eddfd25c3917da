package delivery

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/module/internal/event"
	"github.com/promptreports/caddy-webhooks/module/internal/subscription"
	"github.com/promptreports/caddy-webhooks/storage"
	"github.com/promptreports/caddy-webhooks/storage/storagetest"
)

// rig is an engine with a fake outbox and a fake sender, for use in a bubble.
type rig struct {
	t      testing.TB
	fake   *storagetest.Fake
	engine *Engine
	opts   Options
	watch  *watch

	mu    sync.Mutex
	reply func(ctx context.Context, m *Message) Outcome
	sends []sent
	flown map[storage.DeliveryID]bool
	peaks map[string]int
	now   map[string]int
	epoch time.Time
	seq   int
}

// sent is one attempt as the sender saw it.
type sent struct {
	at       time.Duration
	endpoint string
	event    string
	number   int
	config   *Endpoint
}

func newRig(t testing.TB, reply func(ctx context.Context, m *Message) Outcome) *rig {
	return newRigOn(t, storagetest.NewFake(storagetest.FakeOptions{}), reply)
}

func newRigOn(t testing.TB, fake *storagetest.Fake, reply func(ctx context.Context, m *Message) Outcome) *rig {
	r := &rig{
		t: t, fake: fake, reply: reply, watch: new(watch), epoch: time.Now(),
		flown: make(map[storage.DeliveryID]bool), peaks: make(map[string]int), now: make(map[string]int),
	}
	r.opts = Options{Outbox: fake}
	r.open()
	return r
}

func (r *rig) open() {
	r.t.Helper()
	e, err := newEngine(r.opts, r.send)
	if err != nil {
		r.t.Fatalf("opening the engine: %v", err)
	}
	e.size = leastWindow // so that a test fills one soon
	r.engine = e
}

// close ends the engine and checks that it treated its outbox well.
func (r *rig) close() {
	r.t.Helper()
	if err := r.engine.Close(); err != nil {
		r.t.Errorf("closing the engine: %v", err)
	}
	for _, v := range r.fake.Violations() {
		r.t.Errorf("violation: %s", v)
	}
}

// restart replaces the engine as after a crash of the process.
func (r *rig) restart() {
	r.t.Helper()
	old := r.fake
	r.fake = old.Restart()
	r.engine.Close()
	r.opts.Outbox = r.fake
	r.open()
}

// send is the engine's sender. It watches that no delivery is sent twice at a
// time.
func (r *rig) send(ctx context.Context, m *Message) Outcome {
	id, name := m.Delivery, m.Endpoint.Name
	r.mu.Lock()
	if r.flown[id] {
		r.t.Errorf("delivery %s is sent twice at a time", id)
	}
	r.flown[id] = true
	r.now[name]++
	r.peaks[name] = max(r.peaks[name], r.now[name])
	r.sends = append(r.sends, sent{time.Since(r.epoch), name, m.EventID, m.Number, m.Endpoint})
	reply := r.reply
	r.mu.Unlock()
	began := time.Now()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.flown, id)
		r.now[name]--
	}()
	out := reply(ctx, m)
	out.Attempt.StartedAt, out.Attempt.Duration = began, time.Since(began)
	return out
}

// log returns the attempts so far, of one endpoint or of all.
func (r *rig) log(endpoint string) []sent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.sends), func(s sent) bool {
		return endpoint != "" && s.endpoint != endpoint
	})
}

func (r *rig) setReply(reply func(ctx context.Context, m *Message) Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reply = reply
}

// publish publishes one event and returns the id of its first delivery.
func (r *rig) publish(typ string) storage.DeliveryID {
	r.t.Helper()
	r.mu.Lock()
	r.seq++
	id := "evt_" + strconv.Itoa(r.seq)
	r.mu.Unlock()
	accepted, err := r.engine.Publish(context.Background(), []Publication{{Event: newEvent(id, typ)}})
	if err != nil {
		r.t.Fatalf("publishing: %v", err)
	}
	return accepted[0].Key.Delivery(0)
}

// memory returns what the engine has in memory: the deliveries of an endpoint
// and the bytes of all events.
func (r *rig) memory(endpoint string) (int, int64) {
	r.engine.mu.Lock()
	defer r.engine.mu.Unlock()
	return r.engine.queues[endpoint].win.len(), r.engine.pinned
}

func newEvent(id, typ string) *event.Event {
	return &event.Event{ID: id, Type: typ, Body: fmt.Appendf(nil, `{"id":%q,"type":%q}`, id, typ)}
}

// delivery returns what the outbox has of a delivery.
func (r *rig) delivery(id storage.DeliveryID) (*storage.Delivery, []storage.Attempt) {
	r.t.Helper()
	d, attempts, err := r.fake.Delivery(context.Background(), id)
	if err != nil {
		r.t.Fatalf("reading delivery %s: %v", id, err)
	}
	return d, attempts
}

// want checks the status and the code of a delivery.
func (r *rig) want(id storage.DeliveryID, status storage.Status, code string, attempts int) {
	r.t.Helper()
	d, list := r.delivery(id)
	if d.Status != status || d.Code != code || len(list) != attempts {
		r.t.Errorf("delivery: got %s %q after %d attempts, want %s %q after %d",
			d.Status, d.Code, len(list), status, code, attempts)
	}
}

// endpoint makes an endpoint with the default policy, but without jitter.
func endpoint(name string, edits ...func(*Endpoint)) *Endpoint {
	ep := &Endpoint{
		Name: name, Timeout: 30 * time.Second, MaxInFlight: 16,
		Retry: RetryPolicy{
			MaxAttempts: 10, MaxAge: 96 * time.Hour,
			Schedule: []time.Duration{
				5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
				10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
			},
		},
	}
	for _, edit := range edits {
		edit(ep)
	}
	return ep
}

// snapshot makes a configuration. An endpoint gets the event type of its name;
// all of them get "all".
func (r *rig) snapshot(endpoints ...*Endpoint) *Snapshot {
	r.t.Helper()
	s := &Snapshot{
		Endpoints: make(map[string]*Endpoint), MaxInFlight: 512, Logger: zap.NewNop(), Observer: r.watch,
	}
	var subs []subscription.Subscription
	slices.SortFunc(endpoints, func(a, b *Endpoint) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	for _, ep := range endpoints {
		s.Endpoints[ep.Name] = ep
		s.Names = append(s.Names, ep.Name)
		subs = append(subs, subscription.Subscription{Patterns: []string{ep.Name, "all"}})
	}
	var err error
	if s.Index, err = subscription.NewIndex(subs); err != nil {
		r.t.Fatalf("making the index: %v", err)
	}
	return s
}

// outcomeOf makes the outcome of a status, or of no answer where it is zero.
func outcomeOf(status int) Outcome {
	a := storage.Attempt{Verdict: VerdictRetry, Code: CodeConnectionRefused, StatusCode: status}
	if status != 0 {
		on := DefaultOnStatus()
		a.Verdict, a.Code = statusVerdict(status, &on), statusCode(status)
	}
	return Outcome{Attempt: a, Gone: status == 410}
}

// always answers every attempt alike, after a while.
func always(status int, after time.Duration) func(context.Context, *Message) Outcome {
	return func(ctx context.Context, _ *Message) Outcome {
		if after == 0 {
			return outcomeOf(status)
		}
		timer := time.NewTimer(after)
		defer timer.Stop()
		select {
		case <-timer.C:
			return outcomeOf(status)
		case <-ctx.Done():
			return Outcome{Attempt: storage.Attempt{Verdict: VerdictInterrupted, Code: CodeInterrupted}}
		}
	}
}

// watch is an observer that remembers.
type watch struct {
	mu       sync.Mutex
	attempts int
	done     []Done
	changes  []string
}

func (w *watch) AttemptDone(_, _, _ string, _ time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attempts++
}

func (w *watch) DeliveryDone(d Done) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = append(w.done, d)
}

func (w *watch) EndpointChanged(endpoint string, from, to EndpointHealth, reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changes = append(w.changes, fmt.Sprintf("%s: %s to %s (%s)", endpoint, from, to, reason))
}

// bubble runs a test in fake time.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Parallel()
	synctest.Test(t, test)
}

var _ Observer = (*watch)(nil)
