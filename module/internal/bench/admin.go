//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// admin is a client of a process's admin endpoint.
type admin struct{ client *http.Client }

func (p *process) admin() admin {
	socket := filepath.Join(p.dir, "admin.sock")
	return admin{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
}

func (a admin) close() { a.client.CloseIdleConnections() }

// ask makes a request and returns the body of a successful answer.
func (a admin) ask(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "text/caddyfile")
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: got status %d: %s", method, path, resp.StatusCode, b)
	}
	return b, err
}

// ready returns when the sidecar has opened its outbox: Caddy may listen
// before that, and events then wait, but the management API answers 503.
func (a admin) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		_, err := a.ask(ctx, http.MethodGet, "/webhooks/status", nil)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the management API: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// goroutines is how many the process has.
func (a admin) goroutines(ctx context.Context) (int, error) {
	b, err := a.ask(ctx, http.MethodGet, "/debug/pprof/goroutine?debug=1", nil)
	if err != nil {
		return 0, err
	}
	return parseGoroutines(string(b))
}

func parseGoroutines(profile string) (int, error) {
	line, _, _ := strings.Cut(profile, "\n")
	n, err := strconv.Atoi(strings.TrimPrefix(line, "goroutine profile: total "))
	if err != nil {
		return 0, fmt.Errorf("reading the profile of goroutines: %w", err)
	}
	return n, nil
}
