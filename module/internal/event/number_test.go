package event

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

func TestNumbers(t *testing.T) {
	t.Parallel()
	// An empty want is a refusal.
	for _, tc := range []struct{ in, want string }{
		{"0", "0"},
		{"-0", "0"},
		{"0.0", "0"},
		{"-0.0e-5", "0"},
		{"0e999999999999999999999", "0"},
		{"5", "5"},
		{"-5", "-5"},
		{"-10", "-10"},
		{"1.0", "1"},
		{"-1.50", "-1.5"},
		{"1e2", "100"},
		{"1E+2", "100"},
		{"1e-2", "0.01"},
		{"100.0e-2", "1"},
		{"0.1e1", "1"},
		{"0.000001", "0.000001"},
		{"0.0000001", "1e-7"},
		{"1.25e-7", "1.25e-7"},
		{"123e-20", "1.23e-18"},
		{"1e20", "100000000000000000000"},
		{"1e21", "1e+21"},
		{"123456789012345e6", "123456789012345000000"},
		{"123456789012345e7", "1.23456789012345e+21"},
		{"999999999999999", "999999999999999"},
		{"9007199254740991", "9007199254740991"},
		{"9007199254740992", "9007199254740992"},
		{"9007199254740993", ""},
		{"9007199254740994", "9007199254740994"},
		{"-9007199254740993", ""},
		{"9007199254740993.0", ""},
		{"12345678901234567890", ""},
		{"18446744073709551615", ""},
		{"18446744073709551616", ""},
		{"18446744073709552000", "18446744073709552000"},
		{"0.1", "0.1"},
		{"0.10", "0.1"},
		{"0.1000000000000000055", ""},
		{"0.30000000000000004", "0.30000000000000004"},
		{"0.3000000000000000", "0.3"},
		{"3.141592653589793", "3.141592653589793"},
		{"3.1415926535897932", ""},
		{"3.14159265358979323846", ""},
		{"1.7976931348623157e308", "1.7976931348623157e+308"},
		{"1.7976931348623159e308", ""},
		{"1e308", "1e+308"},
		{"1e309", ""},
		{"-1e400", ""},
		{"5e-324", "5e-324"},
		{"4.9406564584124654e-324", ""},
		{"3e-324", ""},
		{"2e-324", ""},
		{"1e-323", "1e-323"},
		{"1.1e-323", ""},
		{"1e-400", ""},
		{"2.2250738585072014e-308", "2.2250738585072014e-308"},
		{"1e9999999999999999999999", ""},
		{"1e-9999999999999999999999", ""},
		{"1" + strings.Repeat("0", 300), "1e+300"},
		{"1" + strings.Repeat("0", 400) + "e-400", "1"},
		{"1" + strings.Repeat("0", 400), ""},
		{"0." + strings.Repeat("0", 200_000) + "1e200001", "1"},
		{"0." + strings.Repeat("0", 400) + "5e400", "0.5"},
		{"1." + strings.Repeat("0", 1000), "1"},
		{"1." + strings.Repeat("0", 1000) + "1", ""},
	} {
		name := tc.in[:min(len(tc.in), 30)]
		got, ok := normalised(t, tc.in)
		if !ok {
			got = ""
		}
		if got != tc.want {
			t.Errorf("%s (%d bytes): got %q, want %q", name, len(tc.in), got, tc.want)
		}
		if again, ok := normalised(t, got); got != "" && (!ok || again != got) {
			t.Errorf("%s: got %q from %q, want it stable", name, again, got)
		}
	}
}

// normalised reads one number, and says whether it was accepted.
func normalised(t *testing.T, in string) (string, bool) {
	t.Helper()
	if in == "" {
		return "", false
	}
	s := newScanner([]byte(in), false)
	defer s.release()
	if !s.number() || !s.end() {
		t.Fatalf("%s: got %v, want valid syntax", in, s.failure)
	}
	return string(s.out), s.fault == nil
}

// TestNumbersDifferential compares with strconv and exact arithmetic.
func TestNumbersDifferential(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for range 40_000 {
		in := randomNumber(rng)
		want, stable := ecmaScript(t, in)
		got, ok := normalised(t, in)
		if ok != stable || ok && got != want {
			t.Fatalf("%s: got %q, %v, want %q, %v", in, got, ok, want, stable)
		}
		if ok {
			accepted++
		}
	}
	if accepted < 4_000 || accepted > 36_000 {
		t.Errorf("got %d of 40000 numbers accepted, want a mixture", accepted)
	}
}

// ecmaScript is an oracle that takes the long way: the shortest form by
// strconv, and its value by rational numbers.
func ecmaScript(t *testing.T, in string) (text string, stable bool) {
	t.Helper()
	f, err := strconv.ParseFloat(in, 64)
	if err != nil {
		return "", false
	}
	if f == 0 {
		text = "0"
	} else if a := math.Abs(f); a >= 1e-6 && a < 1e21 {
		text = strconv.FormatFloat(f, 'f', -1, 64)
	} else {
		text = strconv.FormatFloat(f, 'e', -1, 64)
		text = strings.Replace(strings.Replace(text, "e-0", "e-", 1), "e+0", "e+", 1)
	}
	written, ok1 := new(big.Rat).SetString(in)
	shown, ok2 := new(big.Rat).SetString(text)
	if !ok1 || !ok2 {
		t.Fatalf("%s: reading it as a rational number failed", in)
	}
	return text, written.Cmp(shown) == 0
}

// randomNumber draws numbers of many kinds, most of them near a boundary.
func randomNumber(rng *rand.Rand) string {
	digits := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "0123456789"[rng.IntN(10)]
		}
		return string(b)
	}
	sign := []string{"", "-"}[rng.IntN(2)]
	switch rng.IntN(10) {
	case 6: // subnormal doubles, also with more digits than they need
		f := math.Float64frombits(rng.Uint64N(1 << (1 + rng.IntN(53))))
		return sign + strconv.FormatFloat(f, 'e', []int{-1, 0, 1, 15, 16, 17, 20}[rng.IntN(7)], 64)
	case 7:
		return sign + between(rng)
	case 8: // where the form changes between digits and exponents
		return sign + strconv.Itoa(1+rng.IntN(99_999)) + strings.Repeat("0", rng.IntN(24)) +
			[]string{"", ".0", "e0", "e-30", "e-7", "e-10", "e5", "E+17"}[rng.IntN(8)]
	case 9: // zeros that come to nothing, or nearly
		zeros := strings.Repeat("0", rng.IntN(400))
		return sign + []string{"0." + zeros + "1", "1" + zeros, "1." + zeros + "0", "1." + zeros + "1", "0.0" + zeros}[rng.IntN(5)] +
			[]string{"", "e" + strconv.Itoa(len(zeros)), "E-" + strconv.Itoa(len(zeros)), "e+00" + zeros + "1"}[rng.IntN(4)]
	case 0: // any double in its shortest form
		for {
			if f := math.Float64frombits(rng.Uint64()); !math.IsNaN(f) && !math.IsInf(f, 0) {
				return strconv.FormatFloat(f, 'e', -1, 64)
			}
		}
	case 1: // a double with more digits than it needs
		return strconv.FormatFloat(sign1(sign)*rng.Float64(), 'f', 15+rng.IntN(4), 64)
	case 2: // integers around 2^53
		return sign + strconv.FormatUint(1<<53+rng.Uint64N(64)-32, 10)
	case 3: // large integers
		return sign + strconv.Itoa(1+rng.IntN(9)) + digits(rng.IntN(24))
	case 4: // decimals with exponents
		return sign + strconv.Itoa(rng.IntN(10)) + "." + digits(1+rng.IntN(18)) + "e" + strconv.Itoa(rng.IntN(660)-330)
	default: // what people write
		return sign + strconv.Itoa(rng.IntN(100_000)) + "." + digits(1+rng.IntN(6))
	}
}

// between writes in full the number halfway between a double and the next, or
// one that is the least bit off it, or either end.
func between(rng *rand.Rand) string {
	bits := rng.Uint64N(0x7fefffffffffffff)
	if rng.IntN(2) == 0 { // where people's numbers are
		bits = math.Float64bits(float64(rng.IntN(1_000_000)) / 1000)
	}
	low := new(big.Float).SetPrec(2000).SetFloat64(math.Float64frombits(bits))
	high := new(big.Float).SetPrec(2000).SetFloat64(math.Float64frombits(bits + 1))
	sum := new(big.Float).Add(low, high)
	x := []*big.Float{low, high, sum.Quo(sum, big.NewFloat(2))}[rng.IntN(3)]
	text := x.Text('e', 770)
	mantissa, exponent, _ := strings.Cut(text, "e")
	mantissa = strings.TrimRight(mantissa, "0") + []string{"", "", "0", "1", strings.Repeat("0", 800) + "1"}[rng.IntN(5)]
	return strings.TrimSuffix(mantissa, ".") + "e" + exponent
}

func sign1(sign string) float64 {
	if sign == "-" {
		return -1
	}
	return 1
}
