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
	// standardPrefix starts a secret of Standard Webhooks; base64 follows.
	standardPrefix = "whsec_"

	// redacted stands for a secret wherever one could be printed.
	redacted = "[redacted]"

	minSecret   = 16      // bytes as written; fewer are refused
	shortSecret = 24      // bytes as written; fewer draw a warning
	maxSecret   = 4 << 10 // bytes as written
	minDecoded  = 24      // bytes after whsec_ (Standard Webhooks, "Signature scheme")
	maxDecoded  = 64      // bytes after whsec_ (Standard Webhooks, "Signature scheme")
)

// Secret is a shared secret. However it is printed, logged or marshalled, only
// "[redacted]" comes out. The zero Secret is none, and no signer takes it.
type Secret struct {
	// text is behind a pointer because fmt cannot call the methods of a
	// Secret in an unexported field, prints such a field by reflection, and
	// then stops at pointers.
	text *string
}

// ParseSecret checks a secret after its placeholders were resolved. It must
// have 16 to 4096 bytes, without NUL, line breaks and surrounding spaces, and
// be neither one of the usual stand-ins ("changeme") nor a placeholder that
// was not resolved. After "whsec_" it must be base64 of 24 to 64 bytes. No
// error holds any part of the secret.
func ParseSecret(text string) (Secret, error) {
	if err := checkText(text); err != nil {
		return Secret{}, fmt.Errorf("secret %w", err)
	}
	s := Secret{&text}
	if _, err := s.standardKey(); err != nil {
		return Secret{}, fmt.Errorf("secret %w", err)
	}
	return s, nil
}

// Warning says in what way an accepted secret is weak, or nothing.
func (s Secret) Warning() string {
	if n := len(s.bytes()); n > 0 && n < shortSecret {
		return fmt.Sprintf("secret has %d bytes; %d or more are better", n, shortSecret)
	}
	return ""
}

// IsZero says whether there is no secret.
func (s Secret) IsZero() bool { return s.text == nil || *s.text == "" }

// bytes returns the secret as it is written.
func (s Secret) bytes() []byte {
	if s.text == nil {
		return nil
	}
	return []byte(*s.text)
}

// standardKey returns the key of Standard Webhooks: the bytes in base64 after
// "whsec_", else the bytes as written.
func (s Secret) standardKey() ([]byte, error) {
	encoded, ok := strings.CutPrefix(string(s.bytes()), standardPrefix)
	if !ok {
		return s.bytes(), nil
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

// checkText refuses what is no secret, or one that can be guessed.
func checkText(text string) error {
	first, _ := utf8.DecodeRuneInString(text)
	last, _ := utf8.DecodeLastRuneInString(text)
	switch {
	case text == "":
		return errors.New("is empty; the variable or file that it names may be missing")
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
	case strings.HasPrefix(text, "whsk_"), strings.HasPrefix(text, "whpk_"):
		return errors.New("is a key for ed25519, not a shared secret")
	case standIn(text):
		return errors.New("is a stand-in that anybody can guess")
	}
	return nil
}

// unresolved says whether the text holds something like {env.NAME} or {$NAME}.
func unresolved(text string) bool {
	for {
		_, rest, ok := strings.Cut(text, "{")
		if !ok {
			return false
		}
		name, _, closed := strings.Cut(rest, "}")
		if closed && (strings.HasPrefix(name, "$") || strings.HasPrefix(name, "env.") ||
			strings.HasPrefix(name, "file.") || strings.HasPrefix(name, "vars.")) {
			return true
		}
		text = rest
	}
}

// standInWords are what people write where a secret should be.
var standInWords = strings.Fields(`a abc admin api change changeme demo default dummy enter example foo bar fixme
	here hmac insert is key me my not of passphrase password placeholder please put replace sample secret
	shared signing some super test testing the this to todo token use very webhook webhooks whsec with your`)

// standIn says whether the text is one character repeated, or nothing but
// stand-in words with digits and separators between them.
func standIn(text string) bool {
	text = strings.ToLower(text)
	if strings.Trim(text, text[:1]) == "" {
		return true
	}
	var letters []byte
	for i := range len(text) {
		if c := text[i]; c >= 'a' && c <= 'z' || c >= utf8.RuneSelf {
			letters = append(letters, c)
		}
	}
	// Digits alone may be a secret; a word must have been found.
	return len(letters) > len(text)/2 && madeOf(string(letters), standInWords)
}

// madeOf says whether the text is words joined together.
func madeOf(text string, words []string) bool {
	reached := make([]bool, len(text)+1)
	reached[0] = true
	for i := range text {
		for _, w := range words {
			if reached[i] && strings.HasPrefix(text[i:], w) {
				reached[i+len(w)] = true
			}
		}
	}
	return reached[len(text)]
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
