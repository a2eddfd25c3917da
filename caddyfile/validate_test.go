package caddyfile

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/promptreports/caddy-webhooks/module"
)

// everything gives every option.
const everything = `{
	admin off
	persist_config off
	webhooks {
		outbox badger DIR {
			retention 7d
			max_size 1GiB
			min_free 64MiB
			max_pending 1000
		}
		event_types prompt.created prompt.updated
		header_prefix X-PromptReports
		payload exact
		defaults {
			secret {env.TEST_SECRET}
			timeout 5s
		}
		egress {
			allow 10.0.0.0/8
			deny 203.0.113.0/24
		}
		transport http {
			dial_timeout 2s
		}
		max_in_flight 8
		grace_period 1s
		metrics {
			per_endpoint
		}
		endpoint acme https://example.com/hook {
			description Acme
			events prompt.* !prompt.updated
			filter metadata.folderId fld_1
			secret {file.SECRET} {env.TEST_SECRET}
			sign hmac
			sign standard
			header Authorization "Bearer {env.TEST_SECRET}"
			timeout 3s
			retry 4 {
				backoff 1s 1m
				jitter 0.1
				max_age 1d
				on_status 5xx 404
			}
			disable_after off
			max_in_flight 2
			rate_limit 100 1m
			paused
			transport http {
				versions 1.1
			}
		}
	}
}

:0 {
	webhooks /events {
		token {env.TEST_SECRET}
		origins https://app.example.com
		max_event_size 64KiB
		max_batch_size 1MiB
		read_timeout 3s
	}
}
`

// TestValidate adapts and validates a Caddyfile with every option, as caddy
// validate does, and holds that the outbox is not touched.
func TestValidate(t *testing.T) {
	dir := t.TempDir()
	outbox, secret := filepath.Join(dir, "outbox"), filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("kJ6Zr0n2Q8vXw4Tt1Lb5canary\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_SECRET", "Lb5kJ6Zr0n2Q8vXw4Tt1canary")
	input := strings.NewReplacer(" DIR ", " "+outbox+" ", "{file.SECRET}", "{file."+secret+"}").Replace(everything)
	if got := caddyfile.Format([]byte(input)); string(got) != input {
		t.Errorf("got a Caddyfile that caddy fmt would change to:\n%s", got)
	}

	raw := adapt(input)
	if strings.Contains(raw, "canary") {
		t.Errorf("got a secret in the JSON:\n%s", raw)
	}
	if err := validate(raw); err != nil {
		t.Errorf("got error %v, want none", err)
	}
	if _, err := os.Stat(outbox); !os.IsNotExist(err) {
		t.Errorf("got error %v for the outbox's directory, want that it does not exist", err)
	}

	t.Setenv("TEST_SECRET", "canary")
	err := validate(raw)
	if err == nil || !strings.Contains(err.Error(), "{env.TEST_SECRET}: secret has 6 bytes") || strings.Contains(err.Error(), "canary") {
		t.Errorf("got error %v, want one that names the placeholder and not its value", err)
	}
}

func validate(raw string) error {
	cfg := new(caddy.Config)
	if err := json.Unmarshal([]byte(raw), cfg); err != nil {
		return err
	}
	return caddy.Validate(cfg)
}

// TestImportedMistake holds that a mistake in an imported file is reported
// with that file and line, also where it shows only at the end of the block.
func TestImportedMistake(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{
		"Caddyfile": "{\n\twebhooks {\n\t\timport *.endpoint\n\t\tevent_types prompt.created\n\t}\n}\n",
		"a.endpoint": "endpoint acme https://example.com/hook {\n" +
			"\tevents prompt.*\n}\n",
		"b.endpoint": "endpoint other https://example.com/hook {\n" +
			"\ttimeout 1s\n\tevents version.*\n}\n",
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "Caddyfile")
	_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(files["Caddyfile"]), map[string]any{"filename": path})
	want := `endpoint other: event pattern "version.*" matches no event type; there are prompt.created, at ` + filepath.Join(dir, "b.endpoint") + ":3"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want one with %q", err, want)
	}
}

// FuzzApp holds that no Caddyfile makes the parser panic, and that whatever it
// accepts is a configuration which the app accepts as well.
func FuzzApp(f *testing.F) {
	for _, input := range inputs(f) {
		f.Add(input)
	}
	f.Fuzz(tryApp)
}

// TestMutations tries what FuzzApp tries on inputs made by dropping, doubling
// and exchanging words of the test files.
func TestMutations(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	all := inputs(t)
	for range 20_000 {
		words := strings.SplitAfter(all[r.IntN(len(all))], " ")
		for range 1 + r.IntN(4) {
			i, j := r.IntN(len(words)), r.IntN(len(words))
			switch r.IntN(4) {
			case 0:
				words = slices.Delete(words, i, i+1)
			case 1:
				words = slices.Insert(words, i, words[j])
			case 2:
				words[i], words[j] = words[j], words[i]
			case 3:
				other := strings.SplitAfter(all[r.IntN(len(all))], " ")
				words[i] = other[r.IntN(len(other))]
			}
			if len(words) == 0 {
				break
			}
		}
		tryApp(t, strings.Join(words, ""))
	}
}

// inputs returns the webhooks options of the test files, with blanks round
// each line break.
func inputs(tb testing.TB) []string {
	tb.Helper()
	files, err := filepath.Glob("testdata/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		tb.Fatalf("got %d files and error %v, want some", len(files), err)
	}
	var all []string
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		input, _, _ := strings.Cut(string(data), separator)
		input = strings.TrimPrefix(strings.TrimSpace(input), "{")
		all = append(all, strings.ReplaceAll(input, "\n", " \n "))
	}
	return all
}

func tryApp(t *testing.T, input string) {
	tokens, err := caddyfile.Tokenize([]byte(input), "Caddyfile")
	if err != nil {
		return
	}
	got, err := parseApp(caddyfile.NewDispenser(tokens), nil)
	if err != nil {
		return
	}
	a := new(module.App)
	if err := caddy.StrictUnmarshalJSON(got.(httpcaddyfile.App).Value, a); err != nil {
		t.Fatalf("got error %v for the JSON of %q", err, input)
	}
	if err := a.Check(); err != nil {
		t.Errorf("got error %v for what the parser accepted: %q", err, input)
	}
}
