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
	start := len(b)
	b = append(b, idPrefix...)
	b = fmt.Appendf(b, "%0*d%0*d", runDigits, run, seqDigits, seq)
	b = append(b, eventTail...)
	b = fmt.Appendf(b, "%0*d", shardDigits, seq%100)
	b = append(b, eventNote...)
	pad := eventSize - (len(b) - start) - len(eventEnd)
	b = append(b, bytes.Repeat([]byte("x"), pad)...)
	return append(b, eventEnd...)
}

// eventID is the id of an event.
func eventID(run, seq int) string {
	return fmt.Sprintf("%s%0*d%0*d", idPrefix[len(`{"id":"`):], runDigits, run, seqDigits, seq)
}

// shardOffset is the place of the shard in an event.
const shardOffset = len(idPrefix) + runDigits + seqDigits + len(eventTail)

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
