package delivery

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/promptreports/caddy-webhooks/storage"
)

// leastSecret is the length from which a value that was sent is searched for
// in the answer. Shorter ones, such as a timestamp, prove nothing.
const leastSecret = 16

var redacted = []byte("[redacted]")

// redact takes out of the kept part of an answer what only the receiver may
// know: a receiver that answers with the headers it got, as those made for
// debugging do, would put signatures and credentials into the history.
func redact(a *storage.Attempt, m *Message, sent http.Header) {
	if len(a.Body) < leastSecret {
		return
	}
	for _, s := range m.Endpoint.Signers {
		for _, name := range s.Headers() {
			redactValues(a, m, sent[name])
		}
	}
	for _, values := range m.Endpoint.Header {
		redactValues(a, m, values)
	}
}

func redactValues(a *storage.Attempt, m *Message, values []string) {
	for _, value := range values {
		if value == m.EventID {
			continue
		}
		for part := range strings.FieldsFuncSeq(value, isSeparator) {
			if len(part) < leastSecret {
				continue
			}
			a.Body = bytes.ReplaceAll(a.Body, []byte(part), redacted)
			if strings.Contains(part, "/") { // as PHP writes it in JSON
				a.Body = bytes.ReplaceAll(a.Body, []byte(strings.ReplaceAll(part, "/", `\/`)), redacted)
			}
		}
	}
}

// isSeparator says whether the parts of a signature header end here.
func isSeparator(r rune) bool { return r == ' ' || r == ',' || r == '=' }
