package module

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// sender posts events, each until it is answered by 202 or 200.
type sender struct {
	h       *harness
	client  *http.Client
	mu      sync.Mutex
	sent    []string
	refused []string

	// wait is called when a connection fails, before the event is posted
	// again.
	wait func()
}

func (h *harness) newSender(wait func()) *sender {
	return &sender{h: h, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: 20 * time.Second}, wait: wait}
}

func (s *sender) send(id string) {
	for {
		resp, err := s.client.Post("http://"+s.h.addr+"/", "application/json", strings.NewReader(
			fmt.Sprintf(`{"id":%q,"type":"test.happened","timestamp":"2026-01-02T03:04:05Z","data":{}}`, id)))
		if err != nil {
			s.wait()
			continue
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			s.wait()
			continue
		}
		s.mu.Lock()
		if resp.StatusCode == 202 || resp.StatusCode == 200 {
			s.sent = append(s.sent, id)
		} else {
			s.refused = append(s.refused, fmt.Sprint(resp.StatusCode, " ", string(body)))
		}
		s.mu.Unlock()
		return
	}
}

// Reloads under load, every fifth of which fails, lose and double nothing, and
// refuse nobody.
func TestReloadUnderLoad(t *testing.T) {
	h := newHarness(t)
	rc, next := newReceiver(t), newReceiver(t)
	config := func(n int) object {
		return h.config(object{"max_in_flight": 100 + n, "endpoints": object{"first": rc.endpoint()}})
	}
	h.mustLoad(config(0))

	// A listener that closes resets the connections that wait in it, which is
	// no answer of ours: the client posts again.
	s := h.newSender(func() {})
	defer s.client.CloseIdleConnections()
	done := make(chan struct{})
	var senders sync.WaitGroup
	for i := range 4 {
		senders.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
					s.send(fmt.Sprintf("load-%d-%d", i, n))
				}
			}
		})
	}
	for i := range 25 {
		before := s.count()
		if i%5 == 4 {
			if err := h.load(h.failing(i/5, next.URL)); err == nil {
				t.Error("got a configuration that loads, want one that fails")
			}
		} else {
			h.mustLoad(config(i + 1))
		}
		for s.count() < before+10 { // each configuration gets its share
			s.send(fmt.Sprintf("between-%d-%d", i, s.count()))
		}
	}
	close(done)
	senders.Wait()
	rc.await(t, s.sent...)
	if len(s.refused) > 0 {
		t.Errorf("got %d of %d posts refused, the first with %s, want none", len(s.refused), len(s.sent), s.refused[0])
	}
	if got := rc.doubled(); got != 0 {
		t.Errorf("got %d doubled deliveries of %d, want none", got, len(s.sent))
	}
	t.Logf("%d events over 25 reloads", len(s.sent))
}

func (s *sender) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sent)
}

// process is Caddy in a process of its own.
type process struct {
	*exec.Cmd
	output strings.Builder
	exited chan error
}

// start runs Caddy with the configuration, and returns when it serves.
func (h *harness) start(config object) *process {
	h.t.Helper()
	file := filepath.Join(h.dir, "caddy.json")
	if err := os.WriteFile(file, encode(h.t, config), 0o600); err != nil {
		h.t.Fatal(err)
	}
	ready, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	defer ready.Close()
	p := &process{exited: make(chan error, 1)}
	p.Cmd = exec.Command(os.Args[0], "run", "--config", file, "--pingback", ready.Addr().String())
	p.Env = append(os.Environ(), caddyEnv+"=1", "XDG_DATA_HOME="+h.dir, "XDG_CONFIG_HOME="+h.dir)
	p.Stdin = strings.NewReader("ready")
	p.Stdout, p.Stderr = &p.output, &p.output
	if err := p.Start(); err != nil {
		h.t.Fatal(err)
	}
	go func() {
		err := p.Wait()
		p.exited <- err
		ready.Close() // whoever waits for it would wait in vain
	}()
	conn, err := ready.Accept()
	if err != nil {
		h.t.Fatalf("starting Caddy: %v\n%s", <-p.exited, p.output.String())
	}
	conn.Close()
	h.t.Cleanup(func() { _ = p.Process.Kill() })
	return p
}

// end sends a signal, and waits for the end of the process.
func (p *process) end(t *testing.T, signal os.Signal) error {
	t.Helper()
	if err := p.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-p.exited:
		return err
	case <-time.After(30 * time.Second):
		_ = p.Process.Kill()
		t.Fatalf("got a process that runs 30 s after %s, want its end", signal)
		return nil
	}
}

// When the process is told to end, attempts under way may end first.
func TestTerminateWaitsForAttempts(t *testing.T) {
	h := newHarness(t)
	rc := newReceiver(t)
	arrived, release := make(chan struct{}, 8), make(chan struct{})
	rc.hold(func() {
		arrived <- struct{}{}
		<-release
	})
	config := h.config(object{"grace_period": "20s", "endpoints": object{"first": rc.endpoint()}})
	p := h.start(config)
	if status, body := h.post(eventJSON("slow")); status != 202 {
		t.Fatalf("got %d %s, want 202", status, body)
	}
	<-arrived
	h.client.CloseIdleConnections()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	h.awaitStop()
	select {
	case err := <-p.exited:
		t.Fatalf("got the end of the process (%v) during an attempt, want it to wait", err)
	default:
	}
	close(release)
	if err := <-p.exited; err != nil {
		t.Fatalf("got %v from the process, want a clean end\n%s", err, p.output.String())
	}

	p = h.start(config)
	h.checkDelivers(rc, "second")
	if err := p.end(t, syscall.SIGTERM); err != nil {
		t.Errorf("got %v from the process, want a clean end", err)
	}
	if got := rc.doubled(); got != 0 {
		t.Errorf("got %d doubled deliveries, want none", got)
	}
}

// awaitStop waits until Caddy has begun to stop: it then has no configuration
// any more, or no admin API.
func (h *harness) awaitStop() {
	h.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		resp, err := h.admin.Get("http://localhost/webhooks/status")
		if err != nil {
			return
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusServiceUnavailable {
			return
		}
	}
	h.t.Fatal("got Caddy running 10 s after SIGTERM, want it to stop")
}

// An attempt that does not end in the grace period is cut off, and made again
// after the next start.
func TestTerminateCutsOffAfterGrace(t *testing.T) {
	h := newHarness(t)
	rc := newReceiver(t)
	arrived, release := make(chan struct{}, 8), make(chan struct{})
	rc.hold(func() {
		arrived <- struct{}{}
		<-release
	})
	config := h.config(object{"grace_period": "100ms", "endpoints": object{"first": rc.endpoint()}})
	p := h.start(config)
	if status, body := h.post(eventJSON("hanging")); status != 202 {
		t.Fatalf("got %d %s, want 202", status, body)
	}
	<-arrived
	h.client.CloseIdleConnections()
	if err := p.end(t, syscall.SIGTERM); err != nil {
		t.Fatalf("got %v from the process, want a clean end\n%s", err, p.output.String())
	}
	rc.hold(nil)
	close(release)
	p = h.start(config)
	rc.await(t, "hanging")
	if err := p.end(t, syscall.SIGTERM); err != nil {
		t.Errorf("got %v from the process, want a clean end", err)
	}
}

// A process that is killed again and again loses nothing that it answered with
// 202, and doubles no more than was in flight.
func TestKilledProcessLosesNothing(t *testing.T) {
	const events, kills, inFlight = 1000, 5, 8
	h := newHarness(t)
	rc := newReceiver(t)
	endpoint := rc.endpoint()
	endpoint["max_in_flight"] = inFlight
	config := h.config(object{"endpoints": object{"first": endpoint}})

	var mu sync.Mutex
	up := make(chan struct{}) // closed while the process serves
	s := h.newSender(func() {
		mu.Lock()
		serving := up
		mu.Unlock()
		<-serving
	})
	defer s.client.CloseIdleConnections()

	p := h.start(config)
	close(up)
	var next atomic.Int64
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for n := next.Add(1); n <= events; n = next.Add(1) {
				s.send(fmt.Sprint("killed-", n))
			}
		})
	}
	for i := range kills {
		for int(next.Load()) < (i+1)*events/(kills+1) {
			time.Sleep(time.Millisecond) // the moment of the kill does not matter
		}
		mu.Lock()
		up = make(chan struct{})
		mu.Unlock()
		if err := p.end(t, syscall.SIGKILL); err == nil {
			t.Fatal("got a clean end after SIGKILL")
		}
		p = h.start(config)
		close(up)
	}
	senders.Wait()
	if len(s.sent) != events {
		t.Errorf("got %d of %d events accepted, and refusals %v", len(s.sent), events, s.refused)
	}
	rc.await(t, s.sent...)
	if got := rc.doubled(); got > kills*inFlight {
		t.Errorf("got %d doubled deliveries, want at most %d, which were in flight at the kills", got, kills*inFlight)
	}
	t.Logf("%d doubled deliveries after %d kills", rc.doubled(), kills)
	if err := p.end(t, syscall.SIGTERM); err != nil {
		t.Errorf("got %v from the process, want a clean end", err)
	}
}
