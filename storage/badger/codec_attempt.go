package badger

import (
	"encoding/binary"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

func appendAttempt(b []byte, a *storage.Attempt) []byte {
	start := len(b)
	var flags byte
	if a.BodyTruncated {
		flags |= flagTruncated
	}
	if a.BodyIncomplete {
		flags |= flagIncomplete
	}
	b = append(b, recordVersion, flags)
	b = binary.AppendUvarint(b, uint64(a.Number))
	b = appendTime(b, a.StartedAt)
	b = appendDuration(b, a.Duration)
	p := &a.Phases
	for _, d := range [...]time.Duration{p.DNS, p.Connect, p.TLS, p.Write, p.Wait, p.Body} {
		b = appendDuration(b, d)
	}
	b = appendString(b, a.Verdict)
	b = appendString(b, a.Code)
	b = binary.AppendUvarint(b, uint64(a.StatusCode))
	b = binary.AppendUvarint(b, uint64(len(a.Header)))
	for k, v := range a.Header {
		b = appendString(b, k)
		b = appendString(b, v)
	}
	b = appendBytes(b, a.Body)
	b = appendString(b, a.RemoteAddr)
	b = appendString(b, a.TLSVersion)
	b = appendTime(b, a.NextAttemptAt)
	return appendChecksum(b, start)
}

func decodeAttempt(b []byte) (a storage.Attempt, err error) {
	r, err := openRecord(b)
	if err != nil {
		return a, err
	}
	flags := r.byte()
	a.BodyTruncated = flags&flagTruncated != 0
	a.BodyIncomplete = flags&flagIncomplete != 0
	a.Number = int(r.uvarint())
	a.StartedAt = r.time()
	a.Duration = r.duration()
	p := &a.Phases
	for _, d := range [...]*time.Duration{&p.DNS, &p.Connect, &p.TLS, &p.Write, &p.Wait, &p.Body} {
		*d = r.duration()
	}
	a.Verdict = r.string()
	a.Code = r.string()
	a.StatusCode = int(r.uvarint())
	if n := r.uvarint(); n > 0 && n <= uint64(len(r.b)) {
		a.Header = make(map[string]string, n)
		for range n {
			k := r.string()
			a.Header[k] = r.string()
		}
	} else if n > 0 {
		r.bad = true
	}
	if body := r.bytes(); len(body) > 0 {
		a.Body = append([]byte{}, body...)
	}
	a.RemoteAddr = r.string()
	a.TLSVersion = r.string()
	a.NextAttemptAt = r.time()
	return a, r.err()
}
