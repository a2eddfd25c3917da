//go:build linux

package badger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// traced runs a child under strace and returns what both print.
func traced(t *testing.T, mode, dir string, options ...string) (printed, trace string) {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("strace is not installed")
	}
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "trace")
	cmd := exec.Command(strace, slices.Concat([]string{"-f", "-o", file}, options, []string{os.Args[0]})...)
	cmd.Env = append(os.Environ(), childEnv+"="+mode+":"+filepath.Join(dir, "outbox"))
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "PTRACE") && os.Getenv("CI") == "" {
		t.Skipf("strace may not trace here: %s", out)
	}
	if err != nil {
		t.Fatalf("the process ended with %v:\n%s", err, excerpt(string(out)))
	}
	return string(out), string(readFile(t, file))
}

// refusedSync has the kernel refuse one sync of each thread of a real process:
// after the first, others succeed. It returns what the process acknowledged
// before and after it knew.
func refusedSync(t *testing.T, mode, dir, inject string) (before, after []string) {
	t.Helper()
	out, trace := traced(t, mode, dir, "-e", "trace=fdatasync,fsync,msync", "-e", "inject="+inject)
	if !strings.Contains(trace, "(INJECTED)") {
		t.Fatal("no sync was refused, so nothing was tried")
	}
	failed := false
	for line := range strings.Lines(out) {
		what, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case what == "accepted" && failed:
			after = append(after, id)
		case what == "accepted":
			before = append(before, id)
		case what == "failed":
			failed = true
		default:
			t.Errorf("the process said %q", line)
		}
	}
	if !failed || len(before) < 10 {
		t.Fatalf("got %d events acknowledged and failed %t, want some, and then failure", len(before), failed)
	}
	return before, after
}

// TestFailedSync refuses a sync of a commit, and one of the outbox's own
// state: the process must acknowledge nothing more, live on, and find all that
// it acknowledged when it starts again.
func TestFailedSync(t *testing.T) {
	t.Parallel()
	for name, inject := range map[string]string{
		"commit": "fdatasync:error=EIO:when=20",
		"state":  "fsync:error=EIO:when=20",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			acked, after := refusedSync(t, "sync-write", dir, inject)
			if len(after) > 0 {
				t.Errorf("%d events were acknowledged after a failed sync: %v", len(after), after)
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
		})
	}
}

// TestFailedSyncForgotten shows that TestFailedSync sees what it guards
// against: an outbox that goes on.
func TestFailedSyncForgotten(t *testing.T) {
	t.Parallel()
	if _, after := refusedSync(t, "sync-forget", t.TempDir(), "fdatasync:error=EIO:when=20"); len(after) == 0 {
		t.Error("got nothing acknowledged after a failed sync by an outbox that forgets it")
	}
}

// TestSyncedBeforeAcknowledged sees, in the system calls of a real process,
// that every commit is synced between its write and its acknowledgement. The
// other process leaves the sync out, and must be found out.
func TestSyncedBeforeAcknowledged(t *testing.T) {
	t.Parallel()
	for mode, syncs := range map[string]bool{"sync-each": true, "sync-none": false} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			_, trace := traced(t, mode, t.TempDir(), "-e", "trace=pwrite64,fdatasync,write")
			written, acked, early := false, 0, 0
			for line := range strings.Lines(trace) {
				switch {
				case strings.Contains(line, "pwrite64("):
					written = true
				case strings.Contains(line, "fdatasync") && strings.HasSuffix(line, " = 0\n"):
					written = false
				case strings.Contains(line, `write(1, "accepted`):
					if acked++; written {
						early++
					}
				}
			}
			if acked < 100 || syncs != (early == 0) {
				t.Errorf("got %d of %d events acknowledged before they were synced, want none: %t", early, acked, syncs)
			}
		})
	}
}

// syncWriter accepts until that fails, and then tries for a while longer. It
// leaves without closing.
func syncWriter(forget bool) func(dir string) int {
	return func(dir string) int {
		o, err := Open(dir, Options{limits: limits{tick: 20 * time.Millisecond}})
		if err != nil {
			fmt.Println("error", err)
			return 1
		}
		left := 50
		for i, began := 0, time.Now(); left > 0 && time.Since(began) < patienceOfTests; i++ {
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
			if forget {
				o.failErr.Store(nil)
				o.failed = make(chan struct{})
				o.active.Load().journal.log.failed = nil // the writer is idle
			}
		}
		return 0
	}
}

// eachSynced accepts some events, with or without syncing them.
func eachSynced(syncs bool) func(dir string) int {
	return func(dir string) int {
		o, err := Open(dir, Options{limits: quiet()})
		if err != nil {
			fmt.Println("error", err)
			return 1
		}
		if !syncs {
			o.active.Load().journal.log.sync = func() error { return nil }
		}
		for i := range 200 {
			id := fmt.Sprint("event-", i)
			if _, err := o.Accept(context.Background(), []storage.NewEvent{{ID: id, Body: []byte(id), Endpoints: []string{"x"}}}); err != nil {
				fmt.Println("error", err)
				return 1
			}
			fmt.Println("accepted", id)
		}
		return 0
	}
}

func init() {
	childModes["sync-write"] = syncWriter(false)
	childModes["sync-forget"] = syncWriter(true)
	childModes["sync-each"] = eachSynced(true)
	childModes["sync-none"] = eachSynced(false)
}
