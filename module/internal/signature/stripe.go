package signature

import (
	"crypto/sha256"
	"encoding/hex"
)

// stripeSigner is the scheme "stripe".
type stripeSigner struct {
	header string
	keys   []*keyed
}

// NewStripe returns a signer that sets one header as Stripe does: "t=" and the
// time of the attempt in seconds since 1970, and for each secret in order
// ",v1=" and the HMAC-SHA256 over that time and the body, joined by a dot, in
// lower-case hexadecimal digits. A key is the bytes of a secret as they are
// written. No error holds any part of a secret.
func NewStripe(secrets []Secret, header string) (Signer, error) {
	if err := checkSecrets(secrets); err != nil {
		return nil, err
	}
	header, err := checkHeader(header)
	if err != nil {
		return nil, err
	}
	s := &stripeSigner{header: header}
	for _, secret := range secrets {
		s.keys = append(s.keys, newKeyed(sha256.New, secret.Bytes()))
	}
	return s, nil
}

// Sign implements Signer.
func (s *stripeSigner) Sign(msg Message, set func(name, value string)) {
	// The time has 12 bytes, a signature 68; more than two secrets are rare.
	var room [160]byte
	value := append(room[:0], "t="...)
	for i, k := range s.keys {
		st := k.get()
		st.addTime(&msg)
		if i == 0 {
			value = append(value, st.buf...)
		}
		st.buf = append(st.buf, '.')
		st.write(msg.Body)
		st.finish()
		value = append(value, ",v1="...)
		value = hex.AppendEncode(value, st.sum)
		k.put(st)
	}
	set(s.header, string(value))
}

// Headers implements Signer.
func (s *stripeSigner) Headers() []string { return []string{s.header} }

var _ Signer = (*stripeSigner)(nil)
