//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"time"
)

// The processes under test get a signal when the thread that started them
// ends, so all are started by this one.
func init() { runtime.LockOSThread() }

// options are the command's flags.
type options struct {
	caddy    string
	dir      string
	output   string
	only     *regexp.Regexp
	rounds   int
	duration time.Duration

	sustain, soak    time.Duration
	backlog, history int
	span             time.Duration
}

func main() {
	var o options
	var only string
	flag.StringVar(&o.caddy, "caddy", "", "binary under test; built by xcaddy.sh if empty")
	flag.StringVar(&o.dir, "dir", "", "folder for the outboxes; it decides which disk is measured (default: the current folder)")
	flag.StringVar(&o.output, "output", "", "file for the table, besides standard output")
	flag.StringVar(&only, "only", "", "run only scenarios whose name matches this regular expression")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds; each measures every scenario with every subject")
	flag.DurationVar(&o.duration, "duration", 5*time.Second, "how long each scenario sends")
	flag.DurationVar(&o.sustain, "sustain", 0, "how long 80 % of the peak are sustained; 10m is the full length (default: four times -duration)")
	flag.IntVar(&o.backlog, "backlog", 50_000, "pending deliveries on disk at the start; 1000000 is the full size")
	flag.IntVar(&o.history, "history", 100_000, "finished deliveries to list; 10000000 is the full size")
	flag.DurationVar(&o.span, "span", 10*time.Minute, "time over which -history is spread: 720h makes a segment for every hour")
	flag.DurationVar(&o.soak, "soak", 0, "soak under reloads and failing receivers for so long; 20m is the full length (default: none)")
	flag.Parse()
	if o.sustain == 0 {
		o.sustain = 4 * o.duration
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := func() (err error) {
		if o.only, err = regexp.Compile(only); err != nil {
			return fmt.Errorf("reading -only: %w", err)
		}
		if o.rounds < 1 || o.duration < 100*time.Millisecond {
			return errors.New("need at least one round and a duration of 100ms")
		}
		if o.sustain < o.duration/2 || o.soak < 0 || o.backlog < 2_000 || o.history < 10_000 || o.span <= 0 {
			return errors.New("need -sustain of half a -duration, -backlog of 2000, -history of 10000, -span above 0")
		}
		return run(ctx, o)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.caddy, err = binary(ctx, o.caddy); err != nil {
		return err
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return err
	}
	rep := newReport(o)
	measured := rep.measure(ctx)
	// What was measured before a failure is worth reading.
	table := rep.markdown()
	fmt.Print(table)
	if o.output != "" {
		if err := os.WriteFile(o.output, []byte(table), 0o644); err != nil {
			return errors.Join(measured, err)
		}
	}
	return errors.Join(measured, rep.failure())
}

// measure runs all scenarios in all rounds.
func (rep *report) measure(ctx context.Context) error {
	o := rep.o
	for round := range o.rounds {
		for _, sc := range o.scenarios() {
			if !o.only.MatchString(sc.name) || sc.once && round > 0 {
				continue
			}
			for _, subj := range turns(round) {
				if sc.sidecarOnly && subj != sidecar {
					continue
				}
				fmt.Fprintf(os.Stderr, "round %d of %d: %s, %s\n", round+1, o.rounds, sc.name, subj)
				figures, err := measure(ctx, o, sc, subj)
				if err != nil {
					return fmt.Errorf("measuring %q with %s: %w", sc.name, subj, err)
				}
				rep.add(sc, subj, figures)
			}
		}
	}
	return nil
}

// turns orders the subjects, so that neither always runs first.
func turns(round int) []subject {
	if round%2 == 0 {
		return []subject{sidecar, proxy}
	}
	return []subject{proxy, sidecar}
}

// measure runs one scenario with one subject in a process of its own.
func measure(ctx context.Context, o options, sc scenario, subj subject) (figures []figure, err error) {
	dir, err := os.MkdirTemp(o.dir, ".bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	rc, err := listen()
	if err != nil {
		return nil, err
	}
	defer rc.close()

	r := &runner{options: o, dir: dir, receiver: rc, subject: subj, endpoints: max(sc.endpoints, 1), duration: o.duration}
	defer func() { err = errors.Join(err, r.stop()) }()
	if !sc.starts {
		if err := r.start(ctx, config{receiver: rc.addr(), endpoints: r.endpoints}); err != nil {
			return nil, err
		}
	}
	return sc.run(ctx, r)
}

// binary returns the binary under test, building it if none is given.
func binary(ctx context.Context, path string) (string, error) {
	if path != "" {
		return filepath.Abs(path)
	}
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("finding the checkout (give -caddy outside of it): %w", err)
	}
	root := string(out[:max(len(out)-1, 0)])
	build := exec.CommandContext(ctx, filepath.Join(root, "xcaddy.sh"), "version")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("building the sidecar: %w", err)
	}
	return filepath.Join(root, "caddy"), nil
}
