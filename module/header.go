package module

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// reservedHeaders are the names that an endpoint's own headers cannot have,
// with a trailing dash for all that start so: those that frame a request, and
// those that the sidecar itself sets or that identify an event.
var reservedHeaders = []string{
	"Connection", "Content-", "Expect", "Host", "Idempotency-Key", "Keep-Alive", "Proxy-", "Te", "Traceparent", "Tracestate",
	"Trailer", "Transfer-Encoding", "Upgrade", "User-Agent", "Webhook-", "X-Idempotency-Key",
}

// isReserved returns the reserved name or prefix that covers the header, or
// nothing. The prefix of our own headers may be empty.
func isReserved(name, headerPrefix string) string {
	name = textproto.CanonicalMIMEHeaderKey(name)
	own := textproto.CanonicalMIMEHeaderKey(headerPrefix) + "-"
	if headerPrefix != "" && strings.HasPrefix(name, own) {
		return own + "*"
	}
	for _, r := range reservedHeaders {
		switch {
		case name == r:
			return r
		case strings.HasSuffix(r, "-") && strings.HasPrefix(name, r):
			return r + "*"
		}
	}
	return ""
}

// checkHeader refuses headers that cannot be sent. Its errors hold no values,
// which may be credentials.
func checkHeader(h http.Header, headerPrefix string) error {
	seen := make(map[string]bool, len(h))
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if err := checkHeaderName(name, headerPrefix, seen); err != nil {
			return in(err, name)
		}
		if len(h[name]) == 0 {
			return in(errors.New("has no value"), name)
		}
		for _, v := range h[name] {
			if err := checkHeaderValue(v); err != nil {
				return in(err, name)
			}
		}
	}
	return nil
}

func checkHeaderName(name, headerPrefix string, seen map[string]bool) error {
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return fmt.Errorf("'%s' is not the name of a header", name)
	case isReserved(name, headerPrefix) != "":
		return fmt.Errorf("the name is reserved (%s)", isReserved(name, headerPrefix))
	case seen[canonical]:
		return fmt.Errorf("is given twice, in different case")
	}
	seen[canonical] = true
	return nil
}

func checkHeaderValue(v string) error {
	if !httpguts.ValidHeaderFieldValue(v) {
		return errors.New("the value holds a control character")
	}
	return nil
}

// mergeHeader returns own with those headers of defaults that it lacks. It
// shares the values of both.
func mergeHeader(own, defaults http.Header) http.Header {
	if len(defaults) == 0 {
		return own
	}
	merged := make(http.Header, len(own)+len(defaults))
	for name, values := range defaults {
		merged[textproto.CanonicalMIMEHeaderKey(name)] = values
	}
	for name, values := range own {
		merged[textproto.CanonicalMIMEHeaderKey(name)] = values
	}
	return merged
}
