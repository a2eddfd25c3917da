package badger

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
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

// corruptLimits make tables, logs, sealed and finished segments of little
// data.
var corruptLimits = limits{
	deliveries: 400, memTable: 1 << 20, smallMemTable: 256 << 10, drain: 1,
	tick: 50 * time.Millisecond, reserve: -1,
}

// TestDamage damages, at seeded places, copies of what a killed process left.
// Each must open completely, or refuse to with a message that names what is
// damaged, or open for reading and say so; no process may die of it.
func TestDamage(t *testing.T) {
	t.Parallel()
	out := damageAll(t, "damage")
	complete, refused := 0, 0
	for line := range strings.SplitSeq(out, "\n") {
		what, rest, _ := strings.Cut(line, " ")
		switch what {
		case "complete":
			complete++
		case "refused":
			refused++
			if !strings.Contains(rest, "segment") && !strings.Contains(rest, "STATE") {
				t.Errorf("a message that does not say where: %s", rest)
			}
		case "silent":
			t.Error(rest)
		case "repeats":
			// A log of a sealed segment holds settlements only. When it is
			// deleted as a whole, what they settled is delivered again.
			if !strings.Contains(rest, "delete of") {
				t.Error(rest)
			}
		}
	}
	t.Logf("%d complete, %d refused:\n%s", complete, refused, out)
	if complete == 0 || refused < 20 {
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
		if strings.HasPrefix(lines.Text(), "error") {
			t.Fatal(lines.Text())
		}
		fmt.Fprintln(&acked, lines.Text())
		if n == 1500 {
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

// corruptWriter accepts and settles until it is killed.
func corruptWriter(dir string) int {
	o, err := Open(dir, Options{limits: corruptLimits})
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	out := bufio.NewWriter(os.Stdout)
	var mu sync.Mutex
	for c := range 8 {
		go func() {
			random := rand.New(rand.NewPCG(uint64(c), 1))
			body := make([]byte, 400)
			for i := 0; ; i++ {
				for j := range body {
					body[j] = byte(random.Uint32())
				}
				id := fmt.Sprintf("%d-%d", c, i)
				a, err := o.Accept(context.Background(), []storage.NewEvent{{ID: id, Type: "t", Body: append([]byte(id+" "), body...), Endpoints: []string{"x"}}})
				if err == nil && i%50 != 7 {
					err = o.Settle(context.Background(), []storage.Settlement{{Delivery: a[0].Key.Delivery(0), Attempt: &storage.Attempt{Number: 1}, Status: storage.StatusDelivered}})
				}
				mu.Lock()
				if err != nil {
					fmt.Fprintln(out, "error", err)
				}
				fmt.Fprintln(out, id, i%50 != 7)
				_ = out.Flush()
				mu.Unlock()
			}
		}()
	}
	select {}
}

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
	patterns := []string{
		"none", "*.mem", "*.sst", "MANIFEST", "*.mem", "*.sst", "*.mem", "*.sst", "MANIFEST", "STATE", "*.mem", "*.sst",
		"*.mem", "*.sst", "IDS", "*.vlog", "KEYREGISTRY", "DISCARD", "*.mem", "*.sst", "MANIFEST", "ENDPOINTS",
	}
	if !examine {
		patterns = []string{"*.mem", "*.sst", "*.sst"}
	}
	for i, pattern := range patterns {
		for _, kind := range []string{"flip", "truncate", "delete"} {
			copied := filepath.Join(dir, fmt.Sprint("copy", i, kind))
			if err := os.CopyFS(copied, os.DirFS(filepath.Join(dir, "outbox"))); err != nil {
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

// spoil damages one file and says which.
func spoil(random *rand.Rand, dir, pattern, kind string) string {
	var files []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, _ error) error {
		if ok, _ := filepath.Match(pattern, d.Name()); ok {
			files = append(files, path)
		}
		return os.Chmod(path, 0o700)
	})
	if len(files) == 0 {
		return "nothing"
	}
	path := files[random.IntN(len(files))]
	b, _ := os.ReadFile(path)
	for range 5 { // most logs are empty
		if len(b) > 0 && len(bytes.TrimRight(b, "\x00")) > logHeader {
			break
		}
		path = files[random.IntN(len(files))]
		b, _ = os.ReadFile(path)
	}
	used := max(1, len(bytes.TrimRight(b, "\x00")))
	at := random.IntN(used)
	switch kind {
	case "flip":
		if len(b) > 0 {
			b[at] ^= 1 << random.IntN(8)
		}
		_ = os.WriteFile(path, b, 0o600)
	case "truncate":
		_ = os.Truncate(path, int64(at))
	case "delete":
		_ = os.Remove(path)
	}
	return fmt.Sprintf("%s of %s at %d of %d", kind, strings.TrimPrefix(path, dir), at, used)
}

// copyOf copies the files of an outbox that is in use, which is what a kill
// would leave.
func copyOf(t *testing.T, o *Outbox) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "outbox")
	if err := os.CopyFS(dir, os.DirFS(o.dir)); err != nil {
		t.Fatal(err)
	}
	for path := range filesOf(dir) {
		if err := os.Chmod(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func filesOf(dir string) iter.Seq[string] {
	return func(yield func(string) bool) {
		_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err == nil && !yield(path) {
				return fs.SkipAll
			}
			return err
		})
	}
}

// TestDamageAccepted goes on with what is left, and keeps what is damaged.
func TestDamageAccepted(t *testing.T) {
	t.Parallel()
	o := open(t, filepath.Join(t.TempDir(), "outbox"), Options{limits: limits{memTable: 1 << 20, tick: -1}})
	body := make([]byte, 50<<10)
	var keys []storage.EventKey
	random := rand.New(rand.NewPCG(1, 1))
	for i := 0; i < 30 || o.active.Load().oldestLog() != 0; i++ {
		for j := range body {
			body[j] = byte(random.Uint32())
		}
		got, err := o.Accept(t.Context(), []storage.NewEvent{{ID: fmt.Sprint(i), Type: "t", Body: body, Endpoints: []string{"x"}}})
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, got[0].Key)
	}
	o.tidy()
	for _, test := range []struct {
		name, pattern string
		kind          func(path string, b []byte) error
		loses, keeps  bool
	}{
		{"log", "*.mem", flipMiddle, true, true},
		{"table", "*.sst", flipMiddle, true, true},
		{"manifest", "MANIFEST", func(path string, b []byte) error { return os.Truncate(path, int64(len(b)-2)) }, false, true},
		{"state", "STATE", flipMiddle, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := copyOf(t, o)
			for path := range filesOf(dir) {
				if ok, _ := filepath.Match(test.pattern, filepath.Base(path)); !ok {
					continue
				}
				b, err := os.ReadFile(path)
				if err == nil {
					err = test.kind(path, b)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			refused, err := Open(dir, Options{limits: limits{tick: -1}})
			if err == nil {
				err = refused.Usage().Err
				if err := refused.Close(); err != nil {
					t.Error(err)
				}
			}
			if err == nil || !strings.Contains(err.Error(), strings.Trim(test.pattern, "*")) {
				t.Fatalf("got error %v, want one that names the file", err)
			}
			again := open(t, dir, Options{AcceptDataLoss: true, limits: limits{memTable: 1 << 20, tick: -1}})
			if err := again.Usage().Err; err != nil {
				t.Fatalf("accepting the loss: got %v", err)
			}
			left := 0
			for _, key := range keys {
				if _, err := again.Event(t.Context(), key); err == nil {
					left++
				}
			}
			if left == 0 || test.loses != (left < len(keys)) {
				t.Errorf("got %d of %d events", left, len(keys))
			}
			kept := 0
			for path := range filesOf(dir) {
				if strings.HasSuffix(path, ".damaged") {
					kept++
				}
			}
			if test.keeps != (kept > 0) {
				t.Errorf("got %d damaged files kept", kept)
			}
			accept(t, again, "new", "x")
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
			if err := open(t, dir, Options{limits: limits{tick: -1}}).Usage().Err; err != nil {
				t.Errorf("afterwards: got %v", err)
			}
		})
	}
}

func flipMiddle(path string, b []byte) error {
	b[len(bytes.TrimRight(b, "\x00"))/2] ^= 1
	return os.WriteFile(path, b, 0o600)
}

// TestFlushFails lets a memtable not become a table, over which Badger only
// shrugs: the outbox must say so, and must not wait for it to close.
func TestFlushFails(t *testing.T) {
	t.Parallel()
	c := newClock()
	o := open(t, filepath.Join(t.TempDir(), "outbox"), Options{Now: c.Now, limits: limits{memTable: 1 << 20, tick: -1}})
	s := o.active.Load()
	for id := range uint64(100) { // the names that the tables would get
		if err := os.WriteFile(tableName(s.dir, id), []byte("in the way"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	body := make([]byte, 50<<10)
	for i := 0; s.oldestLog() == 0; i++ {
		if _, err := o.Accept(t.Context(), []storage.NewEvent{{ID: fmt.Sprint(i), Body: body, Endpoints: []string{"x"}}}); err != nil {
			t.Fatal(err)
		}
	}
	o.tidy()
	c.advance(maxFlush / 2)
	o.tidy()
	if err := o.Usage().Err; err != nil {
		t.Errorf("before the time: got %v", err)
	}
	c.advance(maxFlush)
	o.tidy()
	if err := o.Usage().Err; !errors.Is(err, storage.ErrFailed) || !strings.Contains(err.Error(), ".mem") {
		t.Errorf("got error %v, want one that names the log", err)
	}
	if _, err := o.Accept(t.Context(), []storage.NewEvent{{ID: "late"}}); !errors.Is(err, storage.ErrFailed) {
		t.Errorf("accepting: got error %v, want ErrFailed", err)
	}
	s.use.Lock()
	err := s.close()
	s.use.Unlock()
	if err == nil || !strings.Contains(err.Error(), "cannot be written") {
		t.Errorf("closing: got %v, want an error", err)
	}
	for id := range uint64(100) {
		if err := os.Remove(tableName(s.dir, id)); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); s.oldestLog() != 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond) // Badger tries once a second
	}
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
	missing, lost := 0, 0
	var first error
	for line := range strings.Lines(acked) {
		id, settled, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		e, ds, err := o.EventByID(context.Background(), id)
		if err == nil && (!bytes.HasPrefix(e.Body, []byte(id+" ")) || len(ds) != 1) {
			err = errors.New("is changed")
		}
		if err == nil && settled == "true" && ds[0].Status != storage.StatusDelivered {
			err = errors.New("is no longer settled")
		}
		if err != nil {
			missing++
			if e == nil || !strings.Contains(err.Error(), "no longer settled") {
				lost++
			}
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
	if lost == 0 {
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
