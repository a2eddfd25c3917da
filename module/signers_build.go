package module

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/net/http/httpguts"

	"github.com/promptreports/caddy-webhooks/module/internal/signature"
)

// sign makes the signers of an endpoint.
func (b *builder) sign(name string, e *Endpoint, secrets []Secret, header http.Header) ([]Signer, error) {
	options := SignerOptions{HeaderPrefix: b.app.headerPrefix()}
	for _, s := range secrets {
		if s.IsPrivateKey() {
			options.PrivateKeys = append(options.PrivateKeys, s)
		} else {
			options.Secrets = append(options.Secrets, s)
		}
	}
	modules := b.signers
	switch {
	case e.SignRaw != nil:
		var err error
		if modules, err = b.loadSigners(&e.EndpointOptions); err != nil {
			return nil, in(err, "sign")
		}
	case modules == nil && len(secrets) > 0:
		modules = defaultSigners(options)
	case modules == nil:
		b.unsigned = append(b.unsigned, name)
	}
	signers, err := b.newSigners(modules, options, header)
	return signers, in(err, "sign")
}

func (b *builder) newSigners(modules []SignerModule, options SignerOptions, header http.Header) ([]Signer, error) {
	signers := make([]Signer, 0, len(modules))
	for _, m := range modules {
		s, err := m.NewSigner(options)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", schemeName(m), err)
		}
		signers = signature.Join(signers, s)
	}
	if err := checkUse(modules, options); err != nil {
		return nil, err
	}
	return signers, b.checkSigned(signers, header)
}

// checkSigned refuses headers that a signature cannot be in, because another
// value is.
func (b *builder) checkSigned(signers []Signer, header http.Header) error {
	taken := make(map[string]bool)
	for _, s := range signers {
		for _, name := range s.Headers() {
			name = textproto.CanonicalMIMEHeaderKey(name)
			switch {
			case !httpguts.ValidHeaderFieldName(name):
				return fmt.Errorf("%q is not the name of a header", name)
			case taken[name]:
				return fmt.Errorf("two signatures want the header %s: name another for one of them", name)
			case b.isOurs(name):
				return fmt.Errorf("header %s cannot carry a signature: every attempt has it already", name)
			case header[name] != nil:
				return fmt.Errorf("header %s carries a signature, but is set by the option header as well", name)
			}
			taken[name] = true
		}
	}
	return nil
}

// checkUse refuses secrets that no scheme signs with: a receiver waits in vain
// for the signature that they are meant for. An endpoint without schemes is
// unsigned on purpose.
func checkUse(modules []SignerModule, o SignerOptions) error {
	if len(modules) == 0 {
		return nil
	}
	var shared, private bool
	for _, m := range modules {
		switch m.(type) {
		case *Ed25519Signer:
			private = true
		case *HMACSigner, *GitHubSigner, *StandardSigner, *StripeSigner:
			shared = true
		default: // a scheme of others may use both
			return nil
		}
	}
	switch {
	case len(o.PrivateKeys) > 0 && !private:
		return errors.New(`no scheme signs with the secret that starts with "whsk_": add ed25519, or remove the secret`)
	case len(o.Secrets) > 0 && !shared:
		return errors.New(`no scheme signs with the secret that does not start with "whsk_": add standard or another scheme, or remove the secret`)
	}
	return nil
}

// schemeName is the name of a scheme in the configuration.
func schemeName(m SignerModule) string {
	if module, ok := m.(caddy.Module); ok {
		return module.CaddyModule().ID.Name()
	}
	return fmt.Sprintf("%T", m)
}

// loadSigners loads the signer modules; the answer is never nil.
func (b *builder) loadSigners(o *EndpointOptions) ([]SignerModule, error) {
	loaded, err := b.ctx.LoadModule(o, "SignRaw")
	if err != nil {
		return nil, err
	}
	modules := []SignerModule{}
	for _, m := range loaded.([]any) {
		s, ok := m.(SignerModule)
		if !ok {
			return nil, fmt.Errorf("module %T does not make signers", m)
		}
		modules = append(modules, s)
	}
	return modules, nil
}

// isOurs says whether a header, in canonical form, is none that a signature
// may be in. Those of Standard Webhooks are reserved for signatures.
func (b *builder) isOurs(name string) bool {
	reserved := isReserved(name, "")
	return slices.Contains(b.ours, name) || reserved != "" && !strings.HasPrefix(name, "Webhook-")
}
