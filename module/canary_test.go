package module

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"log"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// TestCanaries runs Caddy with secrets in every place that takes one, has it
// do everything that it can do, against receivers that repeat what they know,
// and searches all that comes out for the secrets and for every signature
// that was sent.
func TestCanaries(t *testing.T) {
	autosave, stderr, stdLog, flags := caddy.ConfigAutosavePath, os.Stderr, log.Writer(), log.Flags()
	t.Cleanup(func() {
		caddy.ConfigAutosavePath, os.Stderr = autosave, stderr
		log.SetOutput(stdLog)
		log.SetFlags(flags)
	})
	canaryLines.Reset()
	receiverLines.mu.Lock()
	receiverLines.since = time.Time{} // so that what is said of receivers is logged
	receiverLines.mu.Unlock()
	c := newCanaryRun(t)
	caddy.ConfigAutosavePath = filepath.Join(c.dir, "autosave.json")
	file, err := os.Create(filepath.Join(c.dir, "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	os.Stderr = file // where Caddy sends the standard log after a reload

	c.mustLoad(c.config())
	c.refusals()
	c.deliver("first")
	c.operate()
	c.reloads()
	c.badProxies()
	c.deliver("second")
	c.showAll()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	c.collect()
	c.check()
}

// refusals posts what is refused.
func (c *canaryRun) refusals() {
	value := c.hidden["payload of a refused event"]
	c.event(c.hidden["wrong token"], eventJSON("refused"), http.StatusUnauthorized)
	for body, status := range map[string]int{
		`{"type":"test.happened","data":{"a":"` + value + `"}`:                   400,
		`{"type":"test.happened","data":{"a":"` + value + `","a":1}}`:            422,
		`{"type":"test.happened","data":"` + value + `"}`:                        422,
		`{"type":"` + c.hidden["type of a refused event"] + `","data":{}}`:       422,
		`{"type":"test.happened","id":"` + value + ` ","data":{}}`:               422,
		`{"type":"test.happened","timestamp":"` + value + `","data":{}}`:         422,
		`{"type":"test.happened","metadata":"` + value + `","data":{}}`:          422,
		`{"type":"test.happened","extra":"` + value + `","data":{}}`:             422,
		`[{"type":"test.happened","data":{}},{"type":1,"data":"` + value + `"}]`: 422,
		value: 400,
	} {
		c.event(c.token, body, status)
	}
}

// deliver posts an event for all endpoints, waits until it is finished, and
// tests each endpoint.
func (c *canaryRun) deliver(id string) {
	c.event(c.token, eventJSON(id), http.StatusAccepted)
	pending := func() bool {
		_, body := c.get("/webhooks/deliveries?status=pending&event_id=" + id)
		var page struct{ Deliveries []struct{ Endpoint string } }
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			c.t.Fatalf("got %v for %s", err, body)
		}
		return slices.ContainsFunc(page.Deliveries, func(d struct{ Endpoint string }) bool { return d.Endpoint != "held" })
	}
	for end := time.Now().Add(30 * time.Second); pending(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatal("got pending deliveries for 30 s, want none")
		}
	}
	for _, name := range c.names {
		answer := c.ask("POST", "/webhooks/endpoints/"+name+"/test", "application/json", `{"data":{"n":1}}`)
		if want := canaryAnswers[name]; !strings.Contains(answer, want) {
			c.t.Errorf("got %s from the test of %s, want %s", answer, name, want)
		}
	}
}

// operate changes what can be changed.
func (c *canaryRun) operate() {
	for _, name := range c.names {
		for _, what := range []string{"pause", "resume"} {
			c.ask("POST", "/webhooks/endpoints/"+name+"/"+what, "application/json", "{}")
		}
	}
	for _, id := range c.deliveries() {
		c.ask("POST", "/webhooks/deliveries/"+id+"/retry", "application/json", "{}")
		c.ask("POST", "/webhooks/deliveries/"+id+"/cancel", "application/json", "{}")
	}
	for _, path := range []string{"/webhooks/explain", "/webhooks/replay", "/webhooks/events"} { // some are not there yet
		c.ask("POST", path, "application/json", `{"id":"explained","type":"test.happened","data":{}}`)
	}
	c.ask("POST", "/webhooks/endpoints/good/test", "application/json", `{"type":"`+c.hidden["payload of a refused event"]+`"}`)
}

// deliveries returns the ids of all deliveries.
func (c *canaryRun) deliveries() []string {
	_, body := c.get("/webhooks/deliveries?limit=1000")
	var page struct{ Deliveries []struct{ ID string } }
	if err := json.Unmarshal([]byte(body), &page); err != nil || len(page.Deliveries) < len(c.names) {
		c.t.Fatalf("got error %v and %s, want deliveries", err, body)
	}
	var ids []string
	for _, d := range page.Deliveries {
		ids = append(ids, d.ID)
	}
	return ids
}

// reloads loads configurations, good ones and bad ones.
func (c *canaryRun) reloads() {
	c.endpoints["good"].(object)["description"] = "changed"
	c.ask("POST", "/load", "application/json", string(encode(c.t, c.config())))
	c.ask("PUT", "/config/apps/webhooks/endpoints/added", "application/json", string(encode(c.t, c.endpoints["good"])))
	for name, secret := range map[string]string{
		"missing": "{env.CANARY_UNSET}", "broken": "{env.CANARY_REFUSED}", "large": "{file." + c.file("large") + "}", "none": "{file." + c.file("none") + "}",
		"mixed": c.hidden["refused secret"] + "{env.CANARY_UNSET}", "short": c.hidden["refused secret"][:15],
	} {
		answer := c.ask("PUT", "/config/apps/webhooks/endpoints/"+name, "application/json",
			string(encode(c.t, object{"url": "https://example.com/", "secret": []string{secret}})))
		if !strings.Contains(answer, "endpoint "+name+": secret") {
			c.t.Errorf("got %s, want an error about the secret of endpoint %s", answer, name)
		}
	}
}

// badProxies configures a proxy whose URL cannot be read.
func (c *canaryRun) badProxies() {
	for name, proxy := range map[string]object{
		"old": {"forward_proxy_url": "http://user:" + c.written["proxy password"] + " x@127.0.0.1"},
		"new": {"network_proxy": object{"from": "url", "url": "http://user:" + c.written["proxy password"] + " x@127.0.0.1"}},
	} {
		proxy["protocol"] = "http"
		answer := c.ask("PUT", "/config/apps/webhooks/endpoints/"+name, "application/json",
			string(encode(c.t, object{"url": "https://example.com/", "transport": proxy})))
		if !strings.Contains(answer, "endpoint "+name+": transport: URL of the proxy cannot be read") {
			c.t.Errorf("got %s, want an error about the proxy of endpoint %s", answer, name)
		}
	}
}

// showAll asks for all that Caddy shows.
func (c *canaryRun) showAll() {
	for _, id := range c.deliveries() {
		c.ask("GET", "/webhooks/deliveries/"+id, "", "")
	}
	for _, path := range []string{
		"/webhooks/status", "/webhooks/event_types", "/webhooks/endpoints", "/webhooks/endpoints/good", "/webhooks/endpoints/refused", "/webhooks/events/first",
		"/webhooks/deliveries", "/webhooks/none", "/webhooks/deliveries?limit=x", "/metrics", "/config/", "/debug/vars", "/debug/pprof/cmdline",
		"/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/reverse_proxy/upstreams",
	} {
		c.ask("GET", path, "", "")
	}
	c.ask("POST", "/adapt", "text/caddyfile", `{
	webhooks {
		endpoint good https://example.com/hook {
			secret {env.CANARY_SECRET} {file.`+c.file("secret")+`}
			header Authorization "Bearer {env.CANARY_CREDENTIAL}"
		}
	}
}

:0 {
	webhooks {
		token {env.CANARY_TOKEN}
	}
}
`)
}

// collect reads what was written to files and logged.
func (c *canaryRun) collect() {
	for _, root := range []string{filepath.Join(c.dir, "outbox"), filepath.Join(c.dir, "stderr"), caddy.ConfigAutosavePath} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			c.keep("file "+strings.TrimPrefix(path, c.dir), bytes.Trim(content, "\x00"))
			return err
		})
		if err != nil {
			c.t.Fatal(err)
		}
	}
	canaryLines.Lock()
	defer canaryLines.Unlock()
	c.keep("log", bytes.Clone(canaryLines.Bytes()))
}

// check searches.
func (c *canaryRun) check() {
	for _, name := range []string{"credential of the environment", "credential of a file"} {
		if !c.receivers.saw(c.hidden[name]) {
			c.t.Errorf("no receiver saw the %s, want that it was sent", name)
		}
	}
	sent := 0
	c.receivers.mu.Lock()
	seen := maps.Clone(c.receivers.seen)
	c.receivers.mu.Unlock()
	for value := range seen {
		if slices.Contains([]string{c.hidden["credential of the environment"], c.hidden["credential of a file"]}, value) {
			continue
		}
		sent++
		c.hidden[fmt.Sprint("signature ", sent)] = value
		if raw, err := hex.DecodeString(value); err == nil {
			c.hidden[fmt.Sprint("bytes of signature ", sent)] = string(raw)
		} else if raw, err := base64.RawStdEncoding.DecodeString(value); err == nil {
			c.hidden[fmt.Sprint("bytes of signature ", sent)] = string(raw)
		}
	}
	if sent < 10 {
		c.t.Errorf("got %d signatures, want more", sent)
	}
	for _, want := range []string{"an attempt failed", "request refused", "received request", "http.log.access", `"level":"debug"`, "a receiver sent what no request asked for"} {
		if !bytes.Contains(c.out["log"], []byte(want)) {
			c.t.Errorf("got no %q in the log, want that it is complete", want)
		}
	}
	hidden, written, path := c.hidden.forms(), c.written.forms(), c.path.forms()
	for what, text := range c.out {
		forbidden := [][]canaryForm{hidden, written, path}
		switch {
		case strings.HasPrefix(what, "GET /config/"), what == "file /autosave.json":
			forbidden = forbidden[:1]
		case strings.Contains(what, " /webhooks/endpoints"), strings.Contains(what, " /webhooks/deliveries"), strings.HasPrefix(what, "file /outbox"):
			forbidden = forbidden[:2]
		}
		for _, f := range forbidden {
			for _, found := range findCanaries(text, f) {
				c.t.Errorf("got the %s in %s", found, what)
			}
		}
	}
}
