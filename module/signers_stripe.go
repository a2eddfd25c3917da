package module

import (
	"cmp"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/promptreports/caddy-webhooks/module/internal/signature"
)

func init() {
	caddy.RegisterModule(new(StripeSigner))
}

// StripeSigner signs as Stripe does: the header is `t=` and the attempt's time
// in seconds since 1970, and for each shared secret `,v1=` and the HMAC-SHA256
// over that time, a dot and the body, in lower-case hexadecimal digits. A key
// is a secret as it is written.
type StripeSigner struct {
	// The header that carries the signatures. Default: `Stripe-Signature`.
	Header string `json:"header,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*StripeSigner) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "webhooks.signers.stripe",
		New: func() caddy.Module { return new(StripeSigner) },
	}
}

// NewSigner implements SignerModule.
func (s *StripeSigner) NewSigner(options SignerOptions) (Signer, error) {
	return signature.NewStripe(options.Secrets, cmp.Or(s.Header, "Stripe-Signature"))
}

// Validate finds what is wrong without a secret.
func (s *StripeSigner) Validate() error { return validateSigner(s) }

// UnmarshalCaddyfile reads:
//
//	sign stripe [<header>]
func (s *StripeSigner) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the scheme's name
	if err := headerArg(d, &s.Header); err != nil {
		return err
	}
	if err := s.Validate(); err != nil {
		return d.WrapErr(err)
	}
	return ParseBlock(d, "sign stripe", nil)
}

// Interface guards
var (
	_ SignerModule          = (*StripeSigner)(nil)
	_ caddy.Validator       = (*StripeSigner)(nil)
	_ caddyfile.Unmarshaler = (*StripeSigner)(nil)
)
