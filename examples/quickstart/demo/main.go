// Command demo plays the quick start through: it starts the receiver and the
// sidecar with the Caddyfile, posts the example event, prints what the
// receiver got and what the history says, and ends both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// The ports of examples/quickstart/Caddyfile. They are fixed because people
// read it and use them by hand.
const (
	ingestAddr   = "127.0.0.1:28471"
	receiverAddr = "127.0.0.1:28472"
	adminAddr    = "localhost:28473"
)

// secret is the endpoints' secret; there is nothing to protect here.
const secret = "quickstart-only-not-secret"

func main() {
	caddy := flag.String("caddy", "./caddy", "the sidecar's binary")
	receiver := flag.String("receiver", "", "the demo receiver's binary")
	dir := flag.String("dir", "examples/quickstart", "folder of the Caddyfile and the event")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := run(ctx, *caddy, *receiver, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "quick start:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, caddy, receiver, dir string) (err error) {
	if err := portsFree(); err != nil {
		return err
	}
	state, err := os.MkdirTemp("", "caddy-webhooks-quickstart-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(state)) }()

	env := append(os.Environ(),
		"WEBHOOK_SECRET="+secret,
		"QUICKSTART_OUTBOX="+filepath.Join(state, "outbox"),
		"XDG_DATA_HOME="+filepath.Join(state, "data"),
		"XDG_CONFIG_HOME="+filepath.Join(state, "config"),
	)
	rp, err := start(env, os.Stdout, receiver)
	if err != nil {
		return err
	}
	defer rp.end()
	if err := rp.waitFor(ctx, "tcp", receiverAddr); err != nil {
		return err
	}

	logFile, err := os.Create(filepath.Join(state, "caddy.log"))
	if err != nil {
		return err
	}
	defer logFile.Close()
	sidecar, err := start(env, logFile, caddy, "run", "--config", filepath.Join(dir, "Caddyfile"), "--adapter", "caddyfile")
	if err != nil {
		return err
	}
	defer func() {
		sidecar.end()
		if err != nil {
			printLog(logFile.Name())
		}
	}()
	if err := sidecar.waitFor(ctx, "tcp", ingestAddr); err != nil {
		return err
	}
	return deliver(ctx, filepath.Join(dir, "event.json"))
}

// portsFree says clearly what is wrong when something listens on our ports.
func portsFree() error {
	for _, addr := range []string{ingestAddr, receiverAddr, adminAddr} {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			return fmt.Errorf("something else uses %s, which the quick start needs (is another quick start running?): %w", addr, err)
		}
		if err := ln.Close(); err != nil {
			return err
		}
	}
	return nil
}

func printLog(name string) {
	b, err := os.ReadFile(name)
	if err != nil {
		return
	}
	fmt.Fprintf(os.Stderr, "the sidecar's log:\n%s\n", b)
}
