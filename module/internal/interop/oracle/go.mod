module github.com/promptreports/caddy-webhooks/module/internal/interop/oracle

go 1.26.0

require (
	code.dny.dev/ssrf v0.3.0
	github.com/promptreports/caddy-webhooks v0.0.0
	github.com/standard-webhooks/standard-webhooks/libraries v0.0.1
)

require (
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/promptreports/caddy-webhooks => ../../../..
