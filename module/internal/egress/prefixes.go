package egress

import (
	"net/netip"
	"slices"
)

// globalUnicast is the only part of IPv6 that IANA has opened for global
// unicast. Everything outside of it is refused, so that transition and
// special-purpose prefixes yet to be invented are refused too.
var globalUnicast = netip.MustParsePrefix("2000::/3")

// The prefixes of NAT64. The well-known one has the IPv4 address in its last
// 32 bits (RFC 6052); in the local one (RFC 8215) every network chooses a
// prefix, whose length says where the IPv4 address is.
var (
	wellKnownNAT64 = netip.MustParsePrefix("64:ff9b::/96")
	localNAT64     = netip.MustParsePrefix("64:ff9b:1::/48")
)

// special4 and special6 are refused unless the configuration clearly asks for
// them: the IANA special-purpose registries, multicast, and 168.63.129.16, a
// public address at which Azure serves machine credentials.
var (
	special4 = prefixes(
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8",
		"168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12",
		"192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24",
		"192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
		"192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24",
		"203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	)
	special6 = prefixes(
		"2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48",
		"3fff::/20",
	)
)

// hard is never dialled because an endpoint's URL says so, and not because a
// wide range is allowed either, but only where a prefix of the configuration
// lies within it: link-local addresses, the metadata services of clouds, the
// unspecified address, multicast and broadcast, and the prefixes that embed
// an IPv4 address which some gateway would unwrap.
var hard = prefixes(
	"0.0.0.0/8", "100.100.100.200/32", "168.63.129.16/32",
	"169.254.0.0/16", "192.0.0.192/32", "192.88.99.0/24", "224.0.0.0/4",
	"255.255.255.255/32",
	"::/128", "64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96",
	"2001::/32", "2002::/16", "fd00:ec2::254/128", "fd20:ce::254/128",
	"fe80::/10", "fec0::/10", "ff00::/8",
)

// compatible is the deprecated IPv4-compatible space (RFC 4291, section
// 2.5.5.1). It is hard but for ::1, the loopback address.
var compatible = netip.MustParsePrefix("::/96")

// private is what a URL may name for itself with plain http.
var private = prefixes(
	"10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
	"::1/128", "fc00::/7",
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

func within(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// isSpecial says whether an unmapped address is not a public one.
func isSpecial(a netip.Addr) bool {
	if a.Is4() {
		return within(special4, a)
	}
	return !globalUnicast.Contains(a) || within(special6, a) || isISATAP(a)
}

// isHard says whether an unmapped address needs a prefix of its own.
func isHard(a netip.Addr) bool {
	if within(hard, a) || isISATAP(a) {
		return true
	}
	return compatible.Contains(a) && a != netip.IPv6Loopback()
}

// embedded returns the IPv4 address within an address of a NAT64 prefix, as
// RFC 6052, section 2.2, puts it there.
func embedded(prefix netip.Prefix, a netip.Addr) (netip.Addr, bool) {
	b, at := a.As16(), prefix.Bits()/8
	switch {
	case wellKnownNAT64.Contains(a):
		at = 12
	case localNAT64.Contains(a) && slices.Contains([]int{48, 56, 64, 96}, prefix.Bits()):
	default:
		return netip.Addr{}, false
	}
	var inner [4]byte
	for i := range inner {
		if at == 8 { // these bits are always zero
			at++
		}
		inner[i] = b[at]
		at++
	}
	return netip.AddrFrom4(inner), true
}

// isISATAP recognises the interface identifiers of RFC 5214, section 6.1,
// which hold an IPv4 address in their last 32 bits.
func isISATAP(a netip.Addr) bool {
	if !a.Is6() {
		return false
	}
	b := a.As16()
	return b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}

// isHardPrefix says whether a whole prefix lies in hard space.
func isHardPrefix(p netip.Prefix) bool {
	for _, h := range hard {
		if p.Bits() >= h.Bits() && h.Contains(p.Addr()) {
			return true
		}
	}
	if p.Bits() >= compatible.Bits() && compatible.Contains(p.Addr()) {
		return true
	}
	return p.Bits() >= 96 && isISATAP(p.Addr())
}
