//go:build linux

package badger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/promptreports/caddy-webhooks/storage"
)

// TestFailedSync has the kernel refuse one sync of a real process, after
// which every other succeeds: the process must acknowledge nothing more, live
// on, and find all that it acknowledged when it starts again.
func TestFailedSync(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("strace is not installed")
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace")
	cmd := exec.Command(strace, "-f", "-o", trace, "-e", "trace=fdatasync,fsync,msync",
		"-e", "inject=fdatasync:error=EIO:when=20", os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=sync-write:"+filepath.Join(dir, "outbox"))
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "PTRACE") && os.Getenv("CI") == "" {
		t.Skipf("strace may not trace here: %s", out)
	}
	if err != nil {
		t.Fatalf("the process ended with %v:\n%s", err, excerpt(string(out)))
	}
	traced, err := os.ReadFile(trace)
	if err != nil || !strings.Contains(string(traced), "(INJECTED)") {
		t.Fatalf("no sync was refused, so nothing was tried: %v", err)
	}
	var acked []string
	failed := false
	for line := range strings.Lines(string(out)) {
		what, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch what {
		case "accepted":
			if failed {
				t.Errorf("event %s was acknowledged after a failed sync", id)
			}
			acked = append(acked, id)
		case "failed":
			failed = true
		default:
			t.Errorf("the process said %q", line)
		}
	}
	if !failed || len(acked) < 10 {
		t.Fatalf("got %d events acknowledged and failed %t, want some, and then failure", len(acked), failed)
	}
	o := open(t, filepath.Join(dir, "outbox"), Options{})
	if err := o.Usage().Err; err != nil {
		t.Errorf("opened again: got %v", err)
	}
	for _, id := range acked {
		if e, _, err := o.EventByID(t.Context(), id); err != nil || string(e.Body) != id {
			t.Errorf("event %s: got %v", id, err)
		}
	}
	accept(t, o, "afterwards", "x")
}

// syncWriter accepts until that fails, and then tries for a while longer. It
// leaves without closing.
func syncWriter(dir string) int {
	o, err := Open(dir, Options{})
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	left := 50
	for i := 0; i < 5000 && left > 0; i++ {
		id := fmt.Sprint("event-", i)
		_, err := o.Accept(context.Background(), []storage.NewEvent{{ID: id, Body: []byte(id), Endpoints: []string{"x"}}})
		switch {
		case err == nil:
			fmt.Println("accepted", id)
			continue
		case !errors.Is(err, storage.ErrFailed) || !errors.Is(o.Usage().Err, storage.ErrFailed):
			fmt.Println("error", err, o.Usage().Err)
			return 1
		}
		left--
		fmt.Println("failed", id)
	}
	return 0
}

func init() { childModes["sync-write"] = syncWriter }
