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

// caddyfile configures the subject; dir is for its state.
func (s subject) caddyfile(listen, receiver, dir string, endpoints int) string {
	_, port, _ := strings.Cut(listen, ":")
	var b strings.Builder
	fmt.Fprintf(&b, "{\n\tadmin unix/%s/admin.sock\n\tpersist_config off\n", dir)
	if s == sidecar {
		fmt.Fprintf(&b, "\twebhooks {\n\t\toutbox badger %s/outbox\n\t\theader_prefix X-PromptReports\n", dir)
		for n := range endpoints {
			fmt.Fprintf(&b, "\t\tendpoint receiver-%d http://%s/%d {\n", n, receiver, n)
			b.WriteString("\t\t\tsecret {env.BENCH_SECRET}\n\t\t\tmax_in_flight 64\n\t\t}\n")
		}
		b.WriteString("\t}\n")
	}
	fmt.Fprintf(&b, "}\n\n:%s {\n\tbind 127.0.0.1\n", port)
	if s == sidecar {
		b.WriteString("\twebhooks\n")
	} else {
		fmt.Fprintf(&b, "\treverse_proxy %s\n", receiver)
	}
	b.WriteString("}\n")
	return b.String()
}
