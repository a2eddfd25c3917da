// Package caddyfile reads the webhooks global option and the webhooks
// directive of the Caddyfile: one parse function for each block.
package caddyfile
