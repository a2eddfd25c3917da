package signature

import (
	"errors"
	"fmt"
	"net/textproto"
	"strings"
)

// checkHeader returns the canonical form of a name that a signature may have.
// The names that frame a message, that a proxy takes away or that make Go's
// client repeat a request are not among them.
func checkHeader(name string) (string, error) {
	if name == "" {
		return "", errors.New("signature has no header to go in")
	}
	for i := range len(name) {
		if !tokenByte(name[i]) {
			return "", fmt.Errorf("%q is not the name of a header", name)
		}
	}
	name = textproto.CanonicalMIMEHeaderKey(name)
	for _, prefix := range []string{"Content-", "Proxy-"} {
		if strings.HasPrefix(name, prefix) {
			return "", fmt.Errorf("header %s cannot carry a signature", name)
		}
	}
	switch name {
	case "Host", "Connection", "Keep-Alive", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Expect", "Date",
		"User-Agent", "Traceparent", "Tracestate", "Idempotency-Key", "X-Idempotency-Key":
		return "", fmt.Errorf("header %s cannot carry a signature", name)
	}
	return name, nil
}

// tokenByte says whether a header's name may have the byte (RFC 9110, section
// 5.6.2).
func tokenByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// printable says whether a header may have the value.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return strings.TrimSpace(s) == s
}
