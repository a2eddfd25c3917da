package egress

import (
	"encoding/csv"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"
)

// registered is a row of IANA's registries of special-purpose addresses.
type registered struct {
	prefix    netip.Prefix
	name      string
	reachable string
}

func readRegistry(t *testing.T, file string) []registered {
	t.Helper()
	f, err := os.Open("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatalf("reading the registry %s: %v", file, err)
	}
	var out []registered
	for _, row := range rows[1:] {
		prefix, err := netip.ParsePrefix(row[0])
		if err != nil || prefix != prefix.Masked() {
			t.Fatalf("registry %s: got prefix %q, %v, want one without further bits", file, row[0], err)
		}
		out = append(out, registered{prefix, row[1], row[3]})
	}
	return out
}

// bounds returns the first and the last address of a prefix.
func bounds(p netip.Prefix) (first, last netip.Addr) {
	raw := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(raw)*8; i++ {
		raw[i/8] |= 0x80 >> (i % 8)
	}
	last, _ = netip.AddrFromSlice(raw)
	return p.Masked().Addr(), last
}

// sample returns addresses of a prefix: its bounds, and random ones.
func sample(p netip.Prefix, random *rand.Rand) []netip.Addr {
	first, last := bounds(p)
	out := []netip.Addr{first, last}
	for range 200 {
		raw := first.AsSlice()
		for i := p.Bits(); i < len(raw)*8; i++ {
			raw[i/8] |= byte(random.Uint32N(2)) << (7 - i%8)
		}
		a, _ := netip.AddrFromSlice(raw)
		out = append(out, a)
	}
	return out
}

// TestRegistry holds that a name never leads to an address which IANA
// registered for a special purpose and which is not globally reachable.
func TestRegistry(t *testing.T) {
	t.Parallel()
	mapped := netip.MustParsePrefix("::ffff:0:0/96")
	for file, want := range map[string]int{"iana-ipv4-special-registry.csv": 26, "iana-ipv6-special-registry.csv": 25} {
		rows := readRegistry(t, file)
		if len(rows) < want {
			t.Errorf("registry %s: got %d rows, want %d at least", file, len(rows), want)
		}
		random := rand.New(rand.NewPCG(1, 2))
		for _, row := range rows {
			if row.reachable == "true" || row.prefix == mapped { // which is judged, and dialled, as IPv4
				continue
			}
			for _, a := range sample(row.prefix, random) {
				if (*Policy)(nil).Check("example.com", a) == nil {
					t.Errorf("%s (%s): got %s admitted, want it refused", row.prefix, row.name, a)
					break
				}
			}
		}
	}
}

// TestPrefixesAreRegistered holds that every prefix which is refused has a
// reason: a row in the registries, or one that is named here.
func TestPrefixesAreRegistered(t *testing.T) {
	t.Parallel()
	reasons := map[netip.Prefix]string{
		netip.MustParsePrefix("168.63.129.16/32"): "Azure's machine credentials",
		netip.MustParsePrefix("224.0.0.0/4"):      "multicast, which has a registry of its own",
	}
	for _, file := range []string{"iana-ipv4-special-registry.csv", "iana-ipv6-special-registry.csv"} {
		for _, row := range readRegistry(t, file) {
			reasons[row.prefix] = row.name
		}
	}
	for _, p := range append(append([]netip.Prefix(nil), special4...), special6...) {
		if reasons[p] == "" {
			t.Errorf("prefix %s: got no reason to refuse it, want a row in the registries", p)
		}
	}
}
