package egress

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// TestDefaultPolicy looks at every special prefix and at the addresses just
// outside of it.
func TestDefaultPolicy(t *testing.T) {
	t.Parallel()
	public := map[string]bool{
		// Just before and after the special IPv4 prefixes.
		"1.0.0.0": true, "9.255.255.255": true, "11.0.0.0": true,
		"100.63.255.255": true, "100.128.0.0": true, "126.255.255.255": true,
		"128.0.0.0": true, "168.63.129.15": true, "168.63.129.17": true,
		"169.253.255.255": true, "169.255.0.0": true, "172.15.255.255": true,
		"172.32.0.0": true, "191.255.255.255": true, "192.0.1.0": true,
		"192.0.1.255": true, "192.0.3.0": true, "192.31.195.255": true,
		"192.31.197.0": true, "192.52.192.255": true, "192.52.194.0": true,
		"192.88.98.255": true, "192.88.100.0": true, "192.167.255.255": true,
		"192.169.0.0": true, "192.175.47.255": true, "192.175.49.0": true,
		"198.17.255.255": true, "198.20.0.0": true, "198.51.99.255": true,
		"198.51.101.0": true, "203.0.112.255": true, "203.0.114.0": true,
		"223.255.255.255": true,
		// Their first and last addresses.
		"0.0.0.0": false, "0.255.255.255": false, "10.0.0.0": false,
		"10.255.255.255": false, "100.64.0.0": false, "100.127.255.255": false,
		"127.0.0.0": false, "127.0.0.1": false, "127.255.255.255": false,
		"168.63.129.16": false, "169.254.0.0": false, "169.254.169.254": false,
		"169.254.255.255": false, "172.16.0.0": false, "172.31.255.255": false,
		"192.0.0.0": false, "192.0.0.192": false, "192.0.0.255": false,
		"192.0.2.0": false, "192.0.2.255": false, "192.31.196.0": false,
		"192.31.196.255": false, "192.52.193.0": false, "192.88.99.0": false,
		"192.88.99.255": false, "192.168.0.0": false, "192.168.255.255": false,
		"192.175.48.0": false, "198.18.0.0": false, "198.19.255.255": false,
		"198.51.100.0": false, "203.0.113.255": false, "224.0.0.0": false,
		"239.255.255.255": false, "240.0.0.0": false, "255.255.255.255": false,
		// IPv6.
		"2000::": true, "2606:4700::1111": true, "3ffe:ffff::1": true,
		"2001:200::": true, "2001:db7:ffff::1": true, "2001:db9::": true,
		"2003::1": true, "2620:4f:7fff::1": true, "2620:4f:8001::1": true,
		"3fff:1000::": true,
		"::":          false, "::1": false, "::7f00:1": false, "::ffff:0:7f00:1": false,
		"1fff:ffff::1": false, "4000::": false, "64:ff9b::7f00:1": false,
		"64:ff9b::808:808": false, "64:ff9b:1::1": false, "100::1": false,
		"2001::1": false, "2001:1ff:ffff::1": false, "2001:20::1": false,
		"2001:db8::1": false, "2002::1": false, "2002:7f00:1::": false,
		"2620:4f:8000::1": false, "3fff::1": false, "3fff:fff:ffff::1": false,
		"5f00::1": false, "fc00::1": false, "fd00:ec2::254": false,
		"fd20:ce::254": false, "fe80::1": false, "fec0::1": false,
		"ff02::1":                false,
		"2606:4700::5efe:7f00:2": false, "2606:4700::1:5efe:7f00:2": true,
		"2606:4700:0:1:0:5efe:a00:1": false, "2606:4700:0:1:200:5efe:a00:1": false,
		// Forms of IPv4.
		"::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false,
		"::ffff:8.8.8.8": true, "8.8.8.8": true,
		// Zones are never dialled.
		"fe80::1%eth0": false, "2606:4700::1111%eth0": false,
	}
	var p *Policy
	for text, want := range public {
		if got := p.Check("example.com", netip.MustParseAddr(text)) == nil; got != want {
			t.Errorf("address %s: got admitted %t, want %t", text, got, want)
		}
	}
	if p.Check("example.com", netip.Addr{}) == nil {
		t.Error("invalid address: got admitted, want refused")
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, host, addr string
		allow, deny      string
		want             bool
	}{
		{name: "private literal", host: "10.1.2.3", addr: "10.1.2.3", want: true},
		{name: "mapped literal", host: "::ffff:10.1.2.3", addr: "10.1.2.3", want: true},
		{name: "other private literal", host: "10.1.2.3", addr: "10.1.2.4"},
		{name: "name to private", host: "in.example", addr: "10.1.2.3"},
		{name: "localhost", host: "localhost", addr: "127.0.0.1", want: true},
		{name: "localhost v6", host: "LocalHost.", addr: "::1", want: true},
		{name: "localhost that is not loopback", host: "localhost", addr: "10.0.0.1"},
		{name: "name below localhost", host: "a.localhost", addr: "127.0.0.1"},
		{name: "allowed range", host: "in.example", addr: "10.1.2.3", allow: "10.1.0.0/16", want: true},
		{name: "outside of the allowed range", host: "in.example", addr: "10.2.2.3", allow: "10.1.0.0/16"},
		{name: "allowed mapped range", host: "in.example", addr: "10.1.2.3", allow: "::ffff:10.1.0.0/112", want: true},
		{name: "metadata literal", host: "169.254.169.254", addr: "169.254.169.254"},
		{name: "metadata with everything allowed", host: "169.254.169.254", addr: "169.254.169.254", allow: "0.0.0.0/0"},
		{name: "metadata with its prefix", host: "x.example", addr: "169.254.169.254", allow: "169.254.169.254/32", want: true},
		{name: "metadata with link-local", host: "x.example", addr: "169.254.169.254", allow: "169.254.0.0/16", want: true},
		{name: "metadata with a wider prefix", host: "x.example", addr: "169.254.169.254", allow: "169.254.0.0/15"},
		{name: "Alibaba metadata with its range", host: "x.example", addr: "100.100.100.200", allow: "100.64.0.0/10"},
		{name: "Azure metadata literal", host: "168.63.129.16", addr: "168.63.129.16"},
		{name: "AWS v6 metadata with ULA", host: "x.example", addr: "fd00:ec2::254", allow: "fd00::/8"},
		{name: "other ULA", host: "x.example", addr: "fd00:ec2::253", allow: "fd00::/8", want: true},
		{name: "unspecified literal", host: "0.0.0.0", addr: "0.0.0.0"},
		{name: "unspecified v6 literal", host: "::", addr: "::"},
		{name: "v4-compatible literal", host: "::7f00:1", addr: "::7f00:1"},
		{name: "teredo with a wide prefix", host: "x.example", addr: "2001::1", allow: "2000::/3"},
		{name: "documentation with a wide prefix", host: "x.example", addr: "2001:db8::1", allow: "2000::/3", want: true},
		{name: "NAT64 to public", host: "x.example", addr: "64:ff9b::808:808", allow: "64:ff9b::/96", want: true},
		{name: "NAT64 to loopback", host: "x.example", addr: "64:ff9b::7f00:1", allow: "64:ff9b::/96"},
		{name: "NAT64 to metadata", host: "x.example", addr: "64:ff9b::a9fe:a9fe", allow: "64:ff9b::/96"},
		{name: "local NAT64 to public", host: "x.example", addr: "64:ff9b:1::808:808", allow: "64:ff9b:1::/96", want: true},
		{name: "local NAT64 to metadata", host: "x.example", addr: "64:ff9b:1::a9fe:a9fe", allow: "64:ff9b:1::/96"},
		{name: "local NAT64 of 64 bits to public", host: "x.example", addr: "64:ff9b:1:0:8:808:800::", allow: "64:ff9b:1::/64", want: true},
		{name: "local NAT64 of 64 bits to loopback", host: "x.example", addr: "64:ff9b:1:0:7f:0:100::", allow: "64:ff9b:1::/64"},
		{name: "local NAT64 of 56 bits to public", host: "x.example", addr: "64:ff9b:1:8:8:808::", allow: "64:ff9b:1::/56", want: true},
		{name: "local NAT64 of 56 bits to loopback", host: "x.example", addr: "64:ff9b:1:7f:0:1::", allow: "64:ff9b:1::/56"},
		{name: "local NAT64 of 48 bits to public", host: "x.example", addr: "64:ff9b:1:808:8:800::", allow: "64:ff9b:1::/48", want: true},
		{name: "local NAT64 of 48 bits to loopback", host: "x.example", addr: "64:ff9b:1:7f00:0:100::", allow: "64:ff9b:1::/48"},
		{name: "local NAT64 by a single address", host: "x.example", addr: "64:ff9b:1::a00:1", allow: "64:ff9b:1::a00:1/128", want: true},
		{name: "ISATAP with a wide prefix", host: "x.example", addr: "2606:4700::5efe:a00:1", allow: "2606:4700::/32"},
		{name: "ISATAP with its prefix", host: "x.example", addr: "2606:4700::5efe:a00:1", allow: "2606:4700::5efe:0:0/96", want: true},
		{name: "denied public", host: "x.example", addr: "8.8.8.8", deny: "8.8.8.0/24"},
		{name: "denied and allowed", host: "10.1.2.3", addr: "10.1.2.3", allow: "10.0.0.0/8", deny: "10.1.2.3/32"},
		{name: "denied mapped", host: "x.example", addr: "::ffff:8.8.8.8", deny: "8.8.8.8/32"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := new(Policy)
			if test.allow != "" {
				p.Allow = prefixes(test.allow)
			}
			if test.deny != "" {
				p.Deny = prefixes(test.deny)
			}
			err := p.Check(test.host, netip.MustParseAddr(test.addr))
			if got := err == nil; got != test.want {
				t.Errorf("got admitted %t, want %t", got, test.want)
			}
			if err != nil && !errors.Is(err, ErrBlocked) {
				t.Errorf("got error %v, want one that is ErrBlocked", err)
			}
			if err != nil && strings.Contains(err.Error(), test.addr) {
				t.Errorf("got error %q, want one without the address", err)
			}
		})
	}
}

func TestParsePrefix(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"10.1.0.0/16": "10.1.0.0/16", "10.1.2.3": "10.1.2.3/32", "::1": "::1/128",
		"fd00::/8": "fd00::/8", "::ffff:10.0.0.0/104": "10.0.0.0/8", "::ffff:10.0.0.1": "10.0.0.1/32",
		"10.1.2.3/16": "", "10.0.0.0/33": "", "example.com": "", "fe80::1%eth0": "", "": "", "10.0.0.0-10.0.0.9": "",
	} {
		got, err := ParsePrefix(text)
		if want == "" {
			if err == nil {
				t.Errorf("prefix %q: got %s, want an error", text, got)
			}
			continue
		}
		if err != nil || got.String() != want {
			t.Errorf("prefix %q: got %s, %v, want %s", text, got, err, want)
		}
	}
}

// FuzzPolicy compares the decision with a naive reading of the lists, bit by
// bit, that shares no code with the policy.
func FuzzPolicy(f *testing.F) {
	for _, p := range append(append(prefixes("8.8.8.8/32", "2606:4700::1/128"), special4...), append(special6, hard...)...) {
		a := p.Addr().As16()
		f.Add(a[:])
		f.Add(append([]byte(nil), p.Addr().AsSlice()...))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		addr, ok := netip.AddrFromSlice(raw)
		if !ok {
			return
		}
		var p *Policy
		want := naivelyPublic(addr)
		if got := p.Check("example.com", addr) == nil; got != want {
			t.Errorf("address %s: got admitted %t, want %t", addr, got, want)
		}
	})
}

func naivelyPublic(addr netip.Addr) bool {
	bits := func(a netip.Addr) string {
		var sb strings.Builder
		for _, b := range a.AsSlice() {
			for i := 7; i >= 0; i-- {
				sb.WriteByte('0' + b>>i&1)
			}
		}
		return sb.String()
	}
	in := func(list ...string) bool {
		for _, s := range list {
			p := netip.MustParsePrefix(s)
			if p.Addr().Is4() == addr.Is4() && strings.HasPrefix(bits(addr), bits(p.Addr())[:p.Bits()]) {
				return true
			}
		}
		return false
	}
	if addr.Is6() && in("::ffff:0:0/96") {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	if addr.Is4() {
		return !in("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
			"172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24",
			"192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15",
			"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32")
	}
	id := bits(addr)[64:96]
	isatap := id == "00000000000000000101111011111110" || id == "00000010000000000101111011111110"
	return in("2000::/3") && !isatap && !in("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
}
