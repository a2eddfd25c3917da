//go:build linux

package main

import "context"

// disk measures what finished deliveries occupy, once their outbox was closed.
func disk(ctx context.Context, r *runner) ([]figure, error) {
	res, err := r.run(ctx, load{senders: 64, duration: r.duration})
	if err != nil {
		return nil, err
	}
	if err := r.stop(); err != nil {
		return nil, err
	}
	size, err := outboxSize(r.dir)
	if err != nil {
		return nil, err
	}
	return append([]figure{
		{"disk per delivery", kibibytes, float64(size) / float64(max(len(res.arrivals), 1)) / 1024},
	}, faults(res)...), nil
}
