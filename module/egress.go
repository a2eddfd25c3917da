package module

import (
	"net/netip"

	"github.com/promptreports/caddy-webhooks/module/internal/egress"
)

// Egress says where deliveries may go. It is checked on the address that is
// really dialled, after the name was resolved. Whatever it says, deliveries
// never go to the admin endpoint of the Caddy that sends them, nor to the
// listeners of its servers that have a webhooks handler.
type Egress struct {
	// Address ranges in CIDR notation, or single addresses, which deliveries
	// may reach although they are loopback, private or otherwise special.
	// Link-local and metadata addresses need a range that lies within theirs.
	Allow []string `json:"allow,omitempty"`

	// Address ranges in CIDR notation, or single addresses, which deliveries
	// must not reach. It wins over `allow`.
	Deny []string `json:"deny,omitempty"`

	// Whether URLs with http:// may name public hosts. Default: false.
	AllowHTTP bool `json:"allow_http,omitempty"`
}

// policy compiles the settings. Its error is a *ConfigError.
func (e *Egress) policy() (*egress.Policy, error) {
	p := new(egress.Policy)
	if e == nil {
		return p, nil
	}
	var err error
	if p.Allow, err = parsePrefixes(e.Allow); err != nil {
		return nil, in(err, "allow")
	}
	if p.Deny, err = parsePrefixes(e.Deny); err != nil {
		return nil, in(err, "deny")
	}
	p.AllowHTTP = e.AllowHTTP
	return p, nil
}

func parsePrefixes(texts []string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for i, text := range texts {
		p, err := egress.ParsePrefix(text)
		if err != nil {
			return nil, in(err, index(i))
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}
