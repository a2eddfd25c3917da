// Package module holds everything that knows Caddy: the webhooks app, the
// ingest handler, the management API's mounts, and what ties them to the
// delivery engine and its outbox.
package module
