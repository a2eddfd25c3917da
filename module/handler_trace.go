package module

import (
	"net/http"
	"strings"

	"github.com/promptreports/caddy-webhooks/module/internal/event"
)

// maxTraceState bounds the trace state that is kept, in bytes: what vendors
// must be able to propagate (W3C Trace Context, section 3.3.1.5).
const maxTraceState = 512

// traceContext returns the trace context to be sent on with an event: its own,
// which is that of its origin (CloudEvents, Distributed Tracing extension), or
// else that of the request. An invalid one is dropped, as if there were none
// (W3C Trace Context, section 3.2.2.3), and the state never goes without its
// parent.
func traceContext(header http.Header, e *event.Event) (parent, state string) {
	if validTraceParent(e.TraceParent) {
		return e.TraceParent, validTraceState(e.TraceState)
	}
	parents := header["Traceparent"]
	if len(parents) != 1 || !validTraceParent(parents[0]) {
		return "", ""
	}
	return parents[0], validTraceState(strings.Join(header["Tracestate"], ","))
}

// validTraceParent checks version-traceid-parentid-flags. A later version than
// 00 may add parts (section 3.2.4).
func validTraceParent(s string) bool {
	const size = len("00-00000000000000000000000000000000-0000000000000000-00")
	if len(s) < size || len(s) > maxTraceState || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	version, trace, parent, flags := s[:2], s[3:35], s[36:52], s[53:55]
	if !lowerHex(version) || !lowerHex(trace) || !lowerHex(parent) || !lowerHex(flags) {
		return false
	}
	if strings.Trim(trace, "0") == "" || strings.Trim(parent, "0") == "" || version == "ff" {
		return false
	}
	if len(s) > size {
		return version != "00" && s[size] == '-' && visible(s[size:])
	}
	return true
}

// validTraceState returns the state, or nothing where it is invalid. It is
// lenient: what is kept must be safe in a header and short.
func validTraceState(s string) string {
	if len(s) > maxTraceState || !visible(s) {
		return ""
	}
	return s
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// visible says whether s is printable ASCII, with white space.
func visible(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' || c > '~') && c != '\t' {
			return false
		}
	}
	return true
}
