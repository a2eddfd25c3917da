// Package egress decides which addresses attempts may reach, and dials only
// those. It is what stands between an endpoint's owner, who chooses a URL and
// controls its DNS, and the network that the sidecar runs in.
//
// The decision is made on the address that is really dialled, after name
// resolution, so that rebinding, odd notations of addresses and names that
// resolve to private networks need no special care. CheckURL only gives early
// and readable messages for mistakes in the configuration.
package egress
