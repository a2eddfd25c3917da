package event

import (
	"bytes"
	"strings"
)

// Field returns the values with which a filter compares the field at a dotted
// path of the envelope, for example "type", "data.stage" or
// "metadata.folderId": one value for a scalar, one for each scalar element of
// an array, and none where the field is missing, null or an object. Strings
// are decoded; numbers and booleans are as they stand in the body. Names that
// hold a dot cannot be reached. Where a name is given twice in one object,
// which an exact payload may do, the last counts, as it does in JavaScript.
func (e *Event) Field(path string) []string {
	switch path {
	case "id":
		return []string{e.ID}
	case "type":
		return []string{e.Type}
	case "timestamp":
		return []string{e.Timestamp}
	}
	pos, more := 0, true
	for more {
		var name string
		name, path, more = strings.Cut(path, ".")
		if e.Body == nil || e.Body[pos] != '{' {
			return nil
		}
		if pos = lookup(e.Body, pos, name, e.stable); pos < 0 {
			return nil
		}
	}
	if e.Body[pos] == '[' {
		return elements(e.Body, pos)
	}
	return appendScalar(nil, e.Body, pos)
}

// The functions below walk over a body, which is valid JSON.

// lookup returns the position of a member's value in the object at the
// position, or -1. With unique names it stops at the first.
func lookup(body []byte, pos int, name string, unique bool) int {
	found := -1
	for pos = skipSpace(body, pos+1); body[pos] != '}'; {
		end := skipString(body, pos)
		key := body[pos+1 : end-1]
		pos = skipSpace(body, skipSpace(body, end)+1)
		if isName(key, name) {
			if found = pos; unique {
				return found
			}
		}
		pos = nextItem(body, pos)
	}
	return found
}

func isName(key []byte, name string) bool {
	if bytes.IndexByte(key, '\\') < 0 {
		return string(key) == name
	}
	return string(decode(nil, key)) == name
}

func elements(body []byte, pos int) (values []string) {
	for pos = skipSpace(body, pos+1); body[pos] != ']'; pos = nextItem(body, pos) {
		values = appendScalar(values, body, pos)
	}
	return values
}

// nextItem passes over a value, and the comma after it if there is one.
func nextItem(body []byte, pos int) int {
	pos = skipSpace(body, skipValue(body, pos))
	if body[pos] == ',' {
		pos = skipSpace(body, pos+1)
	}
	return pos
}

func appendScalar(values []string, body []byte, pos int) []string {
	switch body[pos] {
	case '{', '[', 'n':
		return values
	case '"':
		text := body[pos+1 : skipString(body, pos)-1]
		if bytes.IndexByte(text, '\\') >= 0 {
			text = decode(nil, text)
		}
		return append(values, string(text))
	default:
		return append(values, string(body[pos:skipValue(body, pos)]))
	}
}

// skipValue returns where the value at the position ends.
func skipValue(body []byte, pos int) int {
	for depth := 0; ; {
		switch body[pos] {
		case '"':
			pos = skipString(body, pos)
		case '{', '[':
			depth++
			pos++
			continue
		case '}', ']':
			depth--
			pos++
		case ',', ':', ' ', '\n', '\r', '\t':
			pos++
			continue
		default:
			for !endsScalar(body[pos]) {
				pos++
			}
		}
		if depth == 0 {
			return pos
		}
	}
}

func endsScalar(c byte) bool {
	return c == ',' || c == '}' || c == ']' || c <= ' '
}

// skipString returns where the string at the position ends.
func skipString(body []byte, pos int) int {
	for pos++; body[pos] != '"'; pos++ {
		if body[pos] == '\\' {
			pos++
		}
	}
	return pos + 1
}
