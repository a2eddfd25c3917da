//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	startTimeout = 20 * time.Second
	stopTimeout  = 20 * time.Second

	// clockTicks is USER_HZ, the unit of times in /proc/PID/stat: 100 on
	// every architecture that Go supports.
	clockTicks = 100
)

// process is a process under test.
type process struct {
	cmd     *exec.Cmd
	addr    string // where it takes events
	dir     string
	started time.Time
	done    chan struct{}
	err     error // of the process, after done
}

// startProcess starts a subject and returns when it accepts connections.
func startProcess(ctx context.Context, caddy, dir string, subj subject, c config) (*process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(c.caddyfile(subj, addr, dir)), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()

	p := &process{addr: addr, dir: dir, started: time.Now(), done: make(chan struct{})}
	p.cmd = exec.Command(caddy, "run", "--config", file, "--adapter", "caddyfile")
	p.cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "HOME="+dir,
		"BENCH_SECRET=bench-only-bench-only-bench-only")
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// A group of its own, so that Ctrl-C leaves ending it to stop; and should
	// this process be killed, it goes too.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	if err := p.ready(ctx); err != nil {
		return nil, errors.Join(err, p.stop(), errors.New(p.log()))
	}
	return p, nil
}

// freeAddr finds a free port. Another process may take it before the one
// under test does, which then fails to start.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

func (p *process) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("the process ended early: %w", p.err)
		case <-ctx.Done():
			return fmt.Errorf("waiting for the process: %w", errors.Join(ctx.Err(), err))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// log returns the end of what the process said.
func (p *process) log() string {
	b, err := os.ReadFile(filepath.Join(p.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return "its log ends:\n" + string(b[max(len(b)-4096, 0):])
}

// stop ends the process and waits for it.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("the process did not end within %s of SIGTERM", stopTimeout)
	}
	if p.err != nil {
		return fmt.Errorf("the process failed: %w; %s", p.err, p.log())
	}
	return nil
}

// cpu is the CPU time that the process has used, in user and system mode.
func (p *process) cpu() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	return parseStat(b)
}

func parseStat(b []byte) (time.Duration, error) {
	// The name of the program, in parentheses, may hold anything.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("/proc/PID/stat has too few fields")
	}
	var ticks int64
	for _, f := range fields[11:13] { // utime and stime, fields 14 and 15
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading /proc/PID/stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / clockTicks, nil
}

// pss is the proportional set size of the process, in bytes.
func (p *process) pss() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	return parsePSS(b)
}

func parsePSS(b []byte) (int64, error) {
	sc := bufio.NewScanner(bytes.NewReader(b))
	for sc.Scan() {
		if rest, ok := strings.CutPrefix(sc.Text(), "Pss:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("reading smaps_rollup: %w", err)
			}
			return kib << 10, nil
		}
	}
	return 0, errors.New("smaps_rollup has no line Pss")
}

// outboxSize is the space that the outbox of a process in dir occupies on
// disk. The file that is kept to be given up on a full disk is no record.
func outboxSize(dir string) (int64, error) {
	var size int64
	err := filepath.WalkDir(filepath.Join(dir, "outbox"), func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "RESERVE" {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			size += st.Blocks * 512 // what is allocated, not the length
		}
		return nil
	})
	return size, err
}
