package module

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/promptreports/caddy-webhooks/module/internal/signature"
)

func init() {
	caddy.RegisterModule(new(HMACSigner))
	caddy.RegisterModule(new(GitHubSigner))
}

// HMACSigner signs the body with an HMAC in one header, in the form that most
// receivers know. The key is the first shared secret as it is written.
type HMACSigner struct {
	// The header that carries the signature. Default: `{header_prefix}-Signature`.
	Header string `json:"header,omitempty"`

	// The hash: `sha256`, `sha512` or `sha1`. Default: `sha256`.
	Algorithm string `json:"algorithm,omitempty"`

	// How the signature is written: `hex`, in lower case, or `base64`. Default:
	// `hex`.
	Encoding string `json:"encoding,omitempty"`

	// The header's value, with `{sig}` for the signature; it may hold
	// `{timestamp}` and `{id}`. Default: `{sig}`.
	Value string `json:"value,omitempty"`

	// What is signed, with `{body}` for the body; it may hold `{timestamp}`,
	// the attempt's time in seconds since 1970, and `{id}`, the event's id.
	// Default: `{body}`.
	Content string `json:"content,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*HMACSigner) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "webhooks.signers.hmac",
		New: func() caddy.Module { return new(HMACSigner) },
	}
}

// NewSigner implements SignerModule.
func (h *HMACSigner) NewSigner(options SignerOptions) (Signer, error) {
	o := signature.HMACOptions{Header: h.Header, Algorithm: h.Algorithm, Encoding: h.Encoding, Value: h.Value, Content: h.Content}
	if o.Header == "" {
		o.Header = options.HeaderPrefix + "-Signature"
	}
	return signature.NewHMAC(options.Secrets, o)
}

// Validate finds what is wrong without a secret.
func (h *HMACSigner) Validate() error { return validateSigner(h) }

// UnmarshalCaddyfile reads:
//
//	sign hmac [<header>] {
//		algorithm sha256|sha512|sha1
//		encoding  hex|base64
//		value     <template>
//		content   <template>
//	}
func (h *HMACSigner) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the scheme's name
	if err := headerArg(d, &h.Header); err != nil {
		return err
	}
	// Each option is tried as it is read, so that the error names its line.
	try := func(o Option) Option {
		return Option{Parse: func(d *caddyfile.Dispenser) error {
			if err := o.Parse(d); err != nil {
				return err
			}
			if err := h.Validate(); err != nil {
				return d.WrapErr(err)
			}
			return nil
		}}
	}
	if err := h.Validate(); err != nil {
		return d.WrapErr(err)
	}
	return ParseBlock(d, "sign hmac", map[string]Option{
		"algorithm": try(TextOption(&h.Algorithm)),
		"encoding":  try(TextOption(&h.Encoding)),
		"value":     try(TextOption(&h.Value)),
		"content":   try(TextOption(&h.Content)),
	})
}

// headerArg reads the name of a header, which may be left out.
func headerArg(d *caddyfile.Dispenser, dst *string) error {
	if !d.NextArg() {
		return nil
	}
	if *dst = d.Val(); *dst == "" {
		return d.Err("the header's name is empty")
	}
	return nil
}

// GitHubSigner signs as GitHub does: `X-Hub-Signature-256` is `sha256=` and the
// HMAC-SHA256 of the body in lower-case hexadecimal digits. The key is the
// first shared secret as it is written.
type GitHubSigner struct{}

// CaddyModule returns the Caddy module information.
func (*GitHubSigner) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "webhooks.signers.github",
		New: func() caddy.Module { return new(GitHubSigner) },
	}
}

// NewSigner implements SignerModule.
func (*GitHubSigner) NewSigner(options SignerOptions) (Signer, error) {
	return signature.NewGitHub(options.Secrets)
}

// UnmarshalCaddyfile reads:
//
//	sign github
func (*GitHubSigner) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the scheme's name
	return ParseBlock(d, "sign github", nil)
}

// Interface guards
var (
	_ SignerModule          = (*HMACSigner)(nil)
	_ caddy.Validator       = (*HMACSigner)(nil)
	_ caddyfile.Unmarshaler = (*HMACSigner)(nil)
	_ SignerModule          = (*GitHubSigner)(nil)
	_ caddyfile.Unmarshaler = (*GitHubSigner)(nil)
)
