package storage

import (
	"bytes"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// deliveryPrefix starts the text form of every delivery id.
const deliveryPrefix = "wh_dlv_"

// MaxDeliveries is the greatest number of deliveries that one event can have:
// the fan-out index of a delivery id has two bytes, and their number fits in
// as many.
const MaxDeliveries = 1<<16 - 1

var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// EventKey identifies a stored event: the milliseconds of its acceptance
// since 1970 in six bytes and a sequence number in four. Keys sort in the
// order of acceptance.
type EventKey [10]byte

// NewEventKey makes a key.
func NewEventKey(milli int64, seq uint32) EventKey {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(milli)<<16)
	binary.BigEndian.PutUint32(b[6:], seq)
	return EventKey(b[:10])
}

// Milli returns the key's milliseconds since 1970.
func (k EventKey) Milli() int64 {
	return int64(binary.BigEndian.Uint64([]byte{0, 0, k[0], k[1], k[2], k[3], k[4], k[5]}))
}

// Time returns when the event was accepted.
func (k EventKey) Time() time.Time { return time.UnixMilli(k.Milli()) }

// Seq returns the key's sequence number.
func (k EventKey) Seq() uint32 { return binary.BigEndian.Uint32(k[6:]) }

// Delivery returns the id of the event's i-th delivery.
func (k EventKey) Delivery(i int) DeliveryID {
	var id DeliveryID
	copy(id[:], k[:])
	binary.BigEndian.PutUint16(id[10:], uint16(i))
	return id
}

// DeliveryID identifies a delivery: the key of its event and its index among
// the event's deliveries. The zero id names no delivery.
type DeliveryID [12]byte

// Event returns the key of the delivery's event.
func (id DeliveryID) Event() EventKey { return EventKey(id[:10]) }

// Time returns when the delivery was created.
func (id DeliveryID) Time() time.Time { return id.Event().Time() }

// IsZero says whether the id names no delivery.
func (id DeliveryID) IsZero() bool { return id == DeliveryID{} }

// Compare orders ids by creation.
func (id DeliveryID) Compare(other DeliveryID) int { return bytes.Compare(id[:], other[:]) }

// String returns the text form: "wh_dlv_" and 20 digits of lower-case base32
// that sort like the id.
func (id DeliveryID) String() string {
	return deliveryPrefix + idEncoding.EncodeToString(id[:])
}

// ParseDeliveryID reads the text form of a delivery id.
func ParseDeliveryID(s string) (DeliveryID, error) {
	var id DeliveryID
	digits, ok := strings.CutPrefix(s, deliveryPrefix)
	if !ok || len(digits) != idEncoding.EncodedLen(len(id)) {
		return id, fmt.Errorf("delivery id has not the form %s<20 digits>", deliveryPrefix)
	}
	if n, err := idEncoding.Decode(id[:], []byte(digits)); err != nil || n != len(id) {
		return DeliveryID{}, fmt.Errorf("delivery id has not the form %s<20 digits>", deliveryPrefix)
	}
	if id.String() != s {
		return DeliveryID{}, fmt.Errorf("delivery id has not the form %s<20 digits>", deliveryPrefix)
	}
	return id, nil
}
