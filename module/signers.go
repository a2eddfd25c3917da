package module

import (
	"fmt"

	"github.com/promptreports/caddy-webhooks/module/internal/signature"
)

type (
	// Signer adds signature headers to attempts.
	Signer = signature.Signer

	// SigningMessage is what a Signer signs: one attempt of one event.
	SigningMessage = signature.Message

	// Secret is a shared secret or a private key, which no way of printing
	// shows. A Signer makes its keys of Secret.Bytes or Secret.PrivateKey.
	Secret = signature.Secret
)

// SignerModule is what a guest module of the namespace `webhooks.signers`
// implements: the configuration of a signature scheme. One may make the signers
// of many endpoints. The folder examples/signer has one to start from.
type SignerModule interface {
	// NewSigner makes the signer of one endpoint. It must refuse options that
	// lack the secrets the scheme needs, and whatever else would make Sign
	// fail. Its error must not hold any part of a secret: what it says comes
	// after the names of the endpoint and of the scheme. The headers that the
	// signer names must be none that every attempt has already.
	NewSigner(options SignerOptions) (Signer, error)
}

// SignerOptions are what a signer may take from outside of its own
// configuration.
type SignerOptions struct {
	// HeaderPrefix starts the names of our own headers, without a trailing
	// dash.
	HeaderPrefix string

	// Secrets are the shared secrets of the endpoint: the one in use first,
	// then those before it. A scheme with one signature signs with the first, a
	// scheme with several with all. There may be none.
	Secrets []Secret

	// PrivateKeys are those secrets of the endpoint that start with `whsk_`, in
	// the same order. There may be none.
	PrivateKeys []Secret
}

// ParseSecret makes a Secret of a text as an endpoint may have it, and refuses
// one that is too weak. Its error never holds any part of the text. Signers get
// theirs ready made; it is for the tests of signers.
func ParseSecret(text string) (Secret, error) { return signature.ParseSecret(text) }

// defaultSigners are those of an endpoint that names none: what each secret
// is for.
func defaultSigners(o SignerOptions) []SignerModule {
	var modules []SignerModule
	if len(o.Secrets) > 0 {
		modules = append(modules, new(HMACSigner), new(StandardSigner))
	}
	if len(o.PrivateKeys) > 0 {
		modules = append(modules, new(Ed25519Signer))
	}
	return modules
}

// trialSecret stands in for a secret where only the rest is of interest.
var trialSecret = func() Secret {
	s, err := signature.ParseSecret("kJ6Zr0n2Q8vXw4Tt1Lb5")
	if err != nil {
		panic(fmt.Sprintf("parsing the trial secret: %v", err))
	}
	return s
}()

// validateSigner finds what is wrong with a scheme for shared secrets, whatever
// the secret is.
func validateSigner(m SignerModule) error {
	_, err := m.NewSigner(SignerOptions{HeaderPrefix: defaultHeaderPrefix, Secrets: []Secret{trialSecret}})
	return err
}
