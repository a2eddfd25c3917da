package delivery

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/promptreports/caddy-webhooks/storage"
)

const (
	// leastSecret is the length from which a value that was sent is searched
	// for in the answer. Shorter ones, such as a timestamp, prove nothing.
	leastSecret = 16

	// leastTail is the length from which the start of such a value is taken
	// out where the answer was cut off within it.
	leastTail = 8
)

var redacted = []byte("[redacted]")

// redact takes out of the kept part of an answer what only the receiver may
// know. A receiver that answers with the headers it got, as those made for
// debugging do, would put signatures and credentials into the history, one
// that repeats its URL what its query holds, and one whose error page shows its
// environment the secret.
func redact(a *storage.Attempt, m *Message, sent http.Header) {
	if len(a.Body) < leastTail && len(a.Header) == 0 {
		return
	}
	for _, s := range m.Endpoint.Secrets {
		redactValue(a, string(s.Bytes()))
	}
	if u := m.Endpoint.URL; u.RawQuery != "" {
		for _, values := range u.Query() {
			for _, value := range values {
				redactValue(a, value)
			}
		}
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
			redactValue(a, part)
		}
	}
}

// isSeparator says whether the parts of a signature header end here.
func isSeparator(r rune) bool { return r == ' ' || r == ',' || r == '=' }

// redactValue takes one value out of an answer.
func redactValue(a *storage.Attempt, value string) {
	if len(value) < leastSecret {
		return
	}
	a.Body = censor(a.Body, value)
	if a.BodyTruncated || a.BodyIncomplete {
		a.Body = censorTail(a.Body, value)
	}
	for name, text := range a.Header {
		if strings.Contains(text, longestWord(value)) {
			a.Header[name] = string(censor([]byte(text), value))
		}
	}
}

// censor replaces a value in a text. Most texts do not hold it, which shows in
// the part of it that no encoding changes.
func censor(text []byte, value string) []byte {
	if len(text) < len(value) || !bytes.Contains(text, []byte(longestWord(value))) {
		return text
	}
	encoded, err := anyEncoding(value)
	if err != nil {
		return redacted
	}
	return encoded.ReplaceAllLiteral(text, redacted)
}

// censorTail replaces the start of a value where a text ends in it.
func censorTail(text []byte, value string) []byte {
	for n := min(len(value)-1, len(text)); n >= leastTail; n-- {
		if bytes.HasSuffix(text, []byte(value[:n])) {
			return append(text[:len(text)-n:len(text)-n], redacted...)
		}
	}
	return text
}

// longestWord returns the longest row of letters and digits in a value.
func longestWord(value string) string {
	longest := ""
	for word := range strings.FieldsFuncSeq(value, func(r rune) bool { return !isAlphanumeric(r) }) {
		if len(word) > len(longest) {
			longest = word
		}
	}
	return longest
}

func isAlphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// anyEncoding matches a value as it is, and as answers in JSON, in HTML and of
// forms have it: any of its characters but letters and digits may be escaped.
func anyEncoding(value string) (*regexp.Regexp, error) {
	var b strings.Builder
	for _, r := range value {
		if isAlphanumeric(r) {
			b.WriteRune(r)
			continue
		}
		c := string(r)
		fmt.Fprintf(&b, `(?:\\?%s|(?i:%s|%s|\\u%04x|&#0*%d;|&#x0*%x;`,
			regexp.QuoteMeta(c), regexp.QuoteMeta(url.QueryEscape(c)), regexp.QuoteMeta(url.PathEscape(c)), r, r, r)
		if name, ok := entities[r]; ok {
			b.WriteString("|&" + name + ";")
		}
		b.WriteString("))")
	}
	return regexp.Compile(b.String())
}

// entities are the names that characters have in HTML.
var entities = map[rune]string{'&': "amp", '<': "lt", '>': "gt", '"': "quot", '\'': "apos", '/': "sol", '+': "plus", '=': "equals"}
