package oracle

import (
	"errors"
	"flag"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"code.dny.dev/ssrf"

	"github.com/promptreports/caddy-webhooks/module/internal/egress"
)

var addresses = flag.Int("addresses", 300_000, "how many random addresses the egress policy is asked about")

// guardian is another's answer to the same question. Ports and networks are
// not the question.
var guardian = ssrf.New(ssrf.WithAnyPort(), ssrf.WithAnyNetwork())

// theirs says whether the other library admits an address.
func theirs(a netip.Addr) bool { return guardian.SafeAddr(a) == nil }

// ours says whether the policy admits an address for a name.
func ours(a netip.Addr) bool { return (*egress.Policy)(nil).Check("example.com", a) == nil }

// near are the prefixes around which addresses are drawn: those of the other
// library, and what it does not know.
func near() []netip.Prefix {
	list := append(append([]netip.Prefix(nil), ssrf.IPv4DeniedPrefixes...), ssrf.IPv6DeniedPrefixes...)
	for _, text := range []string{
		"168.63.129.16/32", "169.254.169.254/32", "100.100.100.200/32", "192.0.0.192/32",
		"2000::/3", "::/96", "::ffff:0:0:0/96", "100:0:0:1::/64", "3fff::/20", "5f00::/16",
		"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
		"2606:4700::5efe:0:0/96", "2606:4700::200:5efe:0:0/96", "2001::/32", "fd00:ec2::254/128",
	} {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// draw returns a random address: a quarter of them anywhere, the others in a
// prefix, at its ends, or a bit away from them.
func draw(random *rand.Rand, prefixes []netip.Prefix) netip.Addr {
	p := prefixes[random.IntN(len(prefixes))]
	raw := p.Addr().AsSlice()
	from, ones, flip := p.Bits(), uint32(2), -1
	switch random.IntN(8) {
	case 0, 1: // anywhere in the family
		from = 0
	case 2: // the first address
		ones = 0
	case 3: // the last
		ones = 1
	case 4, 5: // either with another bit
		ones, flip = random.Uint32N(2), random.IntN(len(raw)*8)
	}
	for i := from; i < len(raw)*8; i++ {
		bit := ones
		if ones == 2 {
			bit = random.Uint32N(2)
		}
		mask := byte(0x80) >> (i % 8)
		raw[i/8] &^= mask
		if bit == 1 {
			raw[i/8] |= mask
		}
	}
	if flip >= 0 {
		raw[flip/8] ^= 0x80 >> (flip % 8)
	}
	a, _ := netip.AddrFromSlice(raw)
	if random.IntN(16) == 0 && a.Is4() {
		a = netip.AddrFrom16(a.As16()) // the same as a mapped address
	}
	return a
}

// check fails where we admit what the other library refuses. It asks about
// mapped addresses in the form in which they are dialled, as plain IPv4.
func check(t *testing.T, a netip.Addr) (we, they bool) {
	t.Helper()
	we, they = ours(a), theirs(a.Unmap())
	if we && !they {
		t.Errorf("address %s: got admitted, want it refused, as by code.dny.dev/ssrf", a)
	}
	return we, they
}

// TestEgress holds that we refuse whatever the other library refuses.
func TestEgress(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	random, prefixes := rand.New(rand.NewPCG(seed, 0)), near()
	var both, strict, neither int
	for range *addresses {
		switch we, they := check(t, draw(random, prefixes)); {
		case we:
			both++
		case they:
			strict++
		default:
			neither++
		}
		if t.Failed() {
			break
		}
	}
	t.Logf("seed %d: %d addresses admitted by both, %d refused by us alone, %d by both", seed, both, strict, neither)
	if least := *addresses / 20; !t.Failed() && (both < least || neither < least || strict == 0) {
		t.Error("got addresses of one kind only, want a share of each")
	}
}

// TestEgressKnowsMore names what we refuse and the other library admits: when
// that changes, the comparison above has become a weaker one.
func TestEgressKnowsMore(t *testing.T) {
	for _, text := range []string{"168.63.129.16", "2606:4700::5efe:7f00:1"} {
		if a := netip.MustParseAddr(text); ours(a) || !theirs(a) {
			t.Errorf("address %s: got admitted by us %t, by them %t, want only by them", text, ours(a), theirs(a))
		}
	}
	if err := guardian.Safe("tcp4", "127.0.0.1:80", nil); !errors.Is(err, ssrf.ErrProhibitedIP) {
		t.Errorf("loopback: got %v from the other library, want its refusal", err)
	}
}

// FuzzEgress is TestEgress with addresses that a fuzzer chooses.
func FuzzEgress(f *testing.F) {
	for _, p := range near() {
		f.Add(p.Addr().AsSlice())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if a, ok := netip.AddrFromSlice(raw); ok {
			check(t, a)
		}
	})
}
