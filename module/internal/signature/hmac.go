package signature

import (
	"crypto/sha1" // an HMAC is safe with SHA-1, and some receivers know no other
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
)

// The names that the templates of an HMAC scheme may hold.
const (
	nameSig       = "sig"
	nameTimestamp = "timestamp"
	nameID        = "id"
	nameBody      = "body"
)

// HMACOptions shape the scheme "hmac". Only Header must be set.
type HMACOptions struct {
	// Header names the header that carries the signature.
	Header string

	// Algorithm is the hash: "sha256" (default), "sha512" or "sha1".
	Algorithm string

	// Encoding is how the MAC is written: "hex" (default, in lower case) or
	// "base64" (with padding).
	Encoding string

	// Value is the header's value, "{sig}" by default. It has {sig} once, and
	// may have {timestamp} (of the attempt, in seconds since 1970) and {id}
	// (of the event).
	Value string

	// Content is what is signed, "{body}" by default. It has {body} once, and
	// may have {timestamp} and {id}. Whatever of these it has, Value or
	// another header should carry too.
	Content string
}

// NewHMAC returns a signer that sets one header to the HMAC of each message,
// keyed by the bytes of the first secret as they are written. By default that
// is the HMAC-SHA256 of the body in 64 lower-case hexadecimal digits. The other
// secrets are for schemes with several signatures; a header with one value
// cannot carry them. No error holds any part of a secret.
func NewHMAC(secrets []Secret, o HMACOptions) (Signer, error) {
	if err := checkSecrets(secrets); err != nil {
		return nil, err
	}
	s := &hmacSigner{}
	if err := s.shape(o); err != nil {
		return nil, err
	}
	newHash, err := hashOf(o.Algorithm)
	if err != nil {
		return nil, err
	}
	s.keyed = newKeyed(newHash, secrets[0].Bytes())
	return s, nil
}

// NewGitHub returns a signer that sets X-Hub-Signature-256 as GitHub does: to
// "sha256=" and the HMAC-SHA256 of the body in lower-case hexadecimal digits,
// keyed by the bytes of the first secret as they are written.
func NewGitHub(secrets []Secret) (Signer, error) {
	return NewHMAC(secrets, HMACOptions{Header: "X-Hub-Signature-256", Value: "sha256={sig}"})
}

// hmacSigner is the scheme "hmac".
type hmacSigner struct {
	header         string
	base64         bool
	value, content []part
	keyed          *keyed
}

// shape checks the options and fills the signer.
func (s *hmacSigner) shape(o HMACOptions) (err error) {
	if s.header, err = checkHeader(o.Header); err != nil {
		return err
	}
	switch o.Encoding {
	case "", "hex":
	case "base64":
		s.base64 = true
	default:
		return fmt.Errorf("unknown encoding %q; there are hex and base64", o.Encoding)
	}
	if s.value, err = parseTemplate(orDefault(o.Value, "{sig}"), nameSig, nameTimestamp, nameID); err != nil {
		return fmt.Errorf("value template %w", err)
	}
	if count(s.value, nameSig) != 1 {
		return errors.New("value template must have {sig} once")
	}
	if !printable(o.Value) {
		return errors.New("value template has a character that no header may hold, or a space at an end")
	}
	if s.content, err = parseTemplate(orDefault(o.Content, "{body}"), nameBody, nameTimestamp, nameID); err != nil {
		return fmt.Errorf("content template %w", err)
	}
	if count(s.content, nameBody) != 1 {
		return errors.New("content template must have {body} once")
	}
	return nil
}

// Sign implements Signer.
func (s *hmacSigner) Sign(msg Message, set func(name, value string)) {
	st := s.keyed.get()
	for i := range s.content {
		switch p := &s.content[i]; p.name {
		case nameBody:
			st.write(msg.Body)
		default:
			st.add(p, &msg)
		}
	}
	st.finish()
	for i := range s.value {
		switch p := &s.value[i]; {
		case p.name != nameSig:
			st.add(p, &msg)
		case s.base64:
			st.buf = base64.StdEncoding.AppendEncode(st.buf, st.sum)
		default:
			st.buf = hex.AppendEncode(st.buf, st.sum)
		}
	}
	value := string(st.buf)
	s.keyed.put(st)
	set(s.header, value)
}

// Headers implements Signer.
func (s *hmacSigner) Headers() []string { return []string{s.header} }

// add collects a literal, the time or the event's id.
func (s *state) add(p *part, m *Message) {
	switch p.name {
	case nameTimestamp:
		s.addTime(m)
	case nameID:
		s.buf = append(s.buf, m.EventID...)
	default:
		s.buf = append(s.buf, p.text...)
	}
}

// checkSecrets refuses no secrets, and those that are none to share.
func checkSecrets(secrets []Secret) error {
	if len(secrets) == 0 {
		return errors.New("needs a shared secret")
	}
	for i, s := range secrets {
		switch {
		case s.IsZero():
			return fmt.Errorf("secret %d is empty", i+1)
		case s.IsPrivateKey():
			return fmt.Errorf("secret %d is a private key for ed25519, not a shared secret", i+1)
		}
	}
	return nil
}

// hashOf returns the hash of an algorithm's name.
func hashOf(name string) (func() hash.Hash, error) {
	switch name {
	case "", "sha256":
		return sha256.New, nil
	case "sha512":
		return sha512.New, nil
	case "sha1":
		return sha1.New, nil
	default:
		return nil, fmt.Errorf("unknown algorithm %q; there are sha256, sha512 and sha1", name)
	}
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

var _ Signer = (*hmacSigner)(nil)
