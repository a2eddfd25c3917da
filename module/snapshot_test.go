package module

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	zapobserver "go.uber.org/zap/zaptest/observer"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
	"github.com/promptreports/caddy-webhooks/module/internal/signature"
	"github.com/promptreports/caddy-webhooks/module/internal/subscription"
)

const testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// build makes a snapshot of a configuration in JSON.
func build(t testing.TB, config string) (*delivery.Snapshot, *zapobserver.ObservedLogs, error) {
	t.Helper()
	a := new(App)
	if err := caddy.StrictUnmarshalJSON([]byte(config), a); err != nil {
		return nil, nil, err
	}
	if err := a.Check(); err != nil {
		return nil, nil, err
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	core, logs := zapobserver.New(zapcore.DebugLevel)
	a.logger = zap.New(core)
	s, err := a.build(ctx, nil)
	return s, logs, err
}

// mustBuild makes a snapshot that is expected to be right.
func mustBuild(t testing.TB, config string) (*delivery.Snapshot, *zapobserver.ObservedLogs) {
	t.Helper()
	s, logs, err := build(t, config)
	if err != nil {
		t.Fatalf("got error %v, want none", err)
	}
	return s, logs
}

func TestSnapshotBuiltInDefaults(t *testing.T) {
	s, _ := mustBuild(t, `{"endpoints":{"b":{"url":"https://Example.com./hook?key=1"},"a":{"url":"https://example.org"}}}`)
	if got, want := s.Names, []string{"a", "b"}; !slices.Equal(got, want) {
		t.Errorf("got names %q, want %q", got, want)
	}
	if s.HeaderPrefix != "X-Webhook" || s.MaxInFlight != 512 || !strings.HasPrefix(s.UserAgent, "caddy-webhooks/") || s.Logger == nil {
		t.Errorf("got prefix %q, cap %d, user agent %q, logger %v", s.HeaderPrefix, s.MaxInFlight, s.UserAgent, s.Logger)
	}
	e := s.Endpoints["b"]
	if got, want := e.URL.String(), "https://example.com/hook?key=1"; got != want {
		t.Errorf("got URL %s, want %s", got, want)
	}
	if got, want := e.DisplayURL, "https://example.com/hook"; got != want {
		t.Errorf("got display URL %s, want %s", got, want)
	}
	if e.Timeout != 30*time.Second || e.MaxInFlight != 16 || e.Paused || len(e.Signers) != 0 || e.Transport == nil ||
		e.DisableAfter != 120*time.Hour || e.RateLimit != (delivery.RateLimit{}) {
		t.Errorf("got %+v, want the built-in defaults", e)
	}
	if got, want := e.Events, []string{"*"}; !slices.Equal(got, want) {
		t.Errorf("got events %q, want %q", got, want)
	}
	r := e.Retry
	if r.MaxAttempts != 10 || len(r.Schedule) != 9 || r.Schedule[0] != 5*time.Second || r.Schedule[8] != 24*time.Hour ||
		r.Jitter != 0.2 || r.MaxAge != 96*time.Hour || !r.OnStatus.Contains(503) || r.OnStatus.Contains(404) {
		t.Errorf("got retry policy %+v, want the default one", r)
	}
}

func TestSnapshotMergesDefaults(t *testing.T) {
	t.Setenv("OWN_SECRET", testSecret)
	const config = `{
		"defaults": {
			"secret": ["{env.OWN_SECRET}"], "sign": [{"scheme":"standard"}], "timeout": "10s", "max_in_flight": 4, "paused": true,
			"disable_after": "2d", "rate_limit": {"attempts": 10, "per": "1s"},
			"header": {"x-team": ["default"], "X-Region": ["eu"]},
			"retry": {"max_attempts": 3, "schedule": ["1s"], "jitter": 0.5, "max_age": "1h", "on_status": ["5xx"]},
			"transport": {"protocol": "http", "dial_timeout": "1s"}
		},
		"endpoints": {
			"plain": {"url": "https://example.com"},
			"own": {
				"url": "https://example.com", "sign": [{"scheme":"hmac"}], "timeout": "20s", "max_in_flight": 8, "paused": false,
				"disable_after": "36h", "rate_limit": {"attempts": 5, "per": "1m"},
				"header": {"X-Team": ["own"]},
				"retry": {"max_attempts": 7, "backoff": {"initial": "2s", "max": "1m"}, "jitter": 0},
				"transport": {"protocol": "http"}
			},
			"off": {"url": "https://example.com", "sign": [], "retry": {"max_attempts": 1}, "disable_after": 0}
		}
	}`
	s, _ := mustBuild(t, config)

	plain := s.Endpoints["plain"]
	if plain.Timeout != 10*time.Second || plain.MaxInFlight != 4 || !plain.Paused || plain.Retry.MaxAttempts != 3 || plain.Retry.Jitter != 0.5 ||
		plain.DisableAfter != 48*time.Hour || plain.RateLimit != (delivery.RateLimit{Attempts: 10, Per: time.Second}) {
		t.Errorf("got %+v, want what defaults say", plain)
	}
	if got := headersOf(plain); !slices.Equal(got, []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"}) {
		t.Errorf("got signature headers %q, want those of standard", got)
	}

	own := s.Endpoints["own"]
	if own.Timeout != 20*time.Second || own.MaxInFlight != 8 || own.Paused ||
		own.DisableAfter != 36*time.Hour || own.RateLimit != (delivery.RateLimit{Attempts: 5, Per: time.Minute}) {
		t.Errorf("got %+v, want what the endpoint says", own)
	}
	if r := own.Retry; r.MaxAttempts != 7 || len(r.Schedule) != 0 || r.Backoff != (delivery.Backoff{Initial: 2 * time.Second, Max: time.Minute, Factor: 2}) ||
		r.Jitter != 0 || r.MaxAge != time.Hour || r.OnStatus.Contains(429) {
		t.Errorf("got retry policy %+v, want the endpoint's backoff and jitter 0 with the rest of defaults", r)
	}
	if got := fmt.Sprint(own.Header); got != "map[X-Region:[eu] X-Team:[own]]" {
		t.Errorf("got header %s, want the endpoint's over that of defaults", got)
	}
	if got := headersOf(own); !slices.Equal(got, []string{"X-Webhook-Signature"}) {
		t.Errorf("got signature headers %q, want that of hmac", got)
	}
	if own.Transport == plain.Transport {
		t.Error("got the transport of defaults, want the endpoint's own")
	}

	off := s.Endpoints["off"]
	if len(off.Signers) != 0 || off.Retry.MaxAttempts != 1 || off.Retry.Schedule[0] != time.Second || off.DisableAfter != 0 {
		t.Errorf("got %+v, want no signature, no retries and no disabling", off)
	}
	if off.Transport != plain.Transport {
		t.Error("got two transports for one configuration, want one")
	}
}

func headersOf(e *delivery.Endpoint) []string {
	var names []string
	for _, s := range e.Signers {
		names = append(names, s.Headers()...)
	}
	return names
}

func TestSnapshotScheduleSetsAttempts(t *testing.T) {
	s, _ := mustBuild(t, `{"endpoints":{
		"three": {"url":"https://example.com","retry":{"schedule":["1s","2s"]}},
		"five": {"url":"https://example.com","retry":{"schedule":["1s","2s"],"max_attempts":5}},
		"ten": {"url":"https://example.com","retry":{"backoff":{"initial":"1s","max":"2s","factor":3}}}}}`)
	for name, want := range map[string]int{"three": 3, "five": 5, "ten": 10} {
		if got := s.Endpoints[name].Retry.MaxAttempts; got != want {
			t.Errorf("got %d attempts for %s, want %d", got, name, want)
		}
	}
}

func TestSnapshotSignsWithPublishedContract(t *testing.T) {
	t.Setenv("OWN_SECRET", testSecret)
	s, logs := mustBuild(t, `{"header_prefix":"X-PromptReports","endpoints":{"a":{"url":"https://example.com","secret":["{env.OWN_SECRET}"]}}}`)
	header := http.Header{}
	for _, signer := range s.Endpoints["a"].Signers {
		signer.Sign(signature.Message{EventID: "wh_evt_1", Timestamp: time.Unix(1700000000, 0), Body: []byte(`{}`)}, header.Set)
	}
	if got := header.Get("X-PromptReports-Signature"); len(got) != 64 {
		t.Errorf("got X-PromptReports-Signature of %d digits, want 64", len(got))
	}
	if got := header.Get("webhook-signature"); !strings.HasPrefix(got, "v1,") {
		t.Errorf("got webhook-signature %q, want v1,…", got)
	}
	if n := logs.Len(); n != 0 {
		t.Errorf("got %d log lines, want none: %v", n, logs.All())
	}
}

func TestSnapshotSubscriptions(t *testing.T) {
	s, _ := mustBuild(t, `{"endpoints":{
		"all": {"url":"https://example.com"},
		"prompts": {"url":"https://example.com","events":["prompt.*","!prompt.updated"],"filter":[{"field":"metadata.folderId","values":["f1"]}]}}}`)
	fields := func(string) []string { return []string{"f1"} }
	for typ, want := range map[string][]int{"prompt.created": {0, 1}, "prompt.updated": {0}, "version.created": {0}} {
		if got := s.Index.Match(nil, typ, fields); !slices.Equal(got, want) {
			t.Errorf("got %v for %s, want %v", got, typ, want)
		}
	}
	if got, want := s.Endpoints["prompts"].Filters, []subscription.Filter{{Field: "metadata.folderId", Values: []string{"f1"}}}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got filters %v, want %v", got, want)
	}
}

func TestSnapshotSharesTransports(t *testing.T) {
	s, _ := mustBuild(t, `{"endpoints":{
		"a": {"url":"https://example.com"},
		"b": {"url":"http://127.0.0.1:1"},
		"c": {"url":"https://example.com","transport":{"protocol":"http","dial_timeout":"1s"}},
		"d": {"url":"https://example.com","transport":{"protocol":"http","dial_timeout":"1s"}},
		"e": {"url":"https://example.com","transport":{"protocol":"http","dial_timeout":"2s"}}}}`)
	distinct := map[http.RoundTripper]bool{}
	for _, e := range s.Endpoints {
		distinct[e.Transport] = true
	}
	if len(distinct) != 3 {
		t.Errorf("got %d transports, want 3", len(distinct))
	}
	if s.Endpoints["a"].Transport != s.Endpoints["b"].Transport || s.Endpoints["c"].Transport != s.Endpoints["d"].Transport {
		t.Error("got endpoints of one configuration with transports of their own")
	}
}

func TestSnapshotWarnings(t *testing.T) {
	t.Setenv("SHORT_SECRET", "kJ6Zr0n2Q8vXw4Tt")
	_, logs := mustBuild(t, `{"endpoints":{
		"literal": {"url":"https://example.com","secret":["`+testSecret+`"]},
		"short": {"url":"https://example.com","secret":["{env.SHORT_SECRET}"]},
		"unsigned": {"url":"https://example.com"},
		"meant": {"url":"https://example.com","sign":[]}}}`)
	got := map[string]string{}
	for _, l := range logs.FilterLevelExact(zapcore.WarnLevel).All() {
		got[strings.Fields(l.Message)[2]] = fmt.Sprint(l.ContextMap()["endpoints"])
	}
	want := map[string]string{"written": "[literal]", "short;": "[short]", "no": "[unsigned]"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got warnings %v, want %v", got, want)
	}
}

// TestMistakes runs over what only JSON can say, and what shows only when
// placeholders are resolved and guest modules are loaded.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	empty, short := filepath.Join(dir, "empty"), filepath.Join(dir, "short")
	for path, content := range map[string]string{empty: "\n", short: "canary-1234\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOOD", testSecret)
	t.Setenv("EMPTY", "")
	t.Setenv("SHORT", "canary-1234")
	t.Setenv("CONTROL", "canary\r\nX-Evil: 1")
	t.Setenv("BAD_WHSEC", "whsec_canarycanarycanary")
	endpoint := func(options string) string {
		return `{"endpoints":{"acme":{"url":"https://example.com",` + options + `}}}`
	}
	for name, tc := range map[string]struct{ config, want string }{
		"unknown field":          {`{"max_inflight":3}`, "unknown field"},
		"unknown endpoint field": {endpoint(`"secrets":["x"]`), "unknown field"},
		"null endpoint":          {`{"endpoints":{"acme":null}}`, "endpoint acme: has no configuration"},
		"no url":                 {`{"endpoints":{"acme":{}}}`, "endpoint acme: URL is empty"},
		"name":                   {`{"endpoints":{"a\nb":{"url":"https://example.com"}}}`, `endpoint "a\nb": the name has other than`},
		"empty name":             {`{"endpoints":{"":{"url":"https://example.com"}}}`, `endpoint "": the name has other than`},
		"negative cap":           {`{"max_in_flight":-1}`, "max_in_flight: must not be negative"},
		"negative grace":         {`{"grace_period":-1}`, "grace_period: must not be negative"},
		"negative timeout":       {endpoint(`"timeout":-1`), "endpoint acme: timeout: must not be negative"},
		"negative attempts":      {endpoint(`"retry":{"max_attempts":-1}`), "endpoint acme: retry: max_attempts: must not be negative"},
		"negative max_age":       {endpoint(`"retry":{"max_age":-1}`), "endpoint acme: retry: max_age: must not be negative"},
		"negative disabling":     {endpoint(`"disable_after":-1`), "endpoint acme: disable_after: must not be negative"},
		"empty rate":             {endpoint(`"rate_limit":{}`), "endpoint acme: rate_limit: attempts: must be 1 at least"},
		"rate of nothing":        {endpoint(`"rate_limit":{"attempts":0,"per":"1s"}`), "endpoint acme: rate_limit: attempts: must be 1 at least"},
		"rate per nothing":       {endpoint(`"rate_limit":{"attempts":1}`), "endpoint acme: rate_limit: per: must be positive"},
		"rate in defaults":       {`{"defaults":{"rate_limit":{"attempts":1,"per":-1}}}`, "defaults: rate_limit: per: must be positive"},
		"zero wait":              {endpoint(`"retry":{"schedule":["1s",0]}`), "endpoint acme: retry: schedule: a wait must be positive"},
		"empty backoff":          {endpoint(`"retry":{"backoff":{}}`), "endpoint acme: retry: backoff: the initial and"},
		"filter without values":  {endpoint(`"filter":[{"field":"id"}]`), `endpoint acme: filter on "id": has no values`},
		"header without values":  {endpoint(`"header":{"X-A":null}`), "endpoint acme: header: X-A: has no value"},
		"header in two cases":    {endpoint(`"header":{"X-A":["1"],"x-a":["2"]}`), "endpoint acme: header: x-a: is given twice"},
		"secret unset":           {endpoint(`"secret":["{env.NOT_SET_AT_ALL}"]`), "endpoint acme: secret: placeholder {env.NOT_SET_AT_ALL} is empty or missing"},
		"secret empty":           {endpoint(`"secret":["{env.EMPTY}"]`), "endpoint acme: secret: placeholder {env.EMPTY} is empty or missing"},
		"secret short":           {endpoint(`"secret":["{env.GOOD}","{env.SHORT}"]`), "endpoint acme: secret: {env.SHORT}: secret has 11 bytes"},
		"secret file missing":    {endpoint(`"secret":["{file.` + dir + `/none}"]`), "endpoint acme: secret: {file." + dir + "/none}: the file does not exist"},
		"secret file empty":      {endpoint(`"secret":["{file.` + empty + `}"]`), "endpoint acme: secret: {file." + empty + "}: the file is empty"},
		"secret file short":      {endpoint(`"secret":["{file.` + short + `}"]`), "secret has 11 bytes"},
		"secret of whsec":        {endpoint(`"secret":["{env.BAD_WHSEC}"]`), "must have padded base64"},
		"secret with braces":     {endpoint(`"secret":["canary{canary}canarycanary"]`), "endpoint acme: secret: a placeholder is unknown"},
		"secret in defaults":     {`{"defaults":{"secret":["{env.EMPTY}"]}}`, "defaults: secret: placeholder {env.EMPTY} is empty or missing"},
		"header unset":           {endpoint(`"header":{"X-A":["canary {env.NOT_SET_AT_ALL}"]}`), "endpoint acme: header: X-A: a placeholder is unknown"},
		"header control":         {endpoint(`"header":{"X-A":["{env.CONTROL}"]}`), "endpoint acme: header: X-A: the value holds a control character"},
		"sign without secret":    {endpoint(`"sign":[{"scheme":"standard"}]`), "endpoint acme: sign: standard: needs a shared secret"},
		"sign unknown":           {endpoint(`"secret":["{env.GOOD}"],"sign":[{"scheme":"rot13"}]`), "endpoint acme: sign:"},
		"sign unknown option":    {endpoint(`"secret":["{env.GOOD}"],"sign":[{"scheme":"hmac","prefix":"x"}]`), "unknown field"},
		"sign twice":             {endpoint(`"secret":["{env.GOOD}"],"sign":[{"scheme":"hmac"},{"scheme":"hmac"}]`), "endpoint acme: sign: two signatures want the header X-Webhook-Signature"},
		"sign as standard":       {endpoint(`"secret":["{env.GOOD}"],"sign":[{"scheme":"hmac","header":"webhook-id"},{"scheme":"standard"}]`), "two signatures want the header Webhook-Id"},
		"sign our header":        {endpoint(`"secret":["{env.GOOD}"],"sign":[{"scheme":"hmac","header":"x-webhook-attempt"}]`), "header X-Webhook-Attempt cannot carry a signature"},
		"sign own header":        {endpoint(`"secret":["{env.GOOD}"],"sign":[{"scheme":"hmac","header":"X-Sig"}],"header":{"x-sig":["1"]}`), "header X-Sig carries a signature, but"},
		"sign in defaults":       {`{"defaults":{"sign":[{"scheme":"hmac","algorithm":"md5"}]}}`, "defaults: sign:"},
		"transport":              {endpoint(`"transport":{"protocol":"fastcgi"}`), "endpoint acme: transport"},
		"transport of the app":   {`{"transport":{"protocol":"fastcgi"}}`, "transport"},
		"transport http3":        {`{"defaults":{"transport":{"protocol":"http","versions":["3"]}}}`, "defaults: transport"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := build(t, tc.config)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got error %v, want one with %q", err, tc.want)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("got error %v, which shows a value", err)
			}
		})
	}
}

// TestSecretsStayOut holds that a resolved secret is in nothing that a
// configuration can be printed or marshalled as, and in no log line.
func TestSecretsStayOut(t *testing.T) {
	const canary = "canary-Zr0n2Q8vXw4Tt1Lb5"
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CANARY", canary)
	config := `{"defaults":{"secret":["{env.CANARY}"]},"endpoints":{"a":{"url":"https://example.com/` + canary + `?` + canary + `",
		"secret":["{env.CANARY}","{file.` + path + `}"]}}}`
	a := new(App)
	if err := json.Unmarshal([]byte(config), a); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	core, logs := zapobserver.New(zapcore.DebugLevel)
	a.logger = zap.New(core)
	s, err := a.build(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	a.Endpoints["a"].URL = "" // stands there as it was written
	raw, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, l := range logs.All() {
		lines = append(lines, fmt.Sprint(l.Message, l.ContextMap()))
	}
	for what, text := range map[string]string{
		"JSON": string(raw), "log": strings.Join(lines, "\n"), "signers": fmt.Sprintf("%+v", s.Endpoints["a"].Signers), "user agent": s.UserAgent,
	} {
		if strings.Contains(text, canary) {
			t.Errorf("got the secret in %s: %s", what, text)
		}
	}
	if !strings.Contains(string(raw), "{env.CANARY}") {
		t.Errorf("got JSON %s, want the placeholder in it", raw)
	}
}

func BenchmarkBuild(b *testing.B) {
	b.Setenv("OWN_SECRET", testSecret)
	for _, n := range []int{1_000, 10_000} {
		endpoints := map[string]*Endpoint{}
		for i := range n {
			endpoints[fmt.Sprintf("endpoint-%d", i)] = &Endpoint{
				URL:             fmt.Sprintf("https://host-%d.example.com/hook", i),
				Events:          []string{"prompt.*", "!prompt.deleted"},
				Filter:          []Filter{{Field: "metadata.folderId", Values: []string{fmt.Sprintf("fld_%d", i)}}},
				EndpointOptions: EndpointOptions{Secret: []string{fmt.Sprintf("key-{env.OWN_SECRET}-%d", i)}},
			}
		}
		raw, err := json.Marshal(&App{Endpoints: endpoints, EventTypes: []string{"prompt.created", "prompt.deleted"}})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := build(b, string(raw)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	ours := func(version string, replace *debug.Module) *debug.Module {
		return &debug.Module{Path: modulePath, Version: version, Replace: replace}
	}
	for name, test := range map[string]struct {
		main *debug.Module
		deps []*debug.Module
		want string
	}{
		"dependency":        {deps: []*debug.Module{ours("v1.2.3", nil)}, want: "1.2.3"},
		"replaced":          {deps: []*debug.Module{ours("v1.2.3", &debug.Module{Path: "example.com/fork", Version: "v1.2.4"})}, want: "1.2.4"},
		"directory":         {deps: []*debug.Module{ours("v0.0.0-20240115123000-0123456789ab", &debug.Module{Path: "/src/here", Version: "(devel)"})}, want: "0.0.0-20240115123000-0123456789ab"},
		"main module":       {main: ours("v1.2.3", nil), want: "1.2.3"},
		"tests":             {main: ours("(devel)", nil), want: "dev"},
		"without a version": {main: ours("", nil), want: "dev"},
		"not there":         {deps: []*debug.Module{{Path: "example.com/other", Version: "v1.2.3"}}, want: "dev"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			info := &debug.BuildInfo{Main: debug.Module{Path: "caddy", Version: "(devel)"}, Deps: test.deps}
			if test.main != nil {
				info.Main = *test.main
			}
			if got := versionIn(info); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
