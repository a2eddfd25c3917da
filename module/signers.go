package module

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/promptreports/caddy-webhooks/module/internal/signature"
)

func init() {
	caddy.RegisterModule(new(HMACSigner))
	caddy.RegisterModule(new(StandardSigner))
}

type (
	// Signer adds signature headers to attempts.
	Signer = signature.Signer

	// SigningMessage is what a Signer signs: one attempt of one event.
	SigningMessage = signature.Message

	// Secret is a shared secret, which no way of printing shows.
	Secret = signature.Secret
)

// SignerModule is what a guest module of the namespace `webhooks.signers`
// implements: the configuration of a signature scheme. One may make the signers
// of many endpoints.
type SignerModule interface {
	// NewSigner makes the signer of one endpoint. Its error must not hold any
	// part of a secret.
	NewSigner(options SignerOptions) (Signer, error)
}

// SignerOptions are what a signer may take from outside of its own
// configuration.
type SignerOptions struct {
	// HeaderPrefix starts the names of our own headers, without a trailing
	// dash.
	HeaderPrefix string

	// Secrets are those of the endpoint: the one in use first. There may be
	// none.
	Secrets []Secret
}

// HMACSigner signs the body with an HMAC in one header, in the form that most
// receivers know. The key is the first secret as it is written.
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
func (h *HMACSigner) Validate() error {
	_, err := h.NewSigner(SignerOptions{HeaderPrefix: defaultHeaderPrefix, Secrets: []Secret{trialSecret}})
	return err
}

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
	if d.NextArg() {
		h.Header = d.Val()
		if h.Header == "" {
			return d.Err("the header's name is empty")
		}
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

// StandardSigner signs as Standard Webhooks 1.0.0 says, in the headers
// `webhook-id`, `webhook-timestamp` and `webhook-signature`. Every secret
// signs. A key is what a secret has in base64 after `whsec_`, else the secret
// as it is written.
type StandardSigner struct{}

// CaddyModule returns the Caddy module information.
func (*StandardSigner) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "webhooks.signers.standard",
		New: func() caddy.Module { return new(StandardSigner) },
	}
}

// NewSigner implements SignerModule.
func (*StandardSigner) NewSigner(options SignerOptions) (Signer, error) {
	return signature.NewStandard(options.Secrets)
}

// UnmarshalCaddyfile reads:
//
//	sign standard
func (*StandardSigner) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the scheme's name
	return ParseBlock(d, "sign standard", nil)
}

// defaultSigners are those of an endpoint with a secret that names none.
var defaultSigners = []SignerModule{new(HMACSigner), new(StandardSigner)}

// trialSecret stands in for a secret where only the rest is of interest.
var trialSecret = func() Secret {
	s, err := signature.ParseSecret("kJ6Zr0n2Q8vXw4Tt1Lb5")
	if err != nil {
		panic(fmt.Sprintf("parsing the trial secret: %v", err))
	}
	return s
}()

// Interface guards
var (
	_ SignerModule          = (*HMACSigner)(nil)
	_ caddy.Validator       = (*HMACSigner)(nil)
	_ caddyfile.Unmarshaler = (*HMACSigner)(nil)
	_ SignerModule          = (*StandardSigner)(nil)
	_ caddyfile.Unmarshaler = (*StandardSigner)(nil)
)
