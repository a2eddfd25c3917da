package main

import (
	"fmt"
	"strings"
)

// subject is what a process under test is configured as.
type subject string

const (
	sidecar subject = "webhooks"
	proxy   subject = "reverse_proxy"
)

// accepted is the status that the subject answers an event with: the
// receiver's own one comes through the proxy.
func (s subject) accepted() int {
	if s == sidecar {
		return 202
	}
	return 200
}

// config is what a scenario may change about a subject.
type config struct {
	receiver  string   // address that all endpoints are at
	endpoints int      // receiver-0, receiver-1, … with the paths /0, /1, …
	outbox    []string // further options of the outbox
	defaults  []string // further options of all endpoints
	extra     []string // further endpoints, as "name url options"
}

// caddyfile configures the subject; dir is for its state.
func (c config) caddyfile(s subject, listen, dir string) string {
	_, port, _ := strings.Cut(listen, ":")
	var b strings.Builder
	fmt.Fprintf(&b, "{\n\tadmin unix/%s/admin.sock\n\tpersist_config off\n", dir)
	if s == sidecar {
		c.app(&b, dir)
	}
	fmt.Fprintf(&b, "}\n\n:%s {\n\tbind 127.0.0.1\n", port)
	if s == sidecar {
		b.WriteString("\twebhooks\n")
	} else {
		fmt.Fprintf(&b, "\treverse_proxy %s\n", c.receiver)
	}
	b.WriteString("}\n")
	return b.String()
}

func (c config) app(b *strings.Builder, dir string) {
	fmt.Fprintf(b, "\twebhooks {\n\t\toutbox badger %s/outbox", dir)
	block(b, c.outbox)
	b.WriteString("\t\theader_prefix X-PromptReports\n\t\tdefaults")
	block(b, append([]string{"secret {env.BENCH_SECRET}", "max_in_flight 64"}, c.defaults...))
	for n := range c.endpoints {
		fmt.Fprintf(b, "\t\tendpoint receiver-%d http://%s/%d\n", n, c.receiver, n)
	}
	for _, e := range c.extra {
		fmt.Fprintf(b, "\t\tendpoint %s\n", e)
	}
	b.WriteString("\t}\n")
}

// block ends a line with a block of options, or without one if there are none.
func block(b *strings.Builder, options []string) {
	if len(options) > 0 {
		b.WriteString(" {\n")
		for _, o := range options {
			fmt.Fprintf(b, "\t\t\t%s\n", o)
		}
		b.WriteString("\t\t}")
	}
	b.WriteString("\n")
}
