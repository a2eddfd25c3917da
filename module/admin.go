package module

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"

	"github.com/promptreports/caddy-webhooks/module/internal/api"
	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
)

func init() {
	caddy.RegisterModule(new(AdminAPI))
}

// AdminAPI mounts the management API at `/webhooks/` of Caddy's admin
// endpoint. It has no configuration.
//
// It looks for the webhooks app at every request: the admin endpoint of a
// configuration that failed to load goes on serving, beside the apps of the
// configuration before it.
type AdminAPI struct {
	api *api.Handler
}

// CaddyModule returns the Caddy module information.
func (*AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.webhooks",
		New: func() caddy.Module { return new(AdminAPI) },
	}
}

// Provision registers the metrics, which the admin endpoint shows, because the
// app's own Provision does not come that far in a configuration that fails
// early; and takes down where the admin endpoint is about to listen.
func (a *AdminAPI) Provision(ctx caddy.Context) error {
	if err := registerMetrics(ctx.GetMetricsRegistry()); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	adminListeners.set(adminAddresses(ctx)...)
	a.api = api.New(activeEngine, version())
	return nil
}

// Routes implements caddy.AdminRouter. The routes are told apart because
// Caddy counts admin requests by their pattern.
func (a *AdminAPI) Routes() []caddy.AdminRoute {
	var routes []caddy.AdminRoute
	for _, pattern := range append(api.Patterns(), api.Root) {
		routes = append(routes, caddy.AdminRoute{Pattern: pattern, Handler: caddy.AdminHandlerFunc(a.serve)})
	}
	return routes
}

func (a *AdminAPI) serve(w http.ResponseWriter, r *http.Request) error {
	ctx := caddy.ActiveContext()
	if ctx.Context != nil { // else Caddy is starting or stopping, and the API says so
		if _, err := ctx.AppIfConfigured("webhooks"); errors.Is(err, caddy.ErrNotConfigured) {
			return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: errors.New("webhooks is not configured")}
		}
	}
	a.api.ServeHTTP(w, r)
	return nil
}

// activeEngine returns the engine of the configuration that Caddy runs, or nil
// where there is none.
func activeEngine() *delivery.Engine {
	ctx := caddy.ActiveContext()
	if ctx.Context == nil {
		return nil
	}
	app, err := ctx.AppIfConfigured("webhooks")
	if err != nil {
		return nil
	}
	a, ok := app.(*App)
	if !ok {
		return nil
	}
	select {
	case <-a.started:
		return a.pooled.engine
	default:
		return nil
	}
}

// Interface guards
var (
	_ caddy.AdminRouter = (*AdminAPI)(nil)
	_ caddy.Provisioner = (*AdminAPI)(nil)
)
