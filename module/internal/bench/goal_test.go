//go:build linux

package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestGoals(t *testing.T) {
	t.Parallel()
	o := options{rounds: 3, duration: time.Second, backlog: 1_000_000, history: 10_000, sustain: time.Minute}
	rep := newReport(o)
	for _, v := range [][2]float64{{100, 200}, {300, 200}, {150, 100}} {
		rep.add(scenario{name: closed16}, sidecar, []figure{{"delivered", perSecond, v[0]}, {"CPU per delivery", micros, v[0]}})
		rep.add(scenario{name: closed16}, proxy, []figure{{"delivered", perSecond, v[1]}, {"CPU per delivery", micros, v[1]}})
	}
	rep.add(scenario{name: o.backlogName()}, sidecar, []figure{{"start to first delivery", millis, 2001}})
	rep.add(scenario{name: closed64}, sidecar, []figure{{"delivered", perSecond, 5}}) // without its peer
	got := rep.goals()
	for _, want := range []string{
		"| delivered/s, 16 senders | ≥ 1.00 × reverse_proxy | 1.50 × reverse_proxy | met |\n",
		"| CPU per delivery, 16 senders | ≤ 1.00 × reverse_proxy | 1.50 × reverse_proxy | **not met** |\n",
		"| 1,000,000 pending, then restart, first delivery | ≤ 2000 ms | 2001 ms | **not met** |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant it to contain %q", got, want)
		}
	}
	if n := strings.Count(got, "\n"); n != 5 {
		t.Errorf("got %d lines, want those of the three figures that were measured:\n%s", n, got)
	}
}

// TestGoalsNameScenarios fails when a goal is of no scenario.
func TestGoalsNameScenarios(t *testing.T) {
	t.Parallel()
	o := options{soak: time.Minute}
	for _, g := range o.goals() {
		found := false
		for _, sc := range o.scenarios() {
			found = found || sc.name == g.scenario
		}
		if !found {
			t.Errorf("%s: got scenario %q, want one that exists", g.what, g.scenario)
		}
	}
}

func TestFailure(t *testing.T) {
	t.Parallel()
	rep := newReport(options{})
	rep.add(scenario{name: "a"}, proxy, []figure{{"lost", count, 1}})
	rep.add(scenario{name: "a"}, sidecar, []figure{{"lost", count, 0}, {"doubled", count, 0}, {"delivered", perSecond, 3}})
	if err := rep.failure(); err != nil {
		t.Errorf("got %v, want none", err)
	}
	rep.add(scenario{name: "b"}, sidecar, []figure{{"lost", count, 0}})
	rep.add(scenario{name: "b"}, sidecar, []figure{{"lost", count, 2}})
	for _, want := range []string{`2 lost in "b"`, `3 doubled at a reload in "a"`} {
		if err := rep.failure(); !errors.Is(err, errFault) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %v: %s", err, errFault, want)
		}
		rep.rows = nil
		rep.add(scenario{name: "a"}, sidecar, []figure{{"lost", count, 0}, {"doubled at a reload", count, 3}})
	}
}

func TestParseGoroutines(t *testing.T) {
	t.Parallel()
	if got, err := parseGoroutines("goroutine profile: total 37\n12 @ 0x1\n"); got != 37 || err != nil {
		t.Errorf("got %d, %v, want 37", got, err)
	}
	if _, err := parseGoroutines("404 page not found"); err == nil {
		t.Error("of another text: got no error, want one")
	}
}

func TestThousands(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{7: "7", 100: "100", 1000: "1,000", 12345678: "12,345,678"} {
		if got := thousands(n); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
