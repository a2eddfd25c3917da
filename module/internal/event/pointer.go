package event

import "strconv"

// maxPointer bounds pointers, whose parts the app chose, in bytes. A longer one
// is cut to the nearest object or array around the value.
const maxPointer = 512

// pointer returns the JSON Pointer (RFC 6901) of what is being read below the
// first depth objects and arrays, of whose members those before end are open.
// A key, as it is written in the output and in its quotes, is appended where
// it is not nil.
func (s *scanner) pointer(depth, end int, key []byte) string {
	var current [MaxDepth]int
	for i := depth - 1; i > 0; i-- {
		if first := s.frames[i].first; first >= 0 {
			current[i] = end - 1
			end = first
		}
	}
	dst, ok := append(make([]byte, 0, 64), s.root...), true
	for i := 1; i < depth && ok; i++ {
		if f := s.frames[i]; f.first < 0 {
			dst, ok = appendIndex(dst, f.index)
		} else {
			dst, ok = appendToken(dst, s.key(s.members[current[i]]))
		}
	}
	if key != nil && ok {
		dst, _ = appendToken(dst, key)
	}
	return string(dst)
}

func appendIndex(dst []byte, index int) ([]byte, bool) {
	if len(dst) > maxPointer-20 {
		return dst, false
	}
	return strconv.AppendInt(append(dst, '/'), int64(index), 10), true
}

// appendToken appends one name to a pointer, unless it makes it too long.
func appendToken(dst, key []byte) ([]byte, bool) {
	if len(dst)+len(key) > maxPointer {
		return dst, false
	}
	var name [maxPointer]byte
	whole := len(dst)
	dst = append(dst, '/')
	for _, c := range decode(name[:0], key[1:len(key)-1]) {
		switch c {
		case '~':
			dst = append(dst, "~0"...)
		case '/':
			dst = append(dst, "~1"...)
		default:
			dst = append(dst, c)
		}
	}
	if len(dst) > maxPointer {
		return dst[:whole], false
	}
	return dst, true
}
