//go:build linux

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report collects the rounds.
type report struct {
	o       options
	started time.Time
	rows    []*row
}

// row is one figure of one scenario.
type row struct {
	scenario, figure string
	unit             unit
	values           map[subject][]float64 // one for each round
}

func newReport(o options) *report { return &report{o: o, started: time.Now()} }

func (rep *report) add(sc scenario, subj subject, figures []figure) {
	for _, f := range figures {
		r := rep.row(sc.name, f)
		r.values[subj] = append(r.values[subj], f.value)
	}
}

func (rep *report) row(scenario string, f figure) *row {
	last := len(rep.rows)
	for i, r := range rep.rows {
		if r.scenario != scenario {
			continue
		}
		if r.figure == f.name {
			return r
		}
		last = i + 1
	}
	r := &row{scenario: scenario, figure: f.name, unit: f.unit, values: make(map[subject][]float64)}
	// A figure that only the second subject has still stands in its scenario.
	rep.rows = append(rep.rows[:last], append([]*row{r}, rep.rows[last:]...)...)
	return r
}

// index finds a figure's row, or answers -1.
func (rep *report) index(scenario, figure string) int {
	return slices.IndexFunc(rep.rows, func(r *row) bool { return r.scenario == scenario && r.figure == figure })
}

// markdown prints the tables: what is to be reached, and all figures. A ratio is the median of the rounds' ratios,
// because the two subjects of one round met the same machine.
func (rep *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d cores (%s), %s, Caddy %s. Rounds: %d, each sending for %s; median (lowest–highest).\n\n",
		rep.started.Format("2 January 2006"), runtime.NumCPU(), processor(), runtime.Version(), caddyVersion(rep.o.caddy),
		rep.o.rounds, rep.o.duration)
	b.WriteString(rep.goals())
	fmt.Fprintf(&b, "\n| | %s | %s | ratio |\n|---|--:|--:|--:|\n", sidecar, proxy)
	scenario := ""
	for _, r := range rep.rows {
		if r.scenario != scenario {
			scenario = r.scenario
			fmt.Fprintf(&b, "| **%s** | | | |\n", scenario)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.figure, r.cell(sidecar), r.cell(proxy), r.ratio())
	}
	return b.String()
}

func (r *row) cell(s subject) string {
	values := r.values[s]
	if len(values) == 0 {
		return "–"
	}
	low, high := values[0], values[0]
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	sep := " "
	if r.unit == perSecond || r.unit == count {
		sep = ""
	}
	return fmt.Sprintf("%s%s%s (%s–%s)", r.unit.format(median(values)), sep, r.unit, r.unit.format(low), r.unit.format(high))
}

// median is that of the sidecar's values or of the rounds' ratios; false if
// there is none.
func (r *row) median(ratio bool) (float64, bool) {
	ours, theirs := r.values[sidecar], r.values[proxy]
	if len(ours) == 0 {
		return 0, false
	}
	if !ratio {
		return median(ours), true
	}
	if len(ours) != len(theirs) {
		return 0, false
	}
	ratios := make([]float64, 0, len(ours))
	for i := range ours {
		if theirs[i] == 0 {
			return 0, false
		}
		ratios = append(ratios, ours[i]/theirs[i])
	}
	return median(ratios), true
}

func (r *row) ratio() string {
	ratio, ok := r.median(true)
	if r.unit == count || !ok {
		return ""
	}
	return fmt.Sprintf("%.2f", ratio)
}

func caddyVersion(caddy string) string {
	out, err := exec.Command(caddy, "version").Output()
	if err != nil {
		return "(unknown version)"
	}
	version, _, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	return version
}

// processor names the processor, as far as the system tells.
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		if name, value, ok := strings.Cut(sc.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
