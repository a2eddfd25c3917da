//go:build linux

package main

import (
	"errors"
	"fmt"
	"strings"
)

// goal is a bar for one figure.
type goal struct {
	what             string
	scenario, figure string
	ratio            bool // to the proxy, not the value itself
	least            bool // the bar is the least, not the most
	bar              float64
}

// goals are the table of figures to reach.
func (o options) goals() []goal {
	soaked := o.soakName()
	all := []goal{
		{"delivered/s, 16 senders", closed16, "delivered", true, true, 1},
		{"delivered/s, 64 senders", closed64, "delivered", true, true, 1},
		{"CPU per delivery, 16 senders", closed16, "CPU per delivery", true, false, 1},
		{"CPU per delivery, 64 senders", closed64, "CPU per delivery", true, false, 1},
		{"POST to arrival, 50/s, p50", open50, "arrival p50", true, false, 1.5},
		{"POST to arrival, 50/s, p99", open50, "arrival p99", true, false, 1.5},
		{"answer, 16 senders, p99", closed16, "answer p99", true, false, 2},
		{"one event to 10 endpoints, deliveries", fan10, "delivered", false, true, 8000},
		{"one event to 10 endpoints, CPU per delivery", fan10, "CPU per delivery", false, false, 100},
		{o.sustainName() + ", worst stall of answers", o.sustainName(), "worst stall of answers", false, false, 250},
		{o.sustainName() + ", worst stall of arrivals", o.sustainName(), "worst stall of arrivals", false, false, 250},
		{o.sustainName() + ", answer p99, last to first", o.sustainName(), "answer p99, last to first", false, false, 2},
		{o.sustainName() + ", arrival p99, last to first", o.sustainName(), "arrival p99, last to first", false, false, 2},
		{"memory (PSS), idle", idling, "memory (PSS)", true, false, 1.3},
		{"memory (PSS), 64 senders", closed64, "memory (PSS), highest", false, false, 150},
		{o.backlogName() + ", memory (PSS)", o.backlogName(), "memory (PSS), highest", false, false, 300},
		{o.backlogName() + ", first delivery", o.backlogName(), "start to first delivery", false, false, 2000},
		{manyEndpoints + ", answer", manyEndpoints, "answer", false, false, 2000},
		{manyEndpoints + ", memory (PSS)", manyEndpoints, "memory (PSS), highest", false, false, 300},
		{manyEndpoints + ", idle goroutines to those with 100", manyEndpoints, "goroutines before, to 100 endpoints", false, false, 1.1},
		{o.historyName() + ", page of 100, p99 of the worst filter", o.historyName(), "page p99, worst filter", false, false, 50},
		{o.historyName() + ", the same beside ingest at half of the peak", o.historyName(), "page p99, worst filter" + besideIngest, false, false, 50},
		{o.historyName() + ", answer p99 beside pages to alone", o.historyName(), "ingest answer p99, beside pages to alone", false, false, 2},
		{deadEndpoint + ", p99 of the others, with to without it", deadEndpoint, "arrival p99, with to without it", false, false, 1.2},
		{"disk per finished delivery", diskName, "disk per delivery", false, false, 1.2},
		{"start to first delivery", idling, "start to first delivery", false, false, 1000},
	}
	if o.soak > 0 {
		all = append(all,
			goal{soaked + ", lost", soaked, "lost", false, false, 0},
			goal{soaked + ", doubled at a reload", soaked, "doubled at a reload", false, false, 0},
			goal{soaked + ", memory (PSS), last tenth to second", soaked, "memory (PSS), last tenth to second", false, false, 1.2})
	}
	return all
}

// goals prints the table of figures to reach, of the scenarios that ran.
func (rep *report) goals() string {
	var b strings.Builder
	b.WriteString("| | to reach | measured | |\n|---|--:|--:|---|\n")
	for _, g := range rep.o.goals() {
		i := rep.index(g.scenario, g.figure)
		if i < 0 {
			continue
		}
		value, ok := rep.rows[i].median(g.ratio)
		if !ok {
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", g.what, g.limit(rep.rows[i].unit), g.show(rep.rows[i].unit, value), g.verdict(value))
	}
	return b.String()
}

func (g goal) limit(u unit) string {
	sign := "≤ "
	if g.least {
		sign = "≥ "
	}
	return sign + g.show(u, g.bar)
}

func (g goal) show(u unit, v float64) string {
	switch {
	case g.ratio:
		return fmt.Sprintf("%.2f × %s", v, proxy)
	case u == perSecond || u == count:
		return u.format(v) + string(u)
	default:
		return u.format(v) + " " + string(u)
	}
}

func (g goal) verdict(v float64) string {
	if g.least && v >= g.bar || !g.least && v <= g.bar {
		return "met"
	}
	return "**not met**"
}

// errFault fails the command after its table.
var errFault = errors.New("events were lost or doubled")

// failure says whether the sidecar lost or doubled any event in any round: no
// attempt is cut off here, so none has to be made twice.
func (rep *report) failure() error {
	for _, r := range rep.rows {
		if r.figure != "lost" && !strings.HasPrefix(r.figure, "doubled") {
			continue
		}
		for _, v := range r.values[sidecar] {
			if v > 0 {
				return fmt.Errorf("%w: %.0f %s in %q", errFault, v, r.figure, r.scenario)
			}
		}
	}
	return nil
}
