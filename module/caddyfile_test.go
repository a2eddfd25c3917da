package module_test

// The adapter that TestCanaries asks for, which the tests inside of the package
// cannot import.
import _ "github.com/promptreports/caddy-webhooks/caddyfile" //nolint:depguard // tests see both
