package signature

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// The prefixes of Standard Webhooks; base64 follows.
	standardPrefix = "whsec_" // a shared secret
	privatePrefix  = "whsk_"  // a private key for ed25519
	publicPrefix   = "whpk_"  // a public one

	// redacted stands for a secret wherever one could be printed.
	redacted = "[redacted]"

	minSecret   = 16      // bytes as written; fewer are refused
	shortSecret = 24      // bytes as written; fewer draw a warning
	maxSecret   = 4 << 10 // bytes as written
	minDecoded  = 24      // bytes after whsec_ (Standard Webhooks, "Signature scheme")
	maxDecoded  = 64      // bytes after whsec_ (Standard Webhooks, "Signature scheme")
)

// Secret is a shared secret, or a private key for ed25519. However it is
// printed, logged or marshalled, only "[redacted]" comes out. The zero Secret
// is none, and no signer takes it.
type Secret struct {
	// text is behind a pointer because fmt cannot call the methods of a
	// Secret in an unexported field, prints such a field by reflection, and
	// then stops at pointers.
	text *string
}

// ParseSecret checks a secret after its placeholders were resolved. It must
// have 16 to 4096 bytes, without NUL, line breaks and surrounding spaces, and
// be neither made up of the usual stand-ins ("changeme-12345678") nor a
// placeholder that was not resolved. After "whsec_" it must be base64 of 24 to
// 64 bytes, after "whsk_" that of a private key for ed25519. No error holds
// any part of the secret.
func ParseSecret(text string) (Secret, error) {
	if err := checkText(text); err != nil {
		return Secret{}, fmt.Errorf("secret %w", err)
	}
	s := Secret{&text}
	if err := s.checkKey(); err != nil {
		return Secret{}, fmt.Errorf("secret %w", err)
	}
	return s, nil
}

// Warning says in what way an accepted secret is weak, or nothing.
func (s Secret) Warning() string {
	if n := len(s.Bytes()); n > 0 && n < shortSecret {
		return fmt.Sprintf("secret has %d bytes; %d or more are better", n, shortSecret)
	}
	return ""
}

// IsZero says whether there is no secret.
func (s Secret) IsZero() bool { return s.text == nil || *s.text == "" }

// Bytes returns a copy of the secret as it is written. It is for making keys
// of; whatever holds it must not be printed.
func (s Secret) Bytes() []byte {
	if s.text == nil {
		return nil
	}
	return []byte(*s.text)
}

// standardKey returns the key of Standard Webhooks: the bytes in base64 after
// "whsec_", else the bytes as written.
func (s Secret) standardKey() ([]byte, error) {
	encoded, ok := strings.CutPrefix(string(s.Bytes()), standardPrefix)
	if !ok {
		return s.Bytes(), nil
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil { // not wrapped: nothing of a secret belongs in an error
		return nil, errors.New(`must have padded base64 after "whsec_"`)
	}
	if len(key) < minDecoded || len(key) > maxDecoded {
		return nil, fmt.Errorf(`must have base64 of %d to %d bytes after "whsec_", not of %d`, minDecoded, maxDecoded, len(key))
	}
	return key, nil
}

// checkKey finds what is wrong with the key of a secret that Standard Webhooks
// gives a form to.
func (s Secret) checkKey() error {
	keyOf := s.standardKey
	if s.IsPrivateKey() {
		keyOf = s.seed
	}
	key, err := keyOf()
	if err == nil && standIn(string(key)) { // also what was guessable before it was encoded
		return errStandIn
	}
	return err
}

// checkText refuses what is no secret, or one that can be guessed.
func checkText(text string) error {
	first, _ := utf8.DecodeRuneInString(text)
	last, _ := utf8.DecodeLastRuneInString(text)
	switch {
	case text == "":
		return errors.New("is empty; the variable or file that it names may be missing")
	case strings.HasPrefix(text, "\ufeff"):
		return errors.New("starts with a byte order mark")
	case strings.ContainsRune(text, 0):
		return errors.New("has a NUL byte")
	case unicode.IsSpace(first) || unicode.IsSpace(last):
		return errors.New("starts or ends with a space or a line break")
	case strings.ContainsAny(text, "\r\n"):
		return errors.New("has a line break")
	case unresolved(text):
		return errors.New("holds a placeholder that was not resolved")
	case len(text) < minSecret:
		return fmt.Errorf("has %d bytes; it must have at least %d", len(text), minSecret)
	case len(text) > maxSecret:
		return fmt.Errorf("has %d bytes; it may have at most %d", len(text), maxSecret)
	case strings.HasPrefix(text, publicPrefix):
		return errors.New(`is a public key, with which receivers verify; the private key that signs starts with "whsk_"`)
	case standIn(text):
		return errStandIn
	}
	return nil
}

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (Secret) GoString() string { return redacted }

// Format prints "[redacted]" for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText returns "[redacted]".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[redacted]" as a JSON string.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
