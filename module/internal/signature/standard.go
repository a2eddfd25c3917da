package signature

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
)

// The headers of Standard Webhooks.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

// standardSigner is the symmetric scheme of Standard Webhooks 1.0.0, the
// asymmetric one, or both.
type standardSigner struct {
	// shared make the signatures "v1".
	shared []*keyed

	// private make the signatures "v1a". They are behind pointers, at which
	// printing stops.
	private []*ed25519.PrivateKey
}

// NewStandard returns a signer of the symmetric scheme, "v1", of Standard
// Webhooks 1.0.0: Webhook-Id is the event's id, Webhook-Timestamp the time of
// the attempt in seconds since 1970, and Webhook-Signature holds, for each
// secret in order and separated by spaces, "v1," and the base64 of the
// HMAC-SHA256 over id, timestamp and body joined by dots. A key is what a
// secret has in base64 after "whsec_", else its bytes as written. No error
// holds any part of a secret.
func NewStandard(secrets []Secret) (Signer, error) {
	if err := checkSecrets(secrets); err != nil {
		return nil, err
	}
	s := &standardSigner{}
	for i, secret := range secrets {
		key, err := secret.standardKey()
		if err != nil {
			return nil, fmt.Errorf("secret %d %w", i+1, err)
		}
		s.shared = append(s.shared, newKeyed(sha256.New, key))
	}
	return s, nil
}

// Join adds a signer to those of an endpoint. The two schemes of Standard
// Webhooks become one signer, because they share their headers:
// Webhook-Signature then has the signatures of both, those of the symmetric
// scheme first. Any other two signers for one header stay apart.
func Join(signers []Signer, s Signer) []Signer {
	more, ok := s.(*standardSigner)
	if !ok {
		return append(signers, s)
	}
	for i, other := range signers {
		if o, ok := other.(*standardSigner); ok && o.complements(more) {
			signers[i] = &standardSigner{
				shared:  slices.Concat(o.shared, more.shared),
				private: slices.Concat(o.private, more.private),
			}
			return signers
		}
	}
	return append(signers, s)
}

// complements says whether each signer has the scheme that the other lacks.
func (s *standardSigner) complements(o *standardSigner) bool {
	return (len(s.shared) == 0 || len(o.shared) == 0) && (len(s.private) == 0 || len(o.private) == 0)
}

// Sign implements Signer.
func (s *standardSigner) Sign(msg Message, set func(name, value string)) {
	timestamp := strconv.FormatInt(msg.Timestamp.Unix(), 10)
	set(headerID, msg.EventID)
	set(headerTimestamp, timestamp)

	// A signature has 47 bytes, an asymmetric one 92; more than two secrets
	// are rare.
	var room [192]byte
	value := room[:0]
	for _, k := range s.shared {
		st := k.get()
		st.buf = appendContent(st.buf, msg.EventID, timestamp)
		st.write(msg.Body)
		st.finish()
		value = appendVersion(value, "v1,")
		value = base64.StdEncoding.AppendEncode(value, st.sum)
		k.put(st)
	}
	if len(s.private) > 0 {
		content := make([]byte, 0, len(msg.EventID)+len(timestamp)+2+len(msg.Body))
		content = append(appendContent(content, msg.EventID, timestamp), msg.Body...)
		for _, key := range s.private {
			value = appendVersion(value, "v1a,")
			value = base64.StdEncoding.AppendEncode(value, ed25519.Sign(*key, content))
		}
	}
	set(headerSignature, string(value))
}

// appendContent appends what is signed before the body.
func appendContent(dst []byte, id, timestamp string) []byte {
	dst = append(dst, id...)
	dst = append(dst, '.')
	dst = append(dst, timestamp...)
	return append(dst, '.')
}

// appendVersion starts another signature of the header's list.
func appendVersion(dst []byte, version string) []byte {
	if len(dst) > 0 {
		dst = append(dst, ' ')
	}
	return append(dst, version...)
}

// Headers implements Signer.
func (*standardSigner) Headers() []string {
	return []string{headerID, headerTimestamp, headerSignature}
}

var _ Signer = (*standardSigner)(nil)
