package signature

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
)

// The headers of Standard Webhooks.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

// standardSigner is the symmetric scheme of Standard Webhooks 1.0.0.
type standardSigner struct{ keys []*keyed }

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
		s.keys = append(s.keys, newKeyed(sha256.New, key))
	}
	return s, nil
}

// Sign implements Signer.
func (s *standardSigner) Sign(msg Message, set func(name, value string)) {
	timestamp := strconv.FormatInt(msg.Timestamp.Unix(), 10)
	set(headerID, msg.EventID)
	set(headerTimestamp, timestamp)

	// One signature has 47 bytes; more than two secrets are rare.
	var room [128]byte
	value := room[:0]
	for i, k := range s.keys {
		st := k.get()
		st.buf = append(st.buf, msg.EventID...)
		st.buf = append(st.buf, '.')
		st.buf = append(st.buf, timestamp...)
		st.buf = append(st.buf, '.')
		st.write(msg.Body)
		st.finish()
		if i > 0 {
			value = append(value, ' ')
		}
		value = append(value, "v1,"...)
		value = base64.StdEncoding.AppendEncode(value, st.sum)
		k.put(st)
	}
	set(headerSignature, string(value))
}

// Headers implements Signer.
func (*standardSigner) Headers() []string {
	return []string{headerID, headerTimestamp, headerSignature}
}

var _ Signer = (*standardSigner)(nil)
