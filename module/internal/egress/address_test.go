package egress

import (
	"net/netip"
	"testing"
)

// TestBoundaries looks at the first and the last address of every prefix, and
// at those just outside of it. What is right, a reading of the lists says
// that shares no code with the policy.
func TestBoundaries(t *testing.T) {
	t.Parallel()
	list := append([]netip.Prefix{globalUnicast, compatible, localNAT64}, special4...)
	list = append(append(list, special6...), hard...)
	outside := 0
	for _, p := range list {
		first, last := bounds(p)
		for name, a := range map[string]netip.Addr{"before": first.Prev(), "first": first, "last": last, "after": last.Next()} {
			if !a.IsValid() { // the prefix begins or ends with its family
				continue
			}
			want := naivelyPublic(a)
			if want {
				outside++
			}
			if inside := name == "first" || name == "last"; inside && want && p != globalUnicast {
				t.Errorf("%s address of %s, %s: got public, want it special", name, p, a)
			}
			if got := (*Policy)(nil).Check("example.com", a) == nil; got != want {
				t.Errorf("%s address of %s, %s: got admitted %t, want %t", name, p, a, got, want)
			}
		}
	}
	if outside < 30 {
		t.Errorf("got %d public addresses at the boundaries, want 30 at least", outside)
	}
}

// literals are addresses that no name may lead to. Those in named may be
// dialled where the URL names just that address; the others never.
var literals = []struct {
	kind    string
	named   []string
	refused []string
}{
	{"loopback", []string{"127.0.0.1", "127.0.0.53", "127.1.2.3", "127.255.255.254", "::1"}, nil},
	{"unspecified", nil, []string{"0.0.0.0", "0.1.2.3", "::"}},
	{"private", []string{"10.0.0.1", "172.16.0.1", "172.31.255.254", "192.168.1.1", "fc00::1", "fd12:3456:789a::1"}, nil},
	{"shared", []string{"100.64.0.1", "100.127.255.254"}, nil},
	{"link-local", nil, []string{"169.254.0.1", "169.254.255.254", "fe80::1", "febf::1"}},
	{"site-local", nil, []string{"fec0::1", "feff::1"}},
	{"metadata of EC2, GCP and most clouds", nil, []string{"169.254.169.254", "fd00:ec2::254", "fd20:ce::254"}},
	{"metadata of ECS and EKS", nil, []string{"169.254.170.2", "169.254.170.23", "169.254.169.253"}},
	{"metadata of Alibaba", nil, []string{"100.100.100.200"}},
	{"metadata of Oracle", nil, []string{"192.0.0.192"}},
	{"credentials of Azure", nil, []string{"168.63.129.16"}},
	{"protocol assignments", []string{"192.0.0.1", "192.0.0.8", "192.0.0.170", "2001:1::1", "2001:2::1", "2001:3::1", "2001:4:112::1", "2001:20::1", "2001:30::1"}, nil},
	{"documentation", []string{"192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"}, nil},
	{"AS112 and AMT", []string{"192.31.196.1", "192.52.193.1", "192.175.48.1", "2620:4f:8000::1"}, nil},
	{"relays of 6to4", nil, []string{"192.88.99.1", "192.88.99.2"}},
	{"benchmarking", []string{"198.18.0.1", "198.19.255.254"}, nil},
	{"reserved", []string{"240.0.0.1", "250.1.2.3"}, nil},
	{"multicast and broadcast", nil, []string{"224.0.0.1", "239.255.255.250", "255.255.255.255", "ff02::1", "ff0e::1"}},
	{"mapped", []string{"::ffff:127.0.0.1", "::ffff:10.0.0.1"}, []string{"::ffff:169.254.169.254", "::ffff:168.63.129.16", "::ffff:0.0.0.0"}},
	{"compatible", nil, []string{"::2", "::127.0.0.1", "::169.254.169.254", "::8.8.8.8"}},
	{"translated", nil, []string{"::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8"}},
	{"NAT64", nil, []string{"64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::8.8.8.8", "64:ff9b:1::127.0.0.1", "64:ff9b:1:7f00:0:100::"}},
	{"6to4", nil, []string{"2002:7f00:1::1", "2002:a9fe:a9fe::1", "2002:808:808::1"}},
	{"Teredo", nil, []string{"2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"}},
	{"ISATAP", nil, []string{"2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a9fe:a9fe", "fe80::5efe:a00:1", "fd00::5efe:a00:1"}},
	{"discard and dummy", []string{"100::1", "100:0:0:1::1"}, nil},
	{"segment routing", []string{"5f00::1"}, nil},
	{"not allocated", []string{"1::1", "1fff::1", "4000::1", "8000::1", "e000::1"}, nil},
	{"with a zone", nil, []string{"fe80::1%eth0", "::1%lo", "2606:4700:4700::1111%eth0", "fd00::1%1"}},
}

// TestLiterals looks at each kind of address by a name, by itself, and by
// itself where everything that is not hard to get is allowed.
func TestLiterals(t *testing.T) {
	t.Parallel()
	count := 0
	wide := &Policy{Allow: prefixes("0.0.0.0/0", "::/0")}
	for _, kind := range literals {
		for i, text := range append(append([]string(nil), kind.named...), kind.refused...) {
			count++
			a, named := netip.MustParseAddr(text), i < len(kind.named)
			for _, host := range []string{"example.com", "localhost.example.com", "8.8.8.8", "127.0.0.2", ""} {
				if (*Policy)(nil).Check(host, a) == nil {
					t.Errorf("%s address %s for the host %q: got admitted, want refused", kind.kind, text, host)
				}
			}
			if got := (*Policy)(nil).Check(text, a) == nil; got != named {
				t.Errorf("%s address %s for itself: got admitted %t, want %t", kind.kind, text, got, named)
			}
			if got := wide.Check("example.com", a) == nil; got != named {
				t.Errorf("%s address %s with everything allowed: got admitted %t, want %t", kind.kind, text, got, named)
			}
		}
	}
	if count < 54 {
		t.Errorf("got %d addresses, want 54 at least", count)
	}
	for _, public := range []string{"1.1.1.1", "8.8.8.8", "93.184.215.14", "168.63.129.17", "::ffff:8.8.8.8", "2606:4700:4700::1111", "2a00:1450::1"} {
		if err := (*Policy)(nil).Check("example.com", netip.MustParseAddr(public)); err != nil {
			t.Errorf("public address %s: got %v, want it admitted", public, err)
		}
	}
}
