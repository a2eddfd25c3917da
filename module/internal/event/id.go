package event

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"time"
)

// idPrefix starts every generated id.
const idPrefix = "wh_evt_"

// idEncoding is Crockford's base32 in lower case, whose digits sort in the
// order of their values.
var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID generates an event id: "wh_evt_" and 26 digits of lower-case base32
// which hold the milliseconds since 1970 in 48 bits and 80 random bits. Ids of
// different milliseconds sort by time.
func NewID(now time.Time) string {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:], uint64(now.UnixMilli())<<16)
	_, _ = rand.Read(raw[6:]) // never fails: crypto/rand ends the process instead
	text := make([]byte, 0, 64)
	text = append(text, idPrefix...)
	return string(idEncoding.AppendEncode(text, raw[:]))
}
