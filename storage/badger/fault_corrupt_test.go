package badger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// corruptLimits leave it to corruptWriter when a segment is sealed, and pack
// only finished ones by themselves.
var corruptLimits = limits{
	memTable: 256 << 10, drain: time.Hour,
	tick: 20 * time.Millisecond, reserve: -1,
}

// TestDamage damages, at seeded places, copies of what a killed process left.
// Each must open completely, or refuse to with a message that names what is
// damaged, or open for reading and say so; no process may die of it.
func TestDamage(t *testing.T) {
	t.Parallel()
	out := damageAll(t, "damage")
	complete, refused, unknowable := 0, 0, 0
	for line := range strings.SplitSeq(out, "\n") {
		what, rest, _ := strings.Cut(line, " ")
		switch what {
		case "complete":
			complete++
		case "refused":
			refused++
			if !strings.Contains(rest, "segment") && !strings.Contains(rest, "STATE") && !strings.Contains(rest, "ENDPOINTS") {
				t.Errorf("a message that does not say where: %s", rest)
			}
		case "silent":
			// A log that is cut short behind what the state knew to be synced
			// looks as if its last group had never been written.
			if unknowable++; !strings.Contains(rest, "unknowable") {
				t.Error(rest)
			}
		case "repeats":
			// The write-ahead log of a packed segment holds settlements only.
			// When it is deleted as a whole, what they settled is delivered
			// again.
			if !strings.Contains(rest, "unknowable") && (!strings.Contains(rest, "delete of") || !strings.Contains(rest, ".mem")) {
				t.Error(rest)
			}
		}
	}
	t.Logf("%d complete, %d refused:\n%s", complete, refused, out)
	if unknowable > 5 {
		t.Errorf("got %d losses that nobody can know of, want hardly any:\n%s", unknowable, out)
	}
	if complete == 0 || refused < 30 {
		t.Errorf("got %d complete and %d refused, want some and many, or nothing was tried:\n%s", complete, refused, out)
	}
}

// TestDamageUnexamined shows that TestDamage sees what it guards against.
func TestDamageUnexamined(t *testing.T) {
	t.Parallel()
	if out := damageAll(t, "unexamined"); !strings.Contains(out, "silent ") && !strings.Contains(out, "died ") {
		t.Errorf("got neither silent loss nor death:\n%s", out)
	}
}

// damageAll leaves the crash state of a killed process and lets another open
// the damaged copies.
func damageAll(t *testing.T, mode string) string {
	t.Helper()
	dir := t.TempDir()
	cmd, lines, _ := startChild(t, "corrupt-write", filepath.Join(dir, "outbox"))
	var acked bytes.Buffer
	for n := 0; lines.Scan(); n++ {
		switch {
		case strings.HasPrefix(lines.Text(), "error"):
			t.Fatal(lines.Text())
		case lines.Text() == "all forms":
			n = 0
			continue
		}
		fmt.Fprintln(&acked, lines.Text())
		if n == 1000 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	if err := os.WriteFile(filepath.Join(dir, "acked"), acked.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+mode+":"+dir)
	out, err := child.CombinedOutput()
	if err != nil {
		if mode == "damage" {
			t.Fatalf("the process died of damage: %v\n%s", err, excerpt(string(out[max(0, bytes.LastIndex(out, []byte("begin "))):])))
		}
		out = append(out, "died \n"...)
	}
	return string(out)
}

func excerpt(s string) string { return s[:min(len(s), 4000)] }

// damageChild opens one damaged copy after another and prints what came of it.
func damageChild(dir string, examine bool) int {
	acked, err := os.ReadFile(filepath.Join(dir, "acked"))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	random := rand.New(rand.NewPCG(7, 7))
	var work sync.WaitGroup
	slots := make(chan struct{}, 8)
	finished, pending, sealed, active := "00000001/*", "00000002/*", "00000003.log", "00000004.log"
	patterns := []string{
		"none", active, active, active, active, sealed, sealed, sealed, pending + ".mem", pending + ".mem", pending + ".mem",
		pending + ".sst", pending + ".sst", pending + ".sst", pending + "MANIFEST", finished + "MANIFEST", finished + ".sst", finished + ".sst",
		"STATE", "IDS", "*.vlog", "KEYREGISTRY", "DISCARD", "ENDPOINTS", "*.log",
	}
	if !examine {
		patterns = []string{finished + "MANIFEST", finished + ".sst", pending + ".sst"}
	}
	whole, err := readSnapshot(filepath.Join(dir, "outbox"))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for i, pattern := range patterns {
		for _, kind := range []string{"flip", "truncate", "delete"} {
			copied := filepath.Join(dir, fmt.Sprint("copy", i, kind))
			if err := whole.write(copied); err != nil {
				fmt.Println(err)
				return 1
			}
			what := spoil(random, copied, pattern, kind)
			slots <- struct{}{}
			work.Go(func() {
				fmt.Println("begin", what)
				fmt.Println(outcome(copied, string(acked), examine), "after", what)
				_ = os.RemoveAll(copied)
				<-slots
			})
		}
	}
	work.Wait()
	return 0
}

// spoil damages one file and says which. A pattern is that of a name, or of a
// name and that of its directory.
func spoil(random *rand.Rand, dir, pattern, kind string) string {
	var files []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, _ error) error {
		name := d.Name()
		if strings.Contains(pattern, "/") {
			name = filepath.Join(filepath.Base(filepath.Dir(path)), name)
		}
		if ok, _ := filepath.Match(pattern, name); ok {
			files = append(files, path)
		}
		return nil
	})
	if len(files) == 0 {
		return "nothing"
	}
	path := files[random.IntN(len(files))]
	b, _ := os.ReadFile(path)
	for range 5 { // some logs are empty
		if len(b) > 0 && len(bytes.TrimRight(b, "\x00")) > logHeader {
			break
		}
		path = files[random.IntN(len(files))]
		b, _ = os.ReadFile(path)
	}
	used := max(1, len(bytes.TrimRight(b, "\x00")))
	at := random.IntN(used)
	known := ""
	switch kind {
	case "flip":
		if len(b) > 0 {
			b[at] ^= 1 << random.IntN(8)
		}
		_ = os.WriteFile(path, b, 0o600)
	case "truncate":
		if strings.HasSuffix(path, logSuffix) && int64(at) >= syncedEnd(dir, path) {
			known = ", unknowable"
		}
		_ = os.Truncate(path, int64(at))
	case "delete":
		_ = os.Remove(path)
	}
	return fmt.Sprintf("%s of %s at %d of %d%s", kind, strings.TrimPrefix(path, dir), at, used, known)
}

// syncedEnd returns up to where the state knows a journal to be synced.
func syncedEnd(dir, path string) int64 {
	st, _, err := (&Outbox{dir: dir}).loadState()
	for _, s := range st.Segments {
		if err == nil && segmentName(s.N)+logSuffix == filepath.Base(path) {
			return s.Journal
		}
	}
	return 0
}

// outcome opens the outbox and looks for all that was acknowledged.
func outcome(dir, acked string, examine bool) string {
	small := corruptLimits
	small.tick, small.unexamined = -1, !examine
	o, err := Open(dir, Options{limits: small})
	if err != nil {
		return "refused " + oneLine(err)
	}
	defer o.Close()
	for range 100 {
		o.scrub()
	}
	if err := o.Usage().Err; err != nil {
		return "refused " + oneLine(err)
	}
	missing, lost, told := 0, 0, 0
	var first error
	for line := range strings.Lines(acked) {
		id, settled, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		e, ds, err := o.EventByID(context.Background(), id)
		switch {
		case err == nil && (!bytes.HasPrefix(e.Body, []byte(id+" ")) || len(ds) != 1):
			err = errors.New("is changed")
			lost++
		case err == nil && settled == "true" && ds[0].Status != storage.StatusDelivered:
			err = errors.New("is no longer settled")
		case errors.Is(err, storage.ErrNotFound):
			lost++
		case err != nil:
			told++
		}
		if err != nil {
			missing++
			if first == nil {
				first = fmt.Errorf("%s: %w", id, err)
			}
		}
	}
	if missing == 0 {
		return "complete"
	}
	if err := o.Usage().Err; err != nil {
		return "refused " + oneLine(err)
	}
	switch {
	case told == missing:
		return "refused to read " + oneLine(first)
	case lost == 0 && told == 0:
		return fmt.Sprintf("repeats %d, first %v", missing, first)
	}
	return fmt.Sprintf("silent loss of %d, first %v", missing, first)
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func init() {
	childModes["corrupt-write"] = corruptWriter
	childModes["damage"] = func(dir string) int { return damageChild(dir, true) }
	childModes["unexamined"] = func(dir string) int { return damageChild(dir, false) }
}
