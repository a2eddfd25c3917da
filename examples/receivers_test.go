package examples_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	receiverSecret = "receivers-test-secret-0123456789"

	// requireNode makes a missing Node or Express a failure. CI sets it.
	requireNode = "EXAMPLES_TEST_REQUIRE_NODE"

	waitTimeout = 30 * time.Second
)

// receiver is one of examples/receivers.
type receiver struct {
	name    string
	paths   []string // each an endpoint
	command func(t *testing.T, port string) *exec.Cmd
}

var receivers = []receiver{
	{"node", []string{"/webhook", "/documented"}, nodeReceiver},
	{"python", []string{"/"}, func(t *testing.T, port string) *exec.Cmd {
		return interpreter(t, port, "receivers/python", "python3", "server.py")
	}},
	{"php", []string{"/"}, func(t *testing.T, port string) *exec.Cmd {
		return interpreter(t, port, "receivers/php", "php", "-q", "-S", "127.0.0.1:"+port, "index.php")
	}},
	{"go", []string{"/"}, goReceiver},
}

// TestReceivers starts every receiver whose interpreter is here, has a real
// sidecar deliver the documentation's example event and CloudEvents to it, and
// demands that it verifies the signatures, and that it refuses wrong ones.
func TestReceivers(t *testing.T) {
	t.Parallel()
	for _, rc := range receivers {
		t.Run(rc.name, func(t *testing.T) {
			t.Parallel()
			addr := startReceiver(t, rc)
			for _, path := range rc.paths {
				refusesForgery(t, "http://"+addr+path)
			}

			var endpoints strings.Builder
			for i, path := range rc.paths {
				fmt.Fprintf(&endpoints, "endpoint right-%d http://%s%s {\n secret {env.RIGHT_SECRET}\n }\n", i, addr, path)
				fmt.Fprintf(&endpoints, "endpoint wrong-%d http://%s%s {\n secret {env.WRONG_SECRET}\n }\n", i, addr, path)
			}
			s := startSidecar(t, endpoints.String())
			t.Run("example", func(t *testing.T) { verify(t, s.deliver(t)) })
			t.Run("CloudEvents", func(t *testing.T) { verifyCloudEvents(t, s) })
		})
	}
}

// verify demands that a receiver took what was signed with its secret, and
// nothing else.
func verify(t *testing.T, deliveries []delivery) {
	t.Helper()
	for _, d := range deliveries {
		want := http.StatusOK
		if strings.HasPrefix(d.Endpoint, "wrong-") {
			want = http.StatusUnauthorized
		}
		if d.StatusCode != want {
			t.Errorf("endpoint %s: got %d (%s), want %d", d.Endpoint, d.StatusCode, d.Status, want)
		}
	}
}

func nodeReceiver(t *testing.T, port string) *exec.Cmd {
	t.Helper()
	if _, err := os.Stat("receivers/node/node_modules/express"); err != nil && os.Getenv(requireNode) == "" {
		t.Skip("Express is not installed: run npm ci in examples/receivers/node")
	}
	return interpreter(t, port, "receivers/node", "node", "server.js")
}

func interpreter(t *testing.T, port, dir, name string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if name == "node" && os.Getenv(requireNode) != "" {
			t.Fatalf("Node is required here: %v", err)
		}
		t.Skipf("%s is not installed", name)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PORT="+port, "WEBHOOK_SECRET="+receiverSecret)
	return cmd
}

func goReceiver(t *testing.T, port string) *exec.Cmd {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "receiver")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./receivers/go").CombinedOutput(); err != nil {
		t.Fatalf("building the receiver: %v\n%s", err, out)
	}
	cmd := exec.Command(bin)
	cmd.Env = append(os.Environ(), "PORT="+port, "WEBHOOK_SECRET="+receiverSecret)
	return cmd
}

// startReceiver starts a receiver on a free port. Another process may take the
// port first; then another one is tried.
func startReceiver(t *testing.T, rc receiver) string {
	t.Helper()
	var err error
	for range 3 {
		addr := freeAddr(t)
		_, port, _ := net.SplitHostPort(addr)
		if err = startProcess(t, rc.command(t, port), addr); err == nil {
			return addr
		}
	}
	t.Fatalf("starting the receiver: %v", err)
	return ""
}

// refusesForgery posts an event with right and wrong signatures.
func refusesForgery(t *testing.T, url string) {
	t.Helper()
	body := []byte(`{"id":"wh_evt_forged","type":"prompt.created","timestamp":"2024-01-15T10:30:00Z","data":{},"metadata":{}}`)
	mac := hmac.New(sha256.New, []byte(receiverSecret))
	mac.Write(body)
	right := hex.EncodeToString(mac.Sum(nil))
	tests := []struct {
		name, signature string
		want            int
	}{
		{"right", right, http.StatusOK},
		{"wrong", strings.Repeat("0", len(right)), http.StatusUnauthorized},
	}
	// The documentation's own code answers 500 to a signature of another
	// length, because timingSafeEqual throws; ours answers 401.
	if !strings.HasSuffix(url, "/documented") {
		tests = append(tests, struct {
			name, signature string
			want            int
		}{"short", right[:63], http.StatusUnauthorized}, struct {
			name, signature string
			want            int
		}{"missing", "", http.StatusUnauthorized})
	}
	for _, tt := range tests {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if tt.signature != "" {
			req.Header.Set("X-PromptReports-Signature", tt.signature)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("posting to %s: %v", url, err)
		}
		answer, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%s with a %s signature: got %s, want %d: %s", url, tt.name, resp.Status, tt.want, answer)
		}
	}
}

// sidecar is a running sidecar.
type sidecar struct {
	ingest string
	admin  *http.Client
}

// startSidecar runs the test binary as a Caddy with the endpoints given.
func startSidecar(t *testing.T, endpoints string) *sidecar {
	t.Helper()
	// A short path, because a socket's name has at most 107 bytes.
	dir, err := os.MkdirTemp("", "examples-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "admin.sock")
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	config := filepath.Join(dir, "Caddyfile")
	writeFile(t, config, fmt.Sprintf(`{
	admin unix/%s
	persist_config off
	webhooks {
		outbox badger %s/outbox
		header_prefix X-PromptReports
		%s
	}
}
:%s {
	bind 127.0.0.1
	webhooks
}
`, socket, dir, endpoints, port))

	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "run", "--config", config, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), runCaddy+"=1", "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir,
		"RIGHT_SECRET="+receiverSecret, "WRONG_SECRET="+strings.ToUpper(receiverSecret))
	if err := startProcess(t, cmd, addr); err != nil {
		t.Fatalf("starting the sidecar: %v", err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &sidecar{ingest: "http://" + addr + "/", admin: &http.Client{Transport: transport}}
}

// delivery is what the test reads of the history.
type delivery struct {
	Endpoint   string `json:"endpoint"`
	Status     string `json:"status"`
	StatusCode int    `json:"status_code"`
}

// accepted is the ingest's answer for an event.
type accepted struct {
	ID         string
	Deliveries int
}

// deliver posts the example event and returns its deliveries when all are
// finished.
func (s *sidecar) deliver(t *testing.T) []delivery {
	t.Helper()
	return s.await(t, s.postExample(t))
}

// postExample posts the documentation's example event.
func (s *sidecar) postExample(t *testing.T) accepted {
	t.Helper()
	event, err := os.ReadFile("quickstart/event.json")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(s.ingest, "application/json", bytes.NewReader(event))
	if err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("posting the event: got %s, want 202: %s", resp.Status, answer)
	}
	var a accepted
	if err := json.Unmarshal(answer, &a); err != nil {
		t.Fatal(err)
	}
	if a.ID != "wh_evt_abc123" || a.Deliveries == 0 {
		t.Fatalf("got %s, want the example's id and some deliveries", answer)
	}
	return a
}

// await returns the deliveries of an event when all are finished.
func (s *sidecar) await(t *testing.T, event accepted) []delivery {
	t.Helper()
	for deadline := time.Now().Add(waitTimeout); ; {
		var page struct{ Deliveries []delivery }
		s.get(t, "deliveries?event_id="+event.ID, &page)
		pending := slices.ContainsFunc(page.Deliveries, func(d delivery) bool { return d.Status == "pending" })
		if !pending && len(page.Deliveries) == event.Deliveries {
			return page.Deliveries
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %+v after %s, want all of them finished", page.Deliveries, waitTimeout)
		}
		time.Sleep(20 * time.Millisecond) // polls another process
	}
}

// get asks the admin API for a resource.
func (s *sidecar) get(t *testing.T, resource string, answer any) {
	t.Helper()
	resp, err := s.admin.Get("http://localhost/webhooks/" + resource)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		t.Fatal(err)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// startProcess starts a program, waits until it accepts connections, and ends
// it with the test.
func startProcess(t *testing.T, cmd *exec.Cmd, addr string) error {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it ended does not matter; the output tells why
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(cmd.Path), out.String())
		}
	})
	for deadline := time.Now().Add(waitTimeout); ; {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-done:
			return fmt.Errorf("%s ended early: %s", filepath.Base(cmd.Path), out.String())
		case <-time.After(20 * time.Millisecond): // polls another process
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waiting for %s: %w", filepath.Base(cmd.Path), err)
		}
	}
}
