package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// ErrBlocked means that the policy refuses an address. Errors that wrap it
// never show the address in their text, because that text may reach the owner
// of an endpoint, who could map the network with it.
var ErrBlocked = errors.New("address is refused by the egress policy")

// BlockedError tells operators what was refused. It is an ErrBlocked.
type BlockedError struct {
	// Addr is the first address that was refused. It is for logs only.
	Addr netip.Addr
}

// Error implements error. It leaves the address out.
func (*BlockedError) Error() string { return ErrBlocked.Error() }

// Unwrap makes errors.Is find ErrBlocked.
func (*BlockedError) Unwrap() error { return ErrBlocked }

// Policy says which addresses may be dialled. Its zero value admits public
// addresses, and those loopback, private and special-purpose addresses that a
// URL names as a literal or as localhost. A nil Policy is the zero one.
type Policy struct {
	// Allow admits addresses that are not public, whatever name leads to
	// them. Link-local and metadata addresses, multicast and the prefixes
	// that embed IPv4 addresses are admitted only by a prefix that itself
	// lies within their space: 0.0.0.0/0 does not open 169.254.169.254.
	Allow []netip.Prefix

	// Deny refuses addresses, and wins over everything else.
	Deny []netip.Prefix

	// AllowHTTP admits plain http to any host.
	AllowHTTP bool

	// Refuse, where set, refuses single ports of addresses, such as those that
	// this process listens on, and wins over Allow and over what a URL names.
	// Check knows no port, and does not ask it.
	Refuse func(netip.AddrPort) bool
}

// ParsePrefix reads a CIDR prefix or a single address. It refuses a prefix
// with bits set after its length, as such a line rarely says what was meant.
func ParsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a prefix such as 10.1.0.0/16", s)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a prefix such as 10.1.0.0/16", s)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q has bits set after its length: did you mean %s?", s, p.Masked())
	}
	return unmapPrefix(p), nil
}

// unmapPrefix turns ::ffff:a.b.c.d/96+n into a.b.c.d/n.
func unmapPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// Check answers nil when the address may be dialled for a URL with the given
// host, else an error that wraps ErrBlocked. The host is a name or an address
// without brackets and port.
func (p *Policy) Check(host string, addr netip.Addr) error {
	if p.admits(host, addr) {
		return nil
	}
	return &BlockedError{Addr: addr}
}

func (p *Policy) admits(host string, addr netip.Addr) bool {
	if !addr.IsValid() || addr.Zone() != "" {
		return false
	}
	addr = addr.Unmap()
	if p.denies(addr) {
		return false
	}
	switch {
	case isHard(addr):
		return p.allowsHard(addr)
	case isSpecial(addr):
		return intends(host, addr) || p.allows(addr)
	default:
		return true
	}
}

// admitsProxy is the rule for the proxy that the operator configured. Naming
// it is intent enough for any private address, whatever name leads there.
func (p *Policy) admitsProxy(addr netip.Addr) bool {
	return addr.IsValid() && p.admits(addr.Unmap().String(), addr)
}

// intends says whether the host of the URL names the address itself.
func intends(host string, addr netip.Addr) bool {
	if isLocalhost(host) {
		return addr.IsLoopback()
	}
	literal, err := netip.ParseAddr(host)
	return err == nil && literal.Unmap() == addr
}

func isLocalhost(host string) bool {
	return strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
}

func (p *Policy) denies(addr netip.Addr) bool {
	return p != nil && containsUnmapped(p.Deny, addr)
}

func (p *Policy) allows(addr netip.Addr) bool {
	return p != nil && containsUnmapped(p.Allow, addr)
}

func containsUnmapped(list []netip.Prefix, addr netip.Addr) bool {
	for _, prefix := range list {
		if unmapPrefix(prefix).Contains(addr) {
			return true
		}
	}
	return false
}

func (p *Policy) refuses(target netip.AddrPort) bool {
	return p != nil && p.Refuse != nil && p.Refuse(target)
}

// allowsHard holds the IPv4 address within a NAT64 address to the policy as
// well: whoever allows the prefix wants IPv4 reached through it, and not the
// metadata service behind it.
func (p *Policy) allowsHard(addr netip.Addr) bool {
	if p == nil {
		return false
	}
	for _, prefix := range p.Allow {
		prefix = unmapPrefix(prefix)
		if !prefix.Contains(addr) || !isHardPrefix(prefix) {
			continue
		}
		if inner, ok := embedded(prefix, addr); !ok || p.admits("", inner) {
			return true
		}
	}
	return false
}
