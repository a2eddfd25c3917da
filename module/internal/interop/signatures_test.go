package interop

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// requireNode makes it a failure that Node or its packages are missing. CI
// sets it.
const requireNode = "INTEROP_REQUIRE_NODE"

// signingKeys are what endpoints sign with and receivers verify with, by the
// name of the variable.
type signingKeys map[string]string

// newSigningKeys makes keys that were never used. Those named PUBLIC belong to
// receivers.
func newSigningKeys(t *testing.T) signingKeys {
	t.Helper()
	k := signingKeys{
		"TEXT": "секрет " + rand.Text(), // not in ASCII, and with a space
		"RAW":  rand.Text(),
	}
	for _, name := range []string{"NEW", "OLD", "OTHER"} {
		secret := make([]byte, 32)
		rand.Read(secret)
		k[name] = "whsec_" + base64.StdEncoding.EncodeToString(secret)

		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key := []byte(private)
		if name == "OLD" { // both forms of a key
			key = private.Seed()
		}
		k[name+"_PRIVATE"] = "whsk_" + base64.StdEncoding.EncodeToString(key)
		k[name+"_PUBLIC"] = "whpk_" + base64.StdEncoding.EncodeToString(public)
	}
	for name, value := range k {
		if !strings.HasSuffix(name, "_PUBLIC") {
			t.Setenv("SIGNING_"+name, value)
		}
	}
	return k
}

// signingEndpoints are the options of an endpoint for each scheme.
var signingEndpoints = map[string]string{
	"default":  "secret {env.SIGNING_NEW} {env.SIGNING_OLD}",
	"standard": "secret {env.SIGNING_NEW} {env.SIGNING_OLD}\n sign standard",
	"raw":      "secret {env.SIGNING_RAW}\n sign standard",
	"github":   "secret {env.SIGNING_NEW} {env.SIGNING_OLD}\n sign github",
	"stripe":   "secret {env.SIGNING_NEW} {env.SIGNING_OLD}\n sign stripe",
	"text":     "secret {env.SIGNING_TEXT}\n sign hmac\n sign github\n sign stripe",
	"ed25519":  "secret {env.SIGNING_NEW_PRIVATE} {env.SIGNING_OLD_PRIVATE}\n sign ed25519",
	"both":     "secret {env.SIGNING_NEW} {env.SIGNING_NEW_PRIVATE}\n sign ed25519\n sign standard",
	"all": "secret {env.SIGNING_NEW} {env.SIGNING_NEW_PRIVATE} {env.SIGNING_OLD} {env.SIGNING_OLD_PRIVATE}\n" +
		" sign hmac\n sign standard\n sign ed25519\n sign github\n sign stripe",
}

// verification says whether a receiver that has a library and a key accepts
// what is sent to an endpoint.
type verification struct {
	endpoint, library, key string
	accepts                bool
}

var verifications = []verification{
	{"default", "receiver of the README", "NEW", true},
	{"default", "receiver of the README", "OLD", false}, // one value is of the first secret
	{"default", "receiver of the documentation", "NEW", true},
	{"default", "standardwebhooks", "NEW", true},
	{"default", "standardwebhooks", "OLD", true},

	{"standard", "standardwebhooks", "NEW", true},
	{"standard", "standardwebhooks", "OLD", true},
	{"standard", "standardwebhooks", "OTHER", false},
	{"standard", "svix", "NEW", true},
	{"standard", "svix", "OLD", true},
	{"standard", "svix", "OTHER", false},
	{"raw", "standardwebhooks, raw", "RAW", true},
	{"raw", "standardwebhooks, raw", "TEXT", false},

	{"github", "octokit", "NEW", true},
	{"github", "octokit", "OLD", false},

	{"stripe", "stripe", "NEW", true},
	{"stripe", "stripe", "OLD", true},
	{"stripe", "stripe", "OTHER", false},

	{"text", "receiver of the README", "TEXT", true},
	{"text", "octokit", "TEXT", true},
	{"text", "stripe", "TEXT", true},

	{"ed25519", "node:crypto, ed25519", "NEW_PUBLIC", true},
	{"ed25519", "node:crypto, ed25519", "OLD_PUBLIC", true},
	{"ed25519", "node:crypto, ed25519", "OTHER_PUBLIC", false},

	{"both", "standardwebhooks", "NEW", true},
	{"both", "svix", "NEW", true},
	{"both", "node:crypto, ed25519", "NEW_PUBLIC", true},

	{"all", "receiver of the README", "NEW", true},
	{"all", "receiver of the documentation", "NEW", true},
	{"all", "standardwebhooks", "OLD", true},
	{"all", "svix", "OLD", true},
	{"all", "node:crypto, ed25519", "OLD_PUBLIC", true},
	{"all", "octokit", "NEW", true},
	{"all", "stripe", "OLD", true},
}

// check is one question to verify.mjs.
type check struct {
	Name    string            `json:"-"`
	Accepts bool              `json:"-"`
	Library string            `json:"library"`
	Secret  string            `json:"secret"`
	Headers map[string]string `json:"headers"`
	Body    []byte            `json:"body"`
}

// TestSignatures has a sidecar deliver events to endpoints of every scheme, and
// the official libraries verify what arrived, and refuse it when it was
// doctored.
func TestSignatures(t *testing.T) {
	requireNodePackages(t, "standardwebhooks", "svix", "stripe", "@octokit/webhooks-methods")
	keys := newSigningKeys(t)
	s := startSidecar(t, signingEndpoints)
	example, err := os.ReadFile("../../../examples/quickstart/event.json")
	if err != nil {
		t.Fatal(err)
	}
	var checks []check
	for _, event := range []string{
		string(example),
		`{"id":"wh_evt_odd","type":"version.created","data":{"10":1,"2":1.50,"s":"Zoë ☃ 😀 \u2028 \/ <b>&","c":"\u001B[0m"}}`,
	} {
		for name, r := range s.deliver(t, event) {
			for _, v := range verifications {
				if v.endpoint == name {
					checks = append(checks, checksOf(v, keys[v.key], r)...)
				}
			}
		}
	}
	answers := verify(t, checks)
	for i, c := range checks {
		if answers[i] != c.Accepts {
			t.Errorf("%s: got accepted %t, want %t; the headers are %v", c.Name, answers[i], c.Accepts, c.Headers)
		}
	}
	if len(checks) < 2*len(verifications) {
		t.Errorf("got %d checks, want each verification for each event", len(checks))
	}
}

// checksOf are a verification of the request as it arrived and, where that
// holds, of doctored ones, which must not.
func checksOf(v verification, secret string, r request) []check {
	headers := make(map[string]string, len(r.header))
	for name := range r.header {
		headers[strings.ToLower(name)] = r.header.Get(name)
	}
	genuine := check{
		Name:    fmt.Sprintf("endpoint %s, %s, secret %s", v.endpoint, v.library, v.key),
		Accepts: v.accepts, Library: v.library, Secret: secret, Headers: headers, Body: r.body,
	}
	checks := []check{genuine}
	if !v.accepts {
		return checks
	}
	doctored := func(what string, change func(*check)) {
		c := genuine
		c.Name, c.Accepts, c.Headers = c.Name+", "+what, false, maps.Clone(headers)
		change(&c)
		checks = append(checks, c)
	}
	doctored("another body", func(c *check) { c.Body = bytes.Replace(r.body, []byte(`"version.`), []byte(`"Version.`), 1) })
	switch v.library {
	case "standardwebhooks", "standardwebhooks, raw", "svix", "node:crypto, ed25519":
		doctored("another id", func(c *check) { c.Headers["webhook-id"] += "1" })
		doctored("another time", func(c *check) { c.Headers["webhook-timestamp"] = later(headers["webhook-timestamp"]) })
	case "stripe":
		doctored("another time", func(c *check) {
			first, rest, _ := strings.Cut(headers["stripe-signature"], ",")
			c.Headers["stripe-signature"] = "t=" + later(strings.TrimPrefix(first, "t=")) + "," + rest
		})
	}
	return checks
}

// later is a second after a time in seconds.
func later(seconds string) string {
	var n int64
	fmt.Sscan(seconds, &n)
	return fmt.Sprint(n + 1)
}

// verify asks verify.mjs.
func verify(t *testing.T, checks []check) []bool {
	t.Helper()
	questions, err := json.Marshal(checks)
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "node", "verify.mjs")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(questions), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("verifying in Node: %v\n%s", err, stderr.String())
	}
	var answers []bool
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != len(checks) {
		t.Fatalf("got %d answers and error %v, want %d: %s", len(answers), err, len(checks), out)
	}
	return answers
}

// requireNodePackages skips a test where Node or a package is missing.
func requireNodePackages(t *testing.T, packages ...string) {
	t.Helper()
	missing := func(what string) {
		if os.Getenv(requireNode) != "" {
			t.Fatalf("%s is required here: run npm ci in module/internal/interop", what)
		}
		t.Skipf("%s is not installed: run npm ci in module/internal/interop", what)
	}
	if _, err := exec.LookPath("node"); err != nil {
		missing("Node")
	}
	for _, name := range packages {
		if _, err := os.Stat("node_modules/" + name); err != nil {
			missing(name)
		}
	}
}
