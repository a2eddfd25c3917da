// Package webhooks is the plugin as xcaddy imports it: it registers the
// webhooks app, its handlers and its Caddyfile directives with Caddy.
package webhooks

import (
	_ "github.com/promptreports/caddy-webhooks/caddyfile" // the Caddyfile directives
	_ "github.com/promptreports/caddy-webhooks/module"    // the app and its handlers
)
