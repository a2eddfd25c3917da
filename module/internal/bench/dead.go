//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// tarpit is a receiver that takes requests and never answers.
type tarpit struct {
	ln    net.Listener
	mu    sync.Mutex
	conns []net.Conn
	ended bool
	wg    sync.WaitGroup
}

func newTarpit() (*tarpit, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	tp := &tarpit{ln: ln}
	tp.wg.Go(tp.accept)
	return tp, nil
}

func (tp *tarpit) accept() {
	for {
		conn, err := tp.ln.Accept()
		if err != nil {
			return
		}
		tp.mu.Lock()
		if tp.ended {
			conn.Close()
		} else {
			tp.conns = append(tp.conns, conn)
			tp.wg.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(io.Discard, conn) // ends with the connection
			})
		}
		tp.mu.Unlock()
	}
}

func (tp *tarpit) close() {
	tp.ln.Close()
	tp.mu.Lock()
	tp.ended = true
	for _, conn := range tp.conns {
		conn.Close()
	}
	tp.mu.Unlock()
	tp.wg.Wait()
}

// deadRate is the events/s that each go to all the endpoints.
const deadRate = 20

// dead measures 99 endpoints alone, and beside one that hangs.
func dead(ctx context.Context, r *runner) ([]figure, error) {
	tp, err := newTarpit()
	if err != nil {
		return nil, err
	}
	defer tp.close()
	r.endpoints = 99
	alone, res, err := r.others(ctx, nil)
	if err != nil {
		return nil, err
	}
	hanging := fmt.Sprintf("hanging http://%s/99 {\n\t\t\ttimeout 5s\n\t\t}", tp.ln.Addr())
	beside, res2, err := r.others(ctx, []string{hanging})
	if err != nil {
		return nil, err
	}
	res2.lost += res.lost
	res2.doubled += res.doubled
	return append([]figure{
		{"arrival p50, without it", millis, ms(percentile(alone, 50))},
		{"arrival p50", millis, ms(percentile(beside, 50))},
		{"arrival p99, without it", millis, ms(percentile(alone, 99))},
		{"arrival p99", millis, ms(percentile(beside, 99))},
		{"arrival p99, with to without it", times, ms(percentile(beside, 99)) / ms(percentile(alone, 99))},
	}, faults(res2)...), nil
}

// others returns the time to every arrival at the endpoints that answer.
func (r *runner) others(ctx context.Context, extra []string) (each []time.Duration, res result, err error) {
	if err := r.start(ctx, config{receiver: r.receiver.addr(), endpoints: r.endpoints, extra: extra}); err != nil {
		return nil, res, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	ld := load{senders: 8, duration: max(r.duration/4, 100*time.Millisecond), rate: deadRate}
	if _, err = r.run(ctx, ld); err != nil {
		return nil, res, err
	}
	ld.duration = 2 * r.duration
	if res, err = r.run(ctx, ld); err != nil {
		return nil, res, err
	}
	return res.ledger.each(), res, nil
}
