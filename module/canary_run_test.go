package module

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

func init() {
	caddy.RegisterModule(canaryLog{})
}

// canaryLog keeps Caddy's log in memory.
type canaryLog struct{}

// canaryLines is what was logged.
var canaryLines struct {
	sync.Mutex
	bytes.Buffer
}

func (canaryLog) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.writers.webhooks_test_canary", New: func() caddy.Module { return new(canaryLog) }}
}

func (canaryLog) String() string                        { return "memory" }
func (canaryLog) WriterKey() string                     { return "webhooks_test_canary" }
func (c canaryLog) OpenWriter() (io.WriteCloser, error) { return c, nil }
func (canaryLog) Close() error                          { return nil }
func (canaryLog) Write(line []byte) (int, error) {
	canaryLines.Lock()
	defer canaryLines.Unlock()
	return canaryLines.Buffer.Write(line)
}

// discardLog is for servers of tests, whose complaints are no part of them.
var discardLog = log.New(io.Discard, "", 0)

// canaryRun is one run of Caddy with secrets wherever there may be some.
type canaryRun struct {
	*harness
	receivers *canaryReceivers

	// hidden must be nowhere. written stand in the configuration, as they are
	// part of a URL, so that only its readers may see them. path is shown to
	// operators, too, as part of an endpoint's URL and of what receivers say.
	hidden, written, path canaries

	token, cookie string
	names         []string // of the endpoints
	endpoints     object
	out           map[string][]byte
}

func newCanaryRun(t *testing.T) *canaryRun {
	c := &canaryRun{
		harness: newHarness(t), token: rand.Text(), cookie: rand.Text(),
		receivers: &canaryReceivers{t: t, seen: make(map[string]bool)},
		out:       make(map[string][]byte), endpoints: object{},
		hidden: canaries{}, written: canaries{"query": rand.Text(), "proxy password": rand.Text()}, path: canaries{"path": rand.Text()},
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	c.hidden["private key"] = "whsk_" + base64.StdEncoding.EncodeToString(key)
	_, _ = rand.Read(key)
	c.hidden["secret of the environment"] = "whsec_" + base64.StdEncoding.EncodeToString(key)
	c.hidden["secret of a file"] = "a:" + rand.Text() + "/+=&<'" + rand.Text()
	c.hidden["credential of the environment"] = rand.Text() + "/+" + rand.Text()
	c.hidden["credential of a file"] = rand.Text()
	c.hidden["token"], c.hidden["cookie"], c.hidden["location"], c.hidden["payload of a refused event"] = c.token, c.cookie, rand.Text(), rand.Text()
	c.hidden["type of a refused event"] = strings.ToLower(c.hidden["payload of a refused event"])
	c.hidden["wrong token"], c.hidden["refused secret"] = rand.Text(), rand.Text()
	c.receivers.known = c.hidden["secret of the environment"] + "\n" + c.hidden["secret of a file"] + "\n" + c.hidden["private key"] + "\n"
	t.Setenv("CANARY_PRIVATE_KEY", c.hidden["private key"])
	t.Setenv("CANARY_SECRET", c.hidden["secret of the environment"])
	t.Setenv("CANARY_CREDENTIAL", c.hidden["credential of the environment"])
	t.Setenv("CANARY_TOKEN", c.token)
	t.Setenv("CANARY_REFUSED", c.hidden["refused secret"]+"\n"+c.hidden["refused secret"])
	c.writeFile("secret", c.hidden["secret of a file"]+"\n")
	c.writeFile("credential", c.hidden["credential of a file"])
	c.writeFile("large", strings.Repeat(c.hidden["refused secret"], 200))
	c.addEndpoints()
	return c
}

func (c *canaryRun) file(name string) string { return filepath.Join(c.dir, "secret-"+name) }

func (c *canaryRun) writeFile(name, content string) {
	if err := os.WriteFile(c.file(name), []byte(content), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// canaryAnswers are what the test of each endpoint must show, which is how its
// attempts end.
var canaryAnswers = map[string]string{
	"good": `"status_code":200`, "form": `"status_code":200`, "php": `"status_code":202`, "error": `"status_code":500`,
	"unauthorized": `"status_code":401`, "redirect": `"status_code":302`, "excessive": `"status_code":200`, "proxied": `"status_code":502`,
	"refused": "connection_refused", "tls": "tls_unknown_ca", "timeout": "timeout", "malformed": "protocol_error",
}

// addEndpoints configures an endpoint for each way in which an attempt ends.
func (c *canaryRun) addEndpoints() {
	rc := c.receivers
	released := make(chan struct{})
	c.t.Cleanup(func() { close(released) }) // before the servers close, which wait for it
	for name, address := range map[string]string{
		"good":         rc.serve(false, rc.answer(http.StatusOK, "plain", c.cookie)),
		"form":         rc.serve(false, rc.answer(http.StatusOK, "form", c.cookie)),
		"php":          rc.serve(false, rc.answer(http.StatusAccepted, "php", c.cookie)),
		"error":        rc.serve(false, rc.answer(http.StatusInternalServerError, "html", c.cookie)),
		"unauthorized": rc.serve(false, rc.answer(http.StatusUnauthorized, "json", c.cookie)),
		"redirect":     rc.serve(false, rc.redirect("https://example.com/"+c.hidden["location"]+"?token="+c.hidden["location"])),
		"refused":      "http://" + freeAddr(c.t),
		"tls":          rc.serve(true, rc.answer(http.StatusOK, "plain", c.cookie)),
		"malformed":    rc.raw(malformed),
		"excessive":    rc.raw(excessive),
		"proxied":      "http://127.0.0.1:1",
		"timeout": rc.serve(false, func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-released:
			}
		}),
	} {
		c.names = append(c.names, name)
		c.endpoints[name] = object{
			"url":    address + "/hook/" + c.path["path"] + "?key=" + c.written["query"],
			"secret": []string{"{env.CANARY_SECRET}", "{file." + c.file("secret") + "}", "{env.CANARY_PRIVATE_KEY}"},
			"sign":   []object{{"scheme": "hmac"}, {"scheme": "standard"}, {"scheme": "ed25519"}, {"scheme": "github"}, {"scheme": "stripe"}},
			"header": object{"Authorization": []string{"Bearer {env.CANARY_CREDENTIAL}"}, "X-Api-Key": []string{"{file." + c.file("credential") + "}"}},
			"retry":  object{"max_attempts": 1}, "timeout": "20s",
		}
	}
	slices.Sort(c.names)
	c.endpoints["timeout"].(object)["timeout"] = "200ms"
	c.endpoints["held"] = object{"url": "https://example.com/", "paused": true, "secret": []string{"{env.CANARY_SECRET}"}}
	proxy := rc.serve(false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	c.endpoints["proxied"].(object)["transport"] = object{"protocol": "http", "network_proxy": object{
		"from": "url", "url": strings.Replace(proxy, "://", "://user:"+c.written["proxy password"]+"@", 1),
	}}
}

func (c *canaryRun) config() object {
	config := c.harness.config(object{
		"event_types": []string{"test.happened"}, "endpoints": c.endpoints, "egress": object{"allow": []string{"127.0.0.0/8"}},
		"metrics": object{"per_endpoint": true},
	})
	config["admin"].(object)["config"] = object{"persist": true}
	logging := object{"level": "DEBUG", "writer": object{"output": "webhooks_test_canary"}, "encoder": object{"format": "json"}}
	config["logging"] = object{"sink": logging, "logs": object{"default": logging}}
	server := c.server(object{"handler": "webhooks", "tokens": []string{"{env.CANARY_TOKEN}"}})
	server["logs"] = object{}
	config["apps"].(object)["http"] = object{"servers": object{"ingest": server}}
	return config
}

// ask asks the admin API, and keeps the answer.
func (c *canaryRun) ask(method, path, contentType, body string) string {
	c.t.Helper()
	status, answer := c.tell(c.admin, method, "http://localhost"+path, http.Header{"Content-Type": {contentType}}, body)
	what := method + " " + path
	c.keep(fmt.Sprintf("%s (%d)", what, status), []byte(answer))
	return answer
}

// event posts to the ingest, and keeps the answer.
func (c *canaryRun) event(token, body string, want int) {
	c.t.Helper()
	status, answer := c.tell(c.client, http.MethodPost, "http://"+c.addr+"/events",
		http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + token}}, body)
	if status != want {
		c.t.Errorf("got %d %s from the ingest, want %d", status, answer, want)
	}
	c.keep("ingest", []byte(answer))
}

// tell sends a request, and returns the status and the answer with its head.
func (c *canaryRun) tell(client *http.Client, method, target string, header http.Header, body string) (int, string) {
	c.t.Helper()
	resp, answer := insist(c.t, func() (*http.Response, error) {
		r, err := http.NewRequest(method, target, strings.NewReader(body))
		if err != nil {
			return nil, err
		}
		if body != "" {
			r.Header = header
		}
		return client.Do(r)
	})
	var head bytes.Buffer
	_ = resp.Header.Write(&head)
	return resp.StatusCode, head.String() + "\r\n" + answer
}

func (c *canaryRun) keep(name string, text []byte) { c.out[name] = append(c.out[name], text...) }

// Interface guards
var _ caddy.WriterOpener = canaryLog{}
