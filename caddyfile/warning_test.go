package caddyfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/promptreports/caddy-webhooks/module"
)

func init() {
	caddy.RegisterModule(memoryLog{})
}

// memoryLog keeps the log in memory.
type memoryLog struct{}

var logged struct {
	sync.Mutex
	bytes.Buffer
}

func (memoryLog) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.writers.webhooks_test_memory", New: func() caddy.Module { return new(memoryLog) }}
}

func (memoryLog) String() string                        { return "memory" }
func (memoryLog) WriterKey() string                     { return "webhooks_test_memory" }
func (m memoryLog) OpenWriter() (io.WriteCloser, error) { return m, nil }
func (memoryLog) Close() error                          { return nil }
func (memoryLog) Write(line []byte) (n int, err error) {
	logged.Lock()
	defer logged.Unlock()
	return logged.Buffer.Write(line)
}

// keepLog has Caddy log into memory until the test ends.
func keepLog(t *testing.T) {
	t.Helper()
	logged.Lock()
	logged.Reset()
	logged.Unlock()
	err := caddy.Load([]byte(`{
		"admin": {"disabled": true, "config": {"persist": false}},
		"logging": {"logs": {"default": {"writer": {"output": "webhooks_test_memory"}, "encoder": {"format": "json"}, "level": "DEBUG"}}}
	}`), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// A secret that stands in the Caddyfile is told of with its file and line, in
// every option that takes one, and however it came to stand there.
func TestLiteralSecretsWarn(t *testing.T) {
	const secret = "Vb7uq3Lw9sXe2RkTzY5nQd8c"
	t.Setenv("WEBHOOKS_TEST_LITERAL", secret)
	keepLog(t)
	const input = `{
	webhooks {
		defaults {
			header X-Api-Key Vb7uq3Lw9sXe2RkTzY5nQd8c
		}
		endpoint acme https://example.com/hook {
			secret {env.GOOD} Vb7uq3Lw9sXe2RkTzY5nQd8c
			header Authorization "Bearer Vb7uq3Lw9sXe2RkTzY5nQd8c"
			header X-Team red
			header X-Token {file./run/secrets/token}
		}
		endpoint other https://example.com/hook {
			secret {$WEBHOOKS_TEST_LITERAL}
		}
		endpoint good https://example.com/hook {
			secret {file./run/secrets/good} {env.GOOD}
			header Authorization "Bearer {env.GOOD}"
		}
	}
}

:0 {
	webhooks {
		token {env.TOKEN} Vb7uq3Lw9sXe2RkTzY5nQd8c
	}
}
`
	if _, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"}); err != nil {
		t.Fatal(err)
	}
	logged.Lock()
	defer logged.Unlock()
	var got []string
	for line := range strings.Lines(logged.String()) {
		var entry struct {
			Level, Logger, Msg, File string
			Line                     int
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		if entry.Level == "warn" && entry.Logger == "caddyfile" && entry.Msg == module.WarnLiteral {
			got = append(got, fmt.Sprintf("%s:%d", entry.File, entry.Line))
		}
	}
	slices.Sort(got)
	want := []string{"Caddyfile:13", "Caddyfile:24", "Caddyfile:4", "Caddyfile:7", "Caddyfile:8"}
	if !slices.Equal(got, want) {
		t.Errorf("got warnings at %q, want them at %q", got, want)
	}
	if strings.Contains(logged.String(), secret) {
		t.Errorf("got the secret in the log:\n%s", logged.String())
	}
}

// Interface guards
var _ caddy.WriterOpener = memoryLog{}
