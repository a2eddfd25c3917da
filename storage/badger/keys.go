package badger

import (
	"encoding/binary"

	"github.com/promptreports/caddy-webhooks/storage"
)

// Kinds of keys; each is the first byte of its keys. Numbers are big-endian,
// so that keys sort by age.
const (
	kindEvent    = 'e' // id10 → event
	kindChunk    = 'b' // id10 n2 → part of a long body
	kindDelivery = 'd' // id12 → delivery; status in the user meta
	kindAttempt  = 'a' // id12 n4 → attempt; the one that ended the delivery stands in the delivery's record
	kindEndpoint = 'x' // hash4(endpoint) id12
	kindType     = 't' // hash4(type) id10
	kindFailed   = 'f' // hash4(endpoint) id12, written when a delivery fails for good
	kindDue      = 'r' // hash4(endpoint) due6 id12, written when a delivery is rescheduled
	kindID       = 'i' // hash16(public id) → digest and ids of the events
)

const (
	eventKeyLen    = 1 + 10
	chunkKeyLen    = 1 + 10 + 2
	deliveryKeyLen = 1 + 12
	attemptKeyLen  = 1 + 12 + 4
	endpointKeyLen = 1 + 4 + 12
	typeKeyLen     = 1 + 4 + 10
	dueKeyLen      = 1 + 4 + 6 + 12
	idKeyLen       = 1 + 16
)

// keyLength returns the length of a key of the kind, or zero.
func keyLength(kind byte) int {
	switch kind {
	case kindEvent:
		return eventKeyLen
	case kindChunk:
		return chunkKeyLen
	case kindDelivery:
		return deliveryKeyLen
	case kindAttempt:
		return attemptKeyLen
	case kindID:
		return idKeyLen
	}
	return 0
}

// hash4 spreads endpoints and types over the indexes. Readers compare the
// real name, so a collision costs time and nothing else.
func hash4(s string) [4]byte {
	v := uint32(2166136261) // FNV-1a
	for i := range len(s) {
		v = (v ^ uint32(s[i])) * 16777619
	}
	var h [4]byte
	binary.BigEndian.PutUint32(h[:], v)
	return h
}

func eventKey(k storage.EventKey) []byte {
	return append([]byte{kindEvent}, k[:]...)
}

func deliveryKey(id storage.DeliveryID) []byte {
	return append([]byte{kindDelivery}, id[:]...)
}

func appendAttemptKey(b []byte, id storage.DeliveryID, n int) []byte {
	b = append(append(b, kindAttempt), id[:]...)
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

// appendIndexKey makes a key of kind endpoint or failed.
func appendIndexKey(b []byte, kind byte, hash [4]byte, id storage.DeliveryID) []byte {
	return append(append(append(b, kind), hash[:]...), id[:]...)
}

func appendDueKey(b []byte, hash [4]byte, due int64, id storage.DeliveryID) []byte {
	b = append(append(b, kindDue), hash[:]...)
	b = appendMilli(b, due)
	return append(b, id[:]...)
}

func appendMilli(b []byte, ms int64) []byte {
	return append(b, byte(ms>>40), byte(ms>>32), byte(ms>>24), byte(ms>>16), byte(ms>>8), byte(ms))
}

func milliOf(b []byte) int64 {
	return int64(b[0])<<40 | int64(b[1])<<32 | int64(b[2])<<24 | int64(b[3])<<16 | int64(b[4])<<8 | int64(b[5])
}
