package badger

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// childEnv makes the test binary a process that writes to the outbox named
// by it, or that only holds it.
const childEnv = "OUTBOX_TEST_CHILD"

// childModes are what else a child can do.
var childModes = map[string]func(dir string) int{}

func TestMain(m *testing.M) {
	if mode, dir, ok := strings.Cut(os.Getenv(childEnv), ":"); ok {
		if f := childModes[mode]; f != nil {
			os.Exit(f(dir))
		}
		os.Exit(child(mode, dir))
	}
	os.Exit(m.Run())
}

// childLimits are those of a child that writes, by mode. In mode "pack" it
// seals and packs all the time.
var childLimits = map[string]limits{
	"write": {deliveries: 500, drain: 1},
	"early": {deliveries: 500, drain: 1},
	"pack":  {deliveries: 60, drain: 1, tick: time.Millisecond, reserve: -1},
}

// child accepts and settles for ever and prints what was acknowledged.
func child(mode, dir string) int {
	o, err := Open(dir, Options{limits: childLimits[mode]})
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	if mode == "hold" {
		fmt.Println("ready")
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = o.Close()
		return 0
	}
	w := childWriter{o: o, early: mode == "early"}
	if mode == "pack" {
		w.delay = 15
	}
	for c := range 8 {
		go w.run(c)
	}
	select {}
}

type childWriter struct {
	o *Outbox
	// delay is how many events later a delivery is settled, by which time its
	// segment may be packed.
	delay int
	// early acknowledges events before they are stored.
	early bool
	mu    sync.Mutex
}

func (w *childWriter) say(what, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Println(what, id)
}

func (w *childWriter) run(c int) {
	var waiting []storage.DeliveryID
	for i := 0; ; i++ {
		id := fmt.Sprintf("%d-%d-%d", os.Getpid(), c, i)
		if w.early {
			w.say("accepted", fmt.Sprintf("%d-%d-%d", os.Getpid(), c, i+100))
		}
		a, err := w.o.Accept(ctxOfChild, []storage.NewEvent{{ID: id, Type: "t", Body: []byte(id), Endpoints: []string{"x", "y"}}})
		if err != nil {
			w.say("error", err.Error())
			return
		}
		if !w.early {
			w.say("accepted", id)
		}
		if waiting = append(waiting, a[0].Key.Delivery(0)); w.delay > 0 {
			waiting = append(waiting, a[0].Key.Delivery(1))
		} else if i%2 != 0 {
			waiting = waiting[:0]
		}
		for len(waiting) > 2*w.delay {
			d := waiting[0]
			waiting = waiting[1:]
			err := w.o.Settle(ctxOfChild, []storage.Settlement{{Delivery: d, Attempt: &storage.Attempt{Number: 1}, Status: storage.StatusDelivered}})
			if err != nil {
				w.say("error", err.Error())
				return
			}
			w.say("settled", d.String())
		}
	}
}

func startChild(t *testing.T, mode, dir string) (*exec.Cmd, *bufio.Scanner, io.Closer) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+mode+":"+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, bufio.NewScanner(out), in
}

// TestKill kills a writing process again and again: all that it acknowledged
// must be there.
func TestKill(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		mode          string
		kills, packed int
	}{
		{"write", 4, 0},
		{"pack", 5, 10},
	} {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			killAgainAndAgain(t, test.mode, test.kills, test.packed)
		})
	}
}

// TestKillSeesWhatIsLost has a process acknowledge events before they are
// stored, which TestKill must notice.
func TestKillSeesWhatIsLost(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "outbox")
	accepted, _ := killed(t, dir, "early", 4)
	o := open(t, dir, Options{})
	lost := 0
	for id := range accepted {
		if isLost(t, o, id) {
			lost++
		}
	}
	if lost == 0 {
		t.Errorf("got none of %d events lost, want some", len(accepted))
	}
}

// isLost says whether an event that was acknowledged is not there as a whole.
func isLost(t *testing.T, o *Outbox, id string) bool {
	e, ds, err := o.EventByID(t.Context(), id)
	return err != nil || string(e.Body) != id || len(ds) != 2
}

// killed kills a process that writes again and again, and returns what it had
// acknowledged.
func killed(t *testing.T, dir, mode string, kills int) (accepted, settled map[string]bool) {
	t.Helper()
	accepted, settled = map[string]bool{}, map[string]bool{}
	for round := range kills {
		cmd, lines, _ := startChild(t, mode, dir)
		for n := 0; lines.Scan(); n++ {
			what, id, _ := strings.Cut(lines.Text(), " ")
			switch what {
			case "accepted":
				accepted[id] = true
			case "settled":
				settled[id] = true
			default:
				t.Fatalf("round %d: the process said %q", round, lines.Text())
			}
			if n == 600+100*round {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait()
	}
	return accepted, settled
}

// killAgainAndAgain wants that many segments to have been packed.
func killAgainAndAgain(t *testing.T, mode string, kills, packed int) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "outbox")
	accepted, settled := killed(t, dir, mode, kills)
	o := open(t, dir, Options{})
	if err := o.Usage().Err; err != nil {
		t.Fatalf("opening after the kills: %v", err)
	}
	for id := range accepted {
		if isLost(t, o, id) {
			t.Fatalf("accepted event %s is lost", id)
		}
	}
	for id := range settled {
		d, as, err := o.Delivery(t.Context(), parseID(t, id))
		if err != nil || d.Status != storage.StatusDelivered || len(as) != 1 {
			t.Fatalf("settled delivery %s: got %+v, %v", id, d, err)
		}
	}
	n := 0
	for _, s := range *o.segments.Load() {
		if s.isPacked() {
			n++
		}
	}
	t.Logf("%d events accepted, %d deliveries settled, %d of %d segments packed", len(accepted), len(settled), n, len(*o.segments.Load()))
	if len(*o.segments.Load()) < 3 || n < packed {
		t.Errorf("got %d segments, %d of them packed, want several, or nothing was tried", len(*o.segments.Load()), n)
	}
}

func TestSecondProcess(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("locks by a file")
	}
	dir := filepath.Join(t.TempDir(), "outbox")
	cmd, lines, in := startChild(t, "hold", dir)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the first process said %q", lines.Text())
	}
	_, err := Open(dir, Options{})
	if !errors.Is(err, storage.ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint(cmd.Process.Pid)) || !strings.Contains(err.Error(), dir) {
		t.Errorf("got error %v, want one that wraps ErrInUse and names process %d and %s", err, cmd.Process.Pid, dir)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the first process ended with %v", err)
	}
	open(t, dir, Options{})
}

func TestSameProcessTwice(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "outbox")
	open(t, dir, Options{})
	if _, err := Open(dir, Options{}); !errors.Is(err, storage.ErrInUse) {
		t.Errorf("got error %v, want ErrInUse", err)
	}
}
