//go:build linux

package main

import (
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	t.Parallel()
	rep := newReport(options{caddy: "/nonexistent", rounds: 3, duration: time.Second})
	sc := scenario{name: "closed"}
	for _, v := range [][2]float64{{100, 200}, {300, 200}, {150, 100}} {
		rep.add(sc, sidecar, []figure{{"delivered", perSecond, v[0]}, {"disk", kibibytes, 1.5}, {"lost", count, 0}})
		rep.add(sc, proxy, []figure{{"delivered", perSecond, v[1]}, {"lost", count, 0}})
	}
	got := rep.markdown()
	for _, want := range []string{
		"| | webhooks | reverse_proxy | ratio |\n",
		"| **closed** | | | |\n",
		"| delivered | 150/s (100–300) | 200/s (100–200) | 1.50 |\n",
		"| disk | 1.50 KiB (1.50–1.50) | – |  |\n",
		"| lost | 0 (0–0) | 0 (0–0) |  |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant it to contain %q", got, want)
		}
	}
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	stat := "4711 (a) b (c) S 1 4711 4711 0 -1 4194560 2000 0 10 0 150 50 0 0 20 0 8 0 100 1 2 3"
	got, err := parseStat([]byte(stat))
	if err != nil || got != 2*time.Second {
		t.Errorf("got %s, %v, want 2s", got, err)
	}
	if _, err := parseStat([]byte("4711 (a) S 1")); err == nil {
		t.Error("of a short line: got no error, want one")
	}
}

func TestParsePSS(t *testing.T) {
	t.Parallel()
	got, err := parsePSS([]byte("00400000-7ffc ---p 00000000 00:00 0 [rollup]\nRss:  50000 kB\nPss:               41234 kB\nPss_Dirty: 1 kB\n"))
	if err != nil || got != 41234<<10 {
		t.Errorf("got %d, %v, want %d", got, err, 41234<<10)
	}
	if _, err := parsePSS([]byte("Rss: 1 kB\n")); err == nil {
		t.Error("without the line: got no error, want one")
	}
}
