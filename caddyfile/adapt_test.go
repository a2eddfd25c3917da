package caddyfile

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

var update = flag.Bool("update", false, "write what the adapter says into the files of testdata")

const separator = "\n----------\n"

// TestAdapt adapts each file of testdata: a Caddyfile, a line of dashes, and
// the JSON or the error that must come of it.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d files and error %v, want some", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, ok := strings.Cut(string(data), separator)
			if !ok && !*update {
				t.Fatalf("got no line of dashes in %s", file)
			}
			input = strings.TrimSpace(input) + "\n"
			if formatted := caddyfile.Format([]byte(input)); string(formatted) != input {
				t.Errorf("got a Caddyfile that caddy fmt would change to:\n%s", formatted)
			}
			got := adapt(input)
			if *update {
				if err := os.WriteFile(file, []byte(strings.TrimSpace(input)+separator+got+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want = strings.TrimSpace(want); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// adapt returns the JSON or the error.
func adapt(input string) string {
	raw, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), nil)
	if err != nil {
		return err.Error()
	}
	if len(warnings) > 0 {
		return warnings[0].String()
	}
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "\t"); err != nil {
		return err.Error()
	}
	return out.String()
}
