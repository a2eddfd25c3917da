// Package signer is a signature scheme for caddy-webhooks as a plugin, to start
// from where none of the schemes that come with it is what receivers expect.
//
// Its scheme, "keyed", sets one header to the time of the attempt and a
// signature for each secret of the endpoint, under the name that sender and
// receiver gave to that secret:
//
//	X-Acme-Signature: t=1700000000,2026-02=o6h6…==,2025-11=Wq1w…==
//
// A signature is the base64 of the HMAC-SHA-512 over the time, the event's id
// and the body, joined by dots. The Caddyfile beside this file uses it.
//
// Put such a package into a module of its own and build Caddy with both:
//
//	xcaddy build --with github.com/promptreports/caddy-webhooks \
//		--with example.com/acme/webhook-signer=./webhook-signer
package signer

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/promptreports/caddy-webhooks/module"
)

func init() {
	caddy.RegisterModule(new(Keyed))
}

// Keyed is the configuration of the scheme. In JSON it stands in the list `sign`
// of an endpoint, as `{"scheme":"keyed", …}`.
type Keyed struct {
	// The header that carries the signatures. Default:
	// `{header_prefix}-Signature`.
	Header string `json:"header,omitempty"`

	// The names of the endpoint's secrets, in their order.
	KeyIDs []string `json:"key_ids,omitempty"`
}

// CaddyModule makes the scheme known to Caddy. The last part of the ID is its
// name in the configuration.
func (*Keyed) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "webhooks.signers.keyed",
		New: func() caddy.Module { return new(Keyed) },
	}
}

// UnmarshalCaddyfile reads:
//
//	sign keyed [<header>] {
//		key_ids <id...>
//	}
func (k *Keyed) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the scheme's name
	if d.NextArg() {
		k.Header = d.Val()
	}
	return module.ParseBlock(d, "sign keyed", map[string]module.Option{
		"key_ids": module.TextsOption(&k.KeyIDs),
	})
}

// keyID is what names a secret.
var keyID = regexp.MustCompile(`^[A-Za-z0-9-]+$`)

// NewSigner makes the signer of one endpoint. What it refuses is an error of
// the configuration, which names the endpoint; errors never hold a secret.
func (k *Keyed) NewSigner(options module.SignerOptions) (module.Signer, error) {
	if len(options.Secrets) == 0 {
		return nil, errors.New("needs a shared secret")
	}
	if len(k.KeyIDs) != len(options.Secrets) {
		return nil, fmt.Errorf("has %d key_ids for %d secrets", len(k.KeyIDs), len(options.Secrets))
	}
	header := k.Header
	if header == "" {
		header = options.HeaderPrefix + "-Signature"
	}
	s := &signer{header: textproto.CanonicalMIMEHeaderKey(header)}
	for i, id := range k.KeyIDs {
		if !keyID.MatchString(id) {
			return nil, fmt.Errorf("key id %q has other than letters, digits and dashes", id)
		}
		s.keys = append(s.keys, key{id: id, secret: options.Secrets[i]})
	}
	return s, nil
}

// signer signs the attempts of one endpoint. It is used by many goroutines at
// once, and must not fail.
type signer struct {
	header string
	keys   []key
}

// key keeps the secret as it is, because a module.Secret is never printed.
type key struct {
	id     string
	secret module.Secret
}

// Sign implements module.Signer.
func (s *signer) Sign(msg module.SigningMessage, set func(name, value string)) {
	timestamp := strconv.FormatInt(msg.Timestamp.Unix(), 10)
	var value strings.Builder
	value.WriteString("t=" + timestamp)
	for _, k := range s.keys {
		mac := hmac.New(sha512.New, k.secret.Bytes())
		mac.Write([]byte(timestamp + "." + msg.EventID + "."))
		mac.Write(msg.Body)
		value.WriteString("," + k.id + "=" + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	set(s.header, value.String())
}

// Headers implements module.Signer. Two schemes of an endpoint cannot set the
// same header.
func (s *signer) Headers() []string { return []string{s.header} }

// Interface guards
var (
	_ module.SignerModule   = (*Keyed)(nil)
	_ caddyfile.Unmarshaler = (*Keyed)(nil)
)
