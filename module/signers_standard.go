package module

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/promptreports/caddy-webhooks/module/internal/signature"
)

func init() {
	caddy.RegisterModule(new(StandardSigner))
	caddy.RegisterModule(new(Ed25519Signer))
}

// StandardSigner signs as Standard Webhooks 1.0.0 says, with shared secrets, in
// the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`. Every
// shared secret signs. A key is what a secret has in base64 after `whsec_`,
// else the secret as it is written.
//
// Beside `ed25519` the header `webhook-signature` has the signatures of both.
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

// Ed25519Signer signs as Standard Webhooks 1.0.0 says, with private keys, so
// that a receiver cannot sign what it verifies. The headers are those of
// `standard`. Every secret of the endpoint that starts with `whsk_` signs;
// after it comes the base64 of the key: its seed of 32 bytes, or 64 bytes with
// the public key at the end. Receivers get the public key, which is written
// `whpk_` and base64.
type Ed25519Signer struct{}

// CaddyModule returns the Caddy module information.
func (*Ed25519Signer) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "webhooks.signers.ed25519",
		New: func() caddy.Module { return new(Ed25519Signer) },
	}
}

// NewSigner implements SignerModule.
func (*Ed25519Signer) NewSigner(options SignerOptions) (Signer, error) {
	return signature.NewEd25519(options.PrivateKeys)
}

// UnmarshalCaddyfile reads:
//
//	sign ed25519
func (*Ed25519Signer) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the scheme's name
	return ParseBlock(d, "sign ed25519", nil)
}

// Interface guards
var (
	_ SignerModule          = (*StandardSigner)(nil)
	_ caddyfile.Unmarshaler = (*StandardSigner)(nil)
	_ SignerModule          = (*Ed25519Signer)(nil)
	_ caddyfile.Unmarshaler = (*Ed25519Signer)(nil)
)
