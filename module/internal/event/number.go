package event

import (
	"math"
	"strconv"

	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

const (
	// safeDigits is the number of significant digits that every decimal
	// keeps on its way through a double and back (C's DBL_DIG).
	safeDigits = 15

	// safeExponent bounds the decimal exponents of such numbers, well within
	// the normal doubles.
	safeExponent = 290

	// maxDigits is the greatest number of digits in the shortest form of any
	// double.
	maxDigits = 17
)

// decimal is 0.d₁d₂d₃… × 10^point. Its digits have no zeros at either end;
// without digits it is zero.
type decimal struct {
	digits   [maxDigits]byte
	n        int
	point    int
	negative bool
}

// number reads a number. Unless it is kept exactly, it is written in
// ECMAScript's shortest form, and refused where that is another number.
func (s *scanner) number() bool {
	start := s.pos
	simple, ok := s.numberSyntax()
	if !ok {
		return false
	}
	text := s.in[start:s.pos]
	if s.exact || simple {
		s.out = append(s.out, text...)
		return true
	}
	var d decimal
	if !d.parse(text) || !d.stable() {
		s.out = append(s.out, '0')
		if s.refused(problem.NotJSStable) {
			s.refuse(problem.NotJSStable, start, s.pointer(s.depth, len(s.members), nil),
				"a number has more digits or a greater exponent than a double keeps")
		}
		return true
	}
	s.out = d.append(s.out)
	return true
}

// numberSyntax passes over a number, and says whether it is an integer whose
// form is the shortest already.
func (s *scanner) numberSyntax() (simple, ok bool) {
	start := s.pos
	if s.in[s.pos] == '-' {
		s.pos++
	}
	whole := s.pos
	if !s.digits() {
		return false, s.malformed("a digit is expected")
	}
	if s.in[whole] == '0' && s.pos > whole+1 {
		s.pos = whole
		return false, s.malformed("a number has a leading zero")
	}
	simple = s.pos-whole <= safeDigits && (s.in[whole] != '0' || whole == start)
	if s.pos < len(s.in) && s.in[s.pos] == '.' {
		simple = false
		s.pos++
		if !s.digits() {
			return false, s.malformed("a digit is expected")
		}
	}
	if s.pos < len(s.in) && s.in[s.pos]|0x20 == 'e' {
		simple = false
		s.pos++
		if s.pos < len(s.in) && (s.in[s.pos] == '+' || s.in[s.pos] == '-') {
			s.pos++
		}
		if !s.digits() {
			return false, s.malformed("a digit is expected")
		}
	}
	return simple, true
}

// digits passes over one digit at least.
func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.in) && s.in[s.pos]-'0' <= 9 {
		s.pos++
	}
	return s.pos > start
}

// parse reads a number whose syntax was checked. It fails where the number
// has more significant digits than the shortest form of any double.
func (d *decimal) parse(text []byte) bool {
	i, seenPoint, zeros := 0, false, 0
	if text[0] == '-' {
		d.negative = true
		i++
	}
	for ; i < len(text); i++ {
		c := text[i]
		if c == '.' {
			seenPoint = true
			continue
		}
		if c|0x20 == 'e' {
			break
		}
		if c == '0' && d.n == 0 {
			if seenPoint {
				d.point--
			}
			continue
		}
		if !seenPoint {
			d.point++
		}
		if c == '0' {
			zeros++
			continue
		}
		if d.n+zeros >= maxDigits {
			return false
		}
		for ; zeros > 0; zeros-- {
			d.digits[d.n] = '0'
			d.n++
		}
		d.digits[d.n] = c
		d.n++
	}
	if i < len(text) {
		d.point += exponent(text[i+1:])
	}
	return true
}

// exponent reads the exponent of a number. It stops short of overflowing:
// beyond a thousand million no mantissa that fits in memory brings the number
// back into range.
func exponent(text []byte) int {
	const enough = 1_000_000_000
	negative := text[0] == '-'
	if negative || text[0] == '+' {
		text = text[1:]
	}
	e := 0
	for _, c := range text {
		if e < enough {
			e = e*10 + int(c-'0')
		}
	}
	if negative {
		return -e
	}
	return e
}

// stable says whether the shortest form of the nearest double denotes the
// same number.
func (d *decimal) stable() bool {
	if d.n == 0 {
		return true
	}
	if d.n <= safeDigits && -safeExponent <= d.point && d.point <= safeExponent {
		return true
	}
	if d.point < -400 || d.point > 400 { // beyond every double
		return false
	}
	var buf [32]byte
	text := append(buf[:0], "0."...)
	text = append(text, d.digits[:d.n]...)
	text = append(text, 'e')
	text = strconv.AppendInt(text, int64(d.point), 10)
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.IsInf(f, 0) {
		return false
	}
	var shortest decimal
	var form [32]byte
	shortest.parse(strconv.AppendFloat(form[:0], f, 'e', -1, 64))
	shortest.negative = d.negative
	return shortest == *d
}

// append writes the number as Number::toString does (ECMA-262, section
// 6.1.6.1.20). Zero has no sign there.
func (d *decimal) append(dst []byte) []byte {
	if d.n == 0 {
		return append(dst, '0')
	}
	if d.negative {
		dst = append(dst, '-')
	}
	digits := d.digits[:d.n]
	switch {
	case d.n <= d.point && d.point <= 21:
		return appendZeros(append(dst, digits...), d.point-d.n)
	case 0 < d.point && d.point <= 21:
		dst = append(dst, digits[:d.point]...)
		dst = append(dst, '.')
		return append(dst, digits[d.point:]...)
	case -6 < d.point && d.point <= 0:
		dst = appendZeros(append(dst, "0."...), -d.point)
		return append(dst, digits...)
	}
	dst = append(dst, digits[0])
	if d.n > 1 {
		dst = append(dst, '.')
		dst = append(dst, digits[1:]...)
	}
	dst = append(dst, 'e')
	if d.point > 0 {
		dst = append(dst, '+')
	}
	return strconv.AppendInt(dst, int64(d.point-1), 10)
}

func appendZeros(dst []byte, n int) []byte {
	for range n {
		dst = append(dst, '0')
	}
	return dst
}
