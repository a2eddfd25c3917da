package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// defaultTimeout bounds resolving and connecting together.
	defaultTimeout = 5 * time.Second

	// maxAddresses bounds the addresses of a name that are tried.
	maxAddresses = 8
)

// DialFunc dials as net.Dialer.DialContext does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// LookupFunc resolves a name as net.Resolver.LookupNetIP does.
type LookupFunc func(ctx context.Context, network, host string) ([]netip.Addr, error)

// Guard dials only addresses that its policy admits. It resolves names
// itself, looks at every address, and hands the inner dial nothing but
// literal addresses, so that what was checked is what is dialled.
//
// A transport keeps one Guard for life: connections of a pool are reused
// without a new check, so a pool must not be shared between policies.
type Guard struct {
	// Policy decides; nil is the zero Policy.
	Policy *Policy

	// Dial connects to a literal address.
	Dial DialFunc

	// Lookup resolves names; nil uses net.DefaultResolver.
	Lookup LookupFunc

	// IsProxy says whether an address, as host:port, is that of the proxy
	// which the operator configured; nil knows none.
	IsProxy func(address string) bool

	// Timeout bounds resolving and connecting together; 0 is 5 seconds.
	Timeout time.Duration
}

// DialContext connects to an address that the policy admits. Where the policy
// admits none of the name's addresses, the error wraps ErrBlocked and nothing
// has been dialled.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	timeout := g.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	trace := traceOf(ctx)
	host, port, err := splitAddress(address)
	if err != nil {
		return nil, err
	}
	addrs, err := g.resolve(ctx, trace, network, host)
	if err != nil {
		return nil, err
	}
	admitted, err := g.vet(address, host, port, addrs)
	if err != nil {
		return nil, err
	}
	trace.connectStart()
	conn, err := g.race(ctx, network, admitted)
	if err != nil {
		return nil, err
	}
	trace.connectDone(conn)
	return conn, nil
}

// CheckTarget tells early, for an address that a proxy will connect to for us,
// whether the policy would refuse it. It is a best effort: a name that cannot
// be resolved here passes, and the proxy resolves names for itself.
func (g *Guard) CheckTarget(ctx context.Context, address string) error {
	host, port, err := splitAddress(address)
	if err != nil {
		return err
	}
	addrs, err := g.resolve(ctx, nil, "tcp", host)
	if err != nil {
		return nil //nolint:nilerr // only the proxy may know the name
	}
	_, err = g.vet("", host, port, addrs)
	return err
}

func splitAddress(address string) (string, uint16, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("splitting address: %w", err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return "", 0, errors.New("port of the address is not a number")
	}
	return host, uint16(port), nil
}

// resolve turns the host into addresses, literals included.
func (g *Guard) resolve(ctx context.Context, trace *Trace, network, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	lookup := g.Lookup
	if lookup == nil {
		lookup = net.DefaultResolver.LookupNetIP
	}
	trace.lookupStart()
	addrs, err := lookup(ctx, strings.Replace(network, "tcp", "ip", 1), host)
	if err != nil {
		return nil, err
	}
	trace.lookupDone()
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	return addrs, nil
}

// vet returns the addresses that the policy admits, in the order in which
// they are to be tried.
func (g *Guard) vet(address, host string, port uint16, addrs []netip.Addr) ([]netip.AddrPort, error) {
	proxy := g.IsProxy != nil && g.IsProxy(address)
	admitted := make([]netip.AddrPort, 0, len(addrs))
	for _, addr := range addrs {
		ok := g.Policy.admits(host, addr)
		if proxy {
			ok = g.Policy.admitsProxy(addr)
		}
		target := netip.AddrPortFrom(addr.Unmap(), port)
		if ok && !g.Policy.refuses(target) {
			admitted = append(admitted, target)
		}
	}
	if len(admitted) == 0 {
		return nil, &BlockedError{Addr: addrs[0]}
	}
	return interleave(admitted), nil
}

// interleave alternates between the families, starting with that of the first
// address, and drops repetitions and what exceeds maxAddresses (RFC 8305,
// section 4).
func interleave(addrs []netip.AddrPort) []netip.AddrPort {
	if len(addrs) == 1 {
		return addrs
	}
	var first, second []netip.AddrPort
	for _, a := range addrs {
		switch {
		case slices.Contains(first, a) || slices.Contains(second, a):
		case a.Addr().Is4() == addrs[0].Addr().Is4():
			first = append(first, a)
		default:
			second = append(second, a)
		}
	}
	out := make([]netip.AddrPort, 0, len(first)+len(second))
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			out = append(out, first[i])
		}
		if i < len(second) {
			out = append(out, second[i])
		}
	}
	return out[:min(len(out), maxAddresses)]
}
