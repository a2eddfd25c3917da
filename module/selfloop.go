package module

import (
	"net"
	"net/netip"
	"reflect"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// listenerSet holds addresses at which this Caddy listens and which no
// delivery may reach, whatever the egress policy allows: those of servers with
// a handler that accepts events, which would feed on themselves, and those of
// the admin endpoint. Every other server of the same Caddy is a receiver like
// any other.
type listenerSet struct {
	mu    sync.RWMutex
	addrs []caddy.NetworkAddress
}

// adminListeners are those of the admin endpoint that serves. It belongs to
// the process: Caddy replaces it ahead of the apps, and keeps the new one even
// where the configuration fails after that.
var adminListeners listenerSet

// set replaces all addresses.
func (s *listenerSet) set(addrs ...caddy.NetworkAddress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addrs = addrs
}

// addServer adds the listeners of the server that a handler is provisioned
// for.
func (s *listenerSet) addServer(ctx caddy.Context) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range server.Listen {
		if addr, err := caddy.ParseNetworkAddress(text); err == nil { // or else the server does not start
			s.addrs = append(s.addrs, addr)
		}
	}
}

// find returns the listener that accepts what is dialled at the target.
func (s *listenerSet) find(target netip.AddrPort) (caddy.NetworkAddress, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, addr := range s.addrs {
		if accepts(addr, target) {
			return addr, true
		}
	}
	return caddy.NetworkAddress{}, false
}

// accepts says whether a listener gets what is dialled at the target.
func accepts(listener caddy.NetworkAddress, target netip.AddrPort) bool {
	port := uint(target.Port())
	if !strings.HasPrefix(listener.Network, "tcp") || port < listener.StartPort || port > listener.EndPort {
		return false
	}
	host, err := netip.ParseAddr(listener.Host)
	switch {
	case err == nil && !host.IsUnspecified():
		return host.Unmap().WithZone("") == target.Addr()
	case listener.Host == "localhost":
		return target.Addr().IsLoopback()
	default: // all interfaces, or a name, which the system resolves to some of them
		return isLocal(target.Addr())
	}
}

// isLocal says whether an address is one of this machine.
func isLocal(a netip.Addr) bool {
	if a.IsLoopback() || a.IsUnspecified() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true // refusing is the safe mistake
	}
	for _, addr := range addrs {
		if n, ok := addr.(*net.IPNet); ok {
			if local, ok := netip.AddrFromSlice(n.IP); ok && local.Unmap() == a {
				return true
			}
		}
	}
	return false
}

// refusesOwn says whether a target is one of our own listeners. It tells so
// once, because the attempt is only recorded as blocked.
func (a *App) refusesOwn(target netip.AddrPort) bool {
	addr, own := a.ingests.find(target)
	if !own {
		addr, own = adminListeners.find(target)
		// It may be disabled by now, and its port another program's.
		own = own && caddy.ListenerUsage(addr.Network, addr.JoinHostPort(0)) > 0
	}
	if own {
		a.ownTold.Do(func() {
			a.logger.Warn("an endpoint leads to the admin endpoint, or to a server that accepts events; deliveries never go there",
				zap.Stringer("address", target), zap.Stringer("listener", addr))
		})
	}
	return own
}

// warnOpenAdmin warns about an admin endpoint that listens on all interfaces.
func warnOpenAdmin(ctx caddy.Context, logger *zap.Logger) {
	addr, ok := localAdmin(configOf(ctx))
	if !ok || addr.IsUnixNetwork() || addr.IsFdNetwork() {
		return
	}
	host, err := netip.ParseAddr(addr.Host)
	if addr.Host == "" || err == nil && host.IsUnspecified() {
		logger.Warn("the admin endpoint listens on all interfaces, and checks no Host there: whoever reaches it, web pages included, can read the history and replace the configuration",
			zap.Stringer("address", addr))
	}
}

// adminAddresses returns the addresses of a configuration's admin endpoints.
func adminAddresses(ctx caddy.Context) []caddy.NetworkAddress {
	var addrs []caddy.NetworkAddress
	config := configOf(ctx)
	if addr, ok := localAdmin(config); ok {
		addrs = append(addrs, addr)
	}
	if config != nil && config.Admin != nil && config.Admin.Remote != nil {
		if addr, ok := adminAddress(config.Admin.Remote.Listen, caddy.DefaultRemoteAdminListen); ok {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// localAdmin returns the address of the admin endpoint without client
// certificates, unless that is disabled.
func localAdmin(config *caddy.Config) (caddy.NetworkAddress, bool) {
	switch {
	case config == nil || config.Admin != nil && config.Admin.Disabled:
		return caddy.NetworkAddress{}, false
	case config.Admin == nil:
		return adminAddress("", caddy.DefaultAdminListen)
	}
	return adminAddress(config.Admin.Listen, caddy.DefaultAdminListen)
}

// adminAddress reads the address of an admin endpoint as Caddy does.
func adminAddress(listen, otherwise string) (caddy.NetworkAddress, bool) {
	listen = caddy.NewReplacer().ReplaceKnown(listen, "")
	if listen == "" {
		listen = otherwise
	}
	addr, err := caddy.ParseNetworkAddress(listen)
	return addr, err == nil // or else the admin endpoint does not start
}

// configOf returns the configuration that a context belongs to, or nil. Caddy
// keeps it to itself, and with it where the admin endpoint listens, which
// nothing else tells.
func configOf(ctx caddy.Context) *caddy.Config {
	for _, field := range reflect.ValueOf(ctx).Fields() {
		if field.Type() == reflect.TypeFor[*caddy.Config]() {
			return (*caddy.Config)(field.UnsafePointer())
		}
	}
	return nil
}
