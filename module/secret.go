package module

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/promptreports/caddy-webhooks/module/internal/signature"
)

// reference is the form of a value that is nothing but a placeholder. Its text
// may stand in errors, unlike a literal that happens to hold braces.
var reference = regexp.MustCompile(`^\{(env|file)\.[^{}]+\}$`)

// isLiteral says whether a secret is written out in the configuration.
func isLiteral(s string) bool {
	return !strings.Contains(s, "{env.") && !strings.Contains(s, "{file.")
}

// CheckSecret finds what is wrong with a configured secret before its
// placeholders are resolved. The error never holds any part of the secret.
func CheckSecret(s string) error {
	if strings.ContainsAny(s, "{}") {
		return nil // only resolving tells
	}
	_, err := signature.ParseSecret(s)
	return err
}

// resolveSecret is readSecret for a secret that is compared, not signed with.
func resolveSecret(repl *caddy.Replacer, s string) (string, error) {
	v, _, err := readSecret(repl, s)
	return v, err
}

// readSecret replaces the placeholders of a secret, and refuses one that is
// too weak to sign or to authenticate with. Errors never hold the secret.
func readSecret(repl *caddy.Replacer, s string) (string, Secret, error) {
	v, err := resolve(repl, s)
	if err != nil {
		return "", Secret{}, err
	}
	secret, err := signature.ParseSecret(v)
	switch {
	case err == nil:
		return v, secret, nil
	case reference.MatchString(s):
		return "", Secret{}, fmt.Errorf("%s: %w", s, err)
	default:
		return "", Secret{}, err
	}
}

// resolve replaces the placeholders of a configured value, such as {env.NAME}
// and {file./path}. Errors never hold the value.
func resolve(repl *caddy.Replacer, s string) (string, error) {
	v, err := repl.ReplaceOrErr(s, true, true)
	switch {
	case err == nil:
		return v, nil
	case reference.MatchString(s):
		return "", fmt.Errorf("placeholder %s is empty or missing", s)
	default:
		return "", errors.New(`a placeholder is unknown, empty or missing (a literal brace is written \{)`)
	}
}
