package main

import (
	"bytes"
	"fmt"
)

// The documentation's example event, with an id that tells run and sequence
// number, a shard (the sequence number's last digits, for endpoints that filter),
// and padded to eventSize.
const (
	eventSize = 600

	idPrefix  = `{"id":"wh_evt_`
	runDigits = 4
	seqDigits = 10
	eventTail = `","type":"version.promoted","timestamp":"2024-01-15T10:30:00Z","data":{` +
		`"promptId":"prm_xyz789","promptName":"Customer Support Response","versionId":"ver_def456","versionNumber":5,` +
		`"previousStage":"staging","newStage":"production","promotedBy":{"id":"usr_ghi012","name":"Jane Smith",` +
		`"email":"jane@example.com"}},"metadata":{"folderId":"fld_jkl345","folderName":"Production Prompts","shard":"`
	shardDigits = 2
	eventNote   = `","note":"`
	eventEnd    = `"}}`
)

// appendEvent appends an event's JSON, in the form in which it is sent on.
func appendEvent(b []byte, run, seq int) []byte {
	b = append(b, idPrefix...)
	b = fmt.Appendf(b, "%0*d%0*d", runDigits, run, seqDigits, seq)
	b = append(b, eventTail...)
	b = fmt.Appendf(b, "%0*d", shardDigits, seq%100)
	b = append(b, eventNote...)
	b = append(b, make([]byte, noteSize)...)
	putNote(b[len(b)-noteSize:], seq)
	return append(b, eventEnd...)
}

// eventID is the id of an event.
func eventID(run, seq int) string {
	return fmt.Sprintf("%s%0*d%0*d", idPrefix[len(`{"id":"`):], runDigits, run, seqDigits, seq)
}

// shardOffset is the place of the shard in an event.
const shardOffset = len(idPrefix) + runDigits + seqDigits + len(eventTail)

// The note fills an event up.
const (
	noteOffset = shardOffset + shardDigits + len(eventNote)
	noteSize   = eventSize - noteOffset - len(eventEnd)
)

// putNote overwrites b with letters that differ from event to event and hardly
// compress, as those of real events.
func putNote(b []byte, seq int) {
	x := uint64(seq)*0x9e3779b97f4a7c15 + 1
	for i := range b {
		if i%8 == 0 { // xorshift
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
		}
		b[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[x>>(i%8*6)&63]
	}
}

// putDigits overwrites b with a number.
func putDigits(b []byte, n int) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
}

// digits reads a number, or -1.
func digits(b []byte) int {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// parseEvent reads run and sequence number of an event's JSON.
func parseEvent(body []byte) (run, seq int, ok bool) {
	id, ok := bytes.CutPrefix(body, []byte(idPrefix))
	if !ok || len(id) < runDigits+seqDigits {
		return 0, 0, false
	}
	run, seq = digits(id[:runDigits]), digits(id[runDigits:runDigits+seqDigits])
	return run, seq, run >= 0 && seq >= 0
}
