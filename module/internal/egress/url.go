package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// maxURL is the greatest length of an endpoint's URL in bytes.
const maxURL = 2048

// CheckURL reads the URL of an endpoint as the configuration gives it, and
// refuses what could never be delivered to, or what is not safe to deliver
// to. The answer has its scheme and host in lower case, an internationalised
// host in its ASCII form and no trailing dot. Errors never show the URL, as
// it may hold a secret.
func (p *Policy) CheckURL(raw string) (*url.URL, error) {
	if err := checkText(raw); err != nil {
		return nil, err
	}
	u, err := url.Parse(raw)
	if err != nil {
		if parse, ok := errors.AsType[*url.Error](err); ok { // its text repeats the URL
			err = parse.Err
		}
		return nil, fmt.Errorf("URL cannot be read: %w", err)
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("URL must start with https://")
	case u.Opaque != "" || u.Host == "":
		return nil, errors.New("URL must be absolute, such as https://example.com/hooks")
	case u.User != nil:
		return nil, errors.New("URL must not hold a user name or password; send an Authorization header instead")
	}
	host, err := checkHost(u.Hostname())
	if err != nil {
		return nil, err
	}
	port, err := checkPort(u)
	if err != nil {
		return nil, err
	}
	u.Host = host + port
	if strings.Contains(host, ":") {
		u.Host = "[" + host + "]" + port
	}
	return u, p.checkTarget(u.Scheme, host)
}

// checkText looks at the URL as it was written, because parsing would accept
// or hide what is wrong here.
func checkText(raw string) error {
	switch {
	case raw == "":
		return errors.New("URL is empty")
	case len(raw) > maxURL:
		return fmt.Errorf("URL is longer than %d bytes", maxURL)
	case !utf8.ValidString(raw):
		return errors.New("URL is not valid UTF-8")
	case strings.Contains(raw, "#"):
		return errors.New("URL must not have a fragment (#)")
	}
	for i := range len(raw) {
		if c := raw[i]; c <= ' ' || c == 0x7f || c == '\\' {
			return errors.New("URL must not hold spaces, control characters or backslashes")
		}
	}
	return nil
}

// checkPort returns the port with its colon, or nothing for the default one.
func checkPort(u *url.URL) (string, error) {
	port := u.Port()
	if port == "" {
		if strings.HasSuffix(u.Host, ":") {
			return "", errors.New("URL has a colon without a port after its host")
		}
		return "", nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", errors.New("port of the URL must be between 1 and 65535")
	}
	return ":" + strconv.FormatUint(n, 10), nil
}

// checkHost returns the host in lower case and ASCII. It refuses numbers that
// are not a plain address: some resolvers read 127.1, 0x7f.1 and 2130706433
// as 127.0.0.1, and others as names.
func checkHost(raw string) (string, error) {
	if !utf8.ValidString(raw) { // its bytes may be written as %80
		return "", errors.New("host of the URL is not valid UTF-8")
	}
	if strings.Contains(raw, ":") {
		a, err := netip.ParseAddr(raw)
		if err != nil || a.Zone() != "" {
			return "", errors.New("host of the URL is not an IPv6 address without a zone")
		}
		return a.String(), nil
	}
	host, err := toASCII(raw)
	if err != nil {
		return "", err
	}
	if endsInNumber(host) {
		// Go on only with what was written as a plain dotted address.
		a, err := netip.ParseAddr(strings.TrimSuffix(raw, "."))
		if err != nil {
			return "", errors.New("host of the URL is an ambiguous address; write it as 192.0.2.1 or [2001:db8::1]")
		}
		return a.String(), nil
	}
	return host, checkName(host)
}

// toASCII maps a host as net/http would before it dials.
func toASCII(host string) (string, error) {
	ascii := true
	for i := range len(host) {
		ascii = ascii && host[i] < 0x80
	}
	if ascii && !strings.Contains(strings.ToLower(host), "xn--") {
		return strings.TrimSuffix(strings.ToLower(host), "."), nil
	}
	out, err := idna.Lookup.ToASCII(host)
	if err != nil {
		return "", fmt.Errorf("host of the URL is not a valid internationalised name: %w", err)
	}
	out = strings.TrimSuffix(out, ".")
	if !ascii && (isLocalhost(out) || endsInNumber(out)) {
		return "", errors.New("host of the URL is an ambiguous address: it is written in unusual characters")
	}
	return out, nil
}

// endsInNumber is the test by which browsers take a host for an IPv4 address
// (WHATWG URL, section 3.5): its last label is all digits, or hexadecimal
// after 0x.
func endsInNumber(host string) bool {
	last := strings.TrimSuffix(host, ".")
	last = last[strings.LastIndexByte(last, '.')+1:]
	if hex, ok := strings.CutPrefix(strings.ToLower(last), "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// checkName holds a host to the letters, digits, hyphens and underscores that
// names are made of in practice; container networks use underscores.
func checkName(host string) error {
	if len(host) > 253 {
		return errors.New("host of the URL is longer than 253 characters")
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 {
			return errors.New("host of the URL has an empty or overlong part between its dots")
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return errors.New("host of the URL holds characters that names cannot have")
			}
		}
	}
	return nil
}

// checkTarget applies the rules that depend on what the host is.
func (p *Policy) checkTarget(scheme, host string) error {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		if scheme == "http" && !isLocalhost(host) && (p == nil || !p.AllowHTTP) {
			return errHTTP
		}
		return nil
	}
	if p.Check(host, addr) != nil {
		if isHard(addr.Unmap()) && !p.denies(addr.Unmap()) {
			return fmt.Errorf("address %s is link-local, a metadata service, multicast or otherwise never delivered to; only an egress allow line for exactly this range admits it", addr)
		}
		return fmt.Errorf("address %s is refused by an egress deny line", addr)
	}
	if scheme == "http" && !within(private, addr.Unmap()) && (p == nil || !p.AllowHTTP) {
		return errHTTP
	}
	return nil
}

var errHTTP = errors.New("plain http is only for localhost and for loopback or private addresses written as such; use https, or allow_http in the egress options")
