package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// endTimeout is how long a process may take to end after SIGTERM.
const endTimeout = 15 * time.Second

// process is a program that the demo started and must end.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // why, after done
}

// start runs a program in the background with its output to out.
func start(env []string, out io.Writer, path string, args ...string) (*process, error) {
	p := &process{name: filepath.Base(path), done: make(chan struct{})}
	p.cmd = exec.Command(path, args...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, out, out
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	return p, nil
}

// waitFor returns when the process accepts connections at the address.
func (p *process) waitFor(ctx context.Context, network, addr string) error {
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended early: %w", p.name, p.err)
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s at %s: %w", p.name, addr, errors.Join(ctx.Err(), err))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// end asks the process to end, and kills it if it does not.
func (p *process) end() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.done:
	case <-time.After(endTimeout):
		fmt.Fprintf(os.Stderr, "%s does not end; killing it\n", p.name)
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}
