// Package examples_test checks that what stands in examples/ and in the README
// works: every Caddyfile is adapted and validated, the receivers verify real
// deliveries, and the README's snippets are the receivers' code.
package examples_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // what the examples use of Caddy

	_ "github.com/promptreports/caddy-webhooks" // the module under test
)

// runCaddy makes the test binary a Caddy, for tests that need a process.
const runCaddy = "EXAMPLES_TEST_RUN_CADDY"

func TestMain(m *testing.M) {
	if os.Getenv(runCaddy) != "" {
		caddycmd.Main()
		return
	}
	os.Exit(m.Run())
}

// TestCaddyfiles is not parallel: it loads configurations and sets the
// environment.
func TestCaddyfiles(t *testing.T) {
	dir := t.TempDir()
	secrets := filepath.Join(dir, "secrets")
	for name, value := range map[string]string{
		"STATE_DIRECTORY":       filepath.Join(dir, "state"),
		"CREDENTIALS_DIRECTORY": secrets,
		"QUICKSTART_OUTBOX":     filepath.Join(dir, "quickstart"),
		"WEBHOOK_SECRET":        "example-secret-for-tests-0",
		"ACME_WEBHOOK_SECRET":   "example-secret-for-tests-1",
		"INITECH_WEBHOOK_SECRET": "whsec_" +
			"ZXhhbXBsZS1zZWNyZXQtZm9yLXRlc3RzLXR3bw==",
		"INGEST_TOKEN": "example-token-for-tests-00",
	} {
		t.Setenv(name, value)
	}
	for _, name := range []string{"acme_secret", "acme_deploy", "globex_new", "globex_old", "webhooks/acme"} {
		writeFile(t, filepath.Join(secrets, name), "example-secret-in-a-file-"+strings.ReplaceAll(name, "/", "-")+"\n")
	}
	// The absolute paths of containers and servers are not ours to write to.
	paths := strings.NewReplacer(
		"/run/secrets/", secrets+"/",
		"/var/lib/caddy/", dir+"/var/",
		"badger /data/", "badger "+dir+"/data/",
	)

	found := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasPrefix(d.Name(), "Caddyfile") {
			return err
		}
		found++
		t.Run(path, func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			validate(t, path, paths.Replace(string(text)))
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 5 {
		t.Errorf("found %d Caddyfiles, want all of them", found)
	}
}

// validate adapts and validates a Caddyfile, and demands that it is formatted
// and draws no other warning.
func validate(t *testing.T, path, text string) {
	t.Helper()
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": path})
	if err != nil {
		t.Fatalf("adapting: %v", err)
	}
	for _, w := range warnings {
		t.Errorf("got the warning %s, want none", w)
	}
	var cfg caddy.Config
	if err := json.Unmarshal(adapted, &cfg); err != nil {
		t.Fatalf("reading the adapted configuration: %v", err)
	}
	if _, ok := cfg.AppsRaw["webhooks"]; !ok {
		t.Error("got no webhooks app, want one")
	}
	if err := caddy.Validate(&cfg); err != nil {
		t.Errorf("validating: %v", err)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
