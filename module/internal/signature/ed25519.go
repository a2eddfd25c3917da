package signature

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// NewEd25519 returns a signer of the asymmetric scheme, "v1a", of Standard
// Webhooks 1.0.0: the headers and the signed content are those of NewStandard,
// and Webhook-Signature holds "v1a," and the base64 of the Ed25519 signature,
// for each key in order. No error holds any part of a key.
func NewEd25519(keys []Secret) (Signer, error) {
	if len(keys) == 0 {
		return nil, errors.New(`needs a private key, a secret that starts with "whsk_"`)
	}
	s := &standardSigner{}
	for i, secret := range keys {
		key, err := secret.PrivateKey()
		if err != nil {
			return nil, fmt.Errorf("secret %d %w", i+1, err)
		}
		s.private = append(s.private, &key)
	}
	return s, nil
}

// IsPrivateKey says whether the secret is a private key for ed25519, which
// starts with "whsk_". Only an asymmetric scheme may sign with it.
func (s Secret) IsPrivateKey() bool {
	return s.text != nil && strings.HasPrefix(*s.text, privatePrefix)
}

// seed returns what the private key is made of.
func (s Secret) seed() ([]byte, error) {
	key, err := s.PrivateKey()
	if err != nil {
		return nil, err
	}
	return key.Seed(), nil
}

// PrivateKey returns the key which a secret has in base64 after "whsk_": its
// seed of 32 bytes, or the seed and the public key, 64 bytes. Whatever holds
// the key must not be printed.
func (s Secret) PrivateKey() (ed25519.PrivateKey, error) {
	encoded, ok := strings.CutPrefix(string(s.Bytes()), privatePrefix)
	if !ok {
		return nil, errors.New(`must start with "whsk_" to be a private key`)
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil { // not wrapped: nothing of a secret belongs in an error
		return nil, errors.New(`must have padded base64 after "whsk_"`)
	}
	if len(raw) != ed25519.SeedSize && len(raw) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf(`must have base64 of %d or %d bytes after "whsk_", not of %d`,
			ed25519.SeedSize, ed25519.PrivateKeySize, len(raw))
	}
	key := ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])
	// The public key is part of what is hashed. Signatures with a wrong one
	// verify nowhere, and two over one message give the private key away.
	if !bytes.HasPrefix(key, raw) {
		return nil, errors.New("has a public key that does not belong to its private key")
	}
	return key, nil
}
