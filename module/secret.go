package module

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/module/internal/signature"
)

// reference is the form of a value that is nothing but a placeholder. Its text
// may stand in errors, unlike a literal that happens to hold braces.
var reference = regexp.MustCompile(`^\{(env|file)\.[^{}]+\}$`)

// IsLiteral says whether a secret is written out in the configuration.
func IsLiteral(s string) bool {
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

// WarnLiteral is what to say where a secret is written out. {$NAME} in a
// Caddyfile is no better: it is replaced before the configuration is read.
const WarnLiteral = "secrets are written out in the configuration, where its readers see them; use {env.NAME} or {file./path}"

// LiteralSecrets returns the paths through the JSON to secrets, and to headers
// with credentials, that are written out in the configuration.
func (a *App) LiteralSecrets() [][]string {
	var paths [][]string
	add := func(o *EndpointOptions, path ...string) {
		for _, p := range o.literals() {
			paths = append(paths, append(slices.Clip(path), p...))
		}
	}
	if a.Defaults != nil {
		add(a.Defaults, "defaults")
	}
	for _, name := range slices.Sorted(maps.Keys(a.Endpoints)) {
		add(&a.Endpoints[name].EndpointOptions, "endpoints", name)
	}
	return paths
}

// literals returns the paths to what LiteralSecrets is about.
func (o *EndpointOptions) literals() [][]string {
	var paths [][]string
	for i, s := range o.Secret {
		if IsLiteral(s) {
			paths = append(paths, []string{"secret", index(i)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Header)) {
		if isCredential(name) && slices.ContainsFunc(o.Header[name], IsLiteral) {
			paths = append(paths, []string{"header", name})
		}
	}
	return paths
}

// credentialWords are the words in the names of headers that carry credentials.
var credentialWords = strings.Fields("apikey auth authentication authorization cookie credential credentials key passwd password secret token")

// isCredential says whether a header of the name is for credentials.
func isCredential(name string) bool {
	for word := range strings.FieldsFuncSeq(strings.ToLower(name), func(r rune) bool { return r == '-' || r == '_' }) {
		if slices.Contains(credentialWords, word) {
			return true
		}
	}
	return false
}

// resolver replaces the placeholders of configured values. It reads files
// itself, as Caddy would take any file of up to 1 MiB and say of a missing one
// only that it is empty.
type resolver struct {
	repl *caddy.Replacer

	// failed is what was wrong with the file of the value under way.
	failed error

	// exposed are the files that others may read.
	exposed []string
}

func newResolver() *resolver {
	r := &resolver{repl: caddy.NewReplacer().WithoutFile()}
	r.repl.Map(r.file)
	return r
}

// file provides {file.*}.
func (r *resolver) file(key string) (any, bool) {
	path, ok := strings.CutPrefix(key, "file.")
	if !ok {
		return nil, false
	}
	text, exposed, err := readSecretFile(path)
	if err != nil {
		r.failed = fmt.Errorf("{file.%s}: the file %w", path, err)
		return nil, true
	}
	if exposed && !slices.Contains(r.exposed, path) {
		r.exposed = append(r.exposed, path)
	}
	return text, true
}

// warn tells operators of files that are not as secret as they should be.
func (r *resolver) warn(logger *zap.Logger) {
	if n := len(r.exposed); n > 0 {
		logger.Warn("files with secrets are open to other users of this machine; take their permissions from group and others",
			zap.Int("count", n), zap.Strings("files", r.exposed[:min(n, 10)]))
	}
}

// resolveSecret is readSecret for a secret that is compared, not signed with.
func resolveSecret(r *resolver, s string) (string, error) {
	v, secret, err := readSecret(r, s)
	switch {
	case err != nil:
		return "", err
	case secret.IsPrivateKey():
		return "", errors.New("secret is a private key for ed25519, which is not to be sent")
	}
	return v, nil
}

// readSecret replaces the placeholders of a secret, and refuses one that is
// too weak to sign or to authenticate with. Errors never hold the secret.
func readSecret(r *resolver, s string) (string, Secret, error) {
	v, err := resolve(r, s)
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
func resolve(r *resolver, s string) (string, error) {
	r.failed = nil
	v, err := r.repl.ReplaceOrErr(s, true, true)
	switch {
	case err == nil:
		return v, nil
	case r.failed != nil:
		return "", r.failed
	case reference.MatchString(s):
		return "", fmt.Errorf("placeholder %s is empty or missing", s)
	default:
		return "", errors.New(`a placeholder is unknown, empty or missing (a literal brace is written \{)`)
	}
}
