// Command bench measures the sidecar against Caddy's own reverse_proxy:
//
//	go run ./module/internal/bench
//
// It prints two Markdown tables: the figures to reach, each with its bar, what
// was measured and whether that is enough; and all figures. It fails when an
// event was lost. Flags set the lengths; the defaults are short ones.
//
// It generates the documentation's events at 600 bytes, at closed loop (a
// number of senders, each waiting for its answer) and at open loop (a fixed
// rate), receives them in the same process, and measures deliveries a second,
// the latency of the answer and of the arrival at the receiver, lost and
// doubled events, CPU time for each delivery and proportional set size of the
// process under test.
//
// Both subjects are the same binary with another configuration. The sidecar
// syncs every event to disk before it answers and keeps the history; the
// proxy stores nothing and answers after the receiver did. They take turns in
// every round, first one and then the other first, each with a process and an
// outbox of its own, and the table gives medians, ranges and the median of
// the rounds' ratios. Other scenarios have no counterpart: a sustained load, a
// start on a backlog, many endpoints, a long history, a dead endpoint, disk
// space and, if asked for, a soak under reloads. The generator shares the
// machine's cores with the process under test, so it speaks HTTP/1.1 by hand
// and compares ratios, not absolute figures.
//
// It needs Linux: CPU time and memory are read from /proc.
package main
