package event

import (
	"unicode/utf16"
	"unicode/utf8"
)

// plain marks the bytes that stand for themselves within a string.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x20 && c != '"' && c != '\\'
	}
	return t
}()

// str reads a string and writes it as JSON.stringify does: whatever has no
// need to be escaped is not (ECMA-262, section 25.5.4.2, QuoteJSONString).
func (s *scanner) str() bool {
	from := s.pos
	s.pos++
	for {
		in, pos := s.in, s.pos
		for pos < len(in) && plain[in[pos]] {
			pos++
		}
		s.pos = pos
		if pos == len(in) {
			return s.malformed("")
		}
		switch in[pos] {
		case '"':
			s.pos++
			s.out = append(s.out, in[from:s.pos]...)
			return true
		case '\\':
			s.out = append(s.out, in[from:pos]...)
			if !s.escape() {
				return false
			}
			from = s.pos
		default:
			return s.malformed("a control character in a string is not escaped")
		}
	}
}

// escape reads one escape sequence, or the two of a surrogate pair.
func (s *scanner) escape() bool {
	if s.pos+1 >= len(s.in) {
		s.pos = len(s.in)
		return s.malformed("")
	}
	switch c := s.in[s.pos+1]; c {
	case '"', '\\', 'b', 'f', 'n', 'r', 't':
		s.out = append(s.out, '\\', c)
		s.pos += 2
	case '/':
		s.out = append(s.out, '/')
		s.pos += 2
	case 'u':
		unit, ok := hexUnit(s.in, s.pos)
		if !ok {
			return s.malformed("a \\u escape has not four hexadecimal digits")
		}
		s.pos += 6
		if utf16.IsSurrogate(unit) {
			if low, ok := hexUnit(s.in, s.pos); ok {
				if r := utf16.DecodeRune(unit, low); r != utf8.RuneError {
					s.pos += 6
					unit = r
				}
			}
		}
		s.out = appendQuoted(s.out, unit)
	default:
		return s.malformed("an escape sequence is not one of JSON")
	}
	return true
}

// hexUnit reads the UTF-16 code unit of a \u escape at the position.
func hexUnit(in []byte, pos int) (rune, bool) {
	if pos+6 > len(in) || in[pos] != '\\' || in[pos+1] != 'u' {
		return 0, false
	}
	var unit rune
	for _, c := range in[pos+2 : pos+6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		unit = unit<<4 | rune(c)
	}
	return unit, true
}

// appendQuoted writes a code point, or a surrogate that has no partner, as it
// stands in a string of JSON.stringify.
func appendQuoted(dst []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	switch {
	case r == '"' || r == '\\':
		return append(dst, '\\', byte(r))
	case r < 0x20:
		if short := "btn\x00fr"; r >= '\b' && r <= '\r' && r != '\v' {
			return append(dst, '\\', short[r-'\b'])
		}
		return append(dst, '\\', 'u', '0', '0', digits[r>>4], digits[r&15])
	case utf16.IsSurrogate(r):
		return append(dst, '\\', 'u', 'd', digits[r>>8&15], digits[r>>4&15], digits[r&15])
	default:
		return utf8.AppendRune(dst, r)
	}
}

// decode appends what the characters of a JSON string, without its quotes,
// stand for. A surrogate without a partner becomes U+FFFD. The characters must
// have been scanned before.
func decode(dst, text []byte) []byte {
	for len(text) > 0 {
		if text[0] != '\\' {
			dst = append(dst, text[0])
			text = text[1:]
			continue
		}
		n := 2
		switch c := text[1]; c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			unit, _ := hexUnit(text, 0)
			n = 6
			if low, ok := hexUnit(text, 6); ok {
				if r := utf16.DecodeRune(unit, low); r != utf8.RuneError {
					unit, n = r, 12
				}
			}
			dst = utf8.AppendRune(dst, unit)
		default:
			dst = append(dst, c)
		}
		text = text[n:]
	}
	return dst
}
