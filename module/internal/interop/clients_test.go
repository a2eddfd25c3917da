package interop

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// clients post an event, which is the second argument, to the first, as short
// as their documentation does: with a content type and no other header. They
// print the status.
var clients = []struct {
	name    string
	command []string
}{
	{"Node fetch", []string{"node", "--input-type=module", "-e", `
		const [url, body] = process.argv.slice(1);
		const answer = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
		console.log(answer.status);`}},
	{"Node http", []string{"node", "--input-type=module", "-e", `
		import http from 'node:http';
		const [url, body] = process.argv.slice(1);
		http.request(url, { method: 'POST', headers: { 'Content-Type': 'application/json' } }, (answer) => {
			console.log(answer.statusCode);
			answer.resume();
		}).end(body);`}},
	{"Python urllib", []string{"python3", "-c", `if True:
		import sys, urllib.request
		url, body = sys.argv[1:]
		request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
		print(urllib.request.urlopen(request).status)`}},
	{"PHP streams", []string{"php", "-r", `
		[, $url, $body] = $argv;
		$options = ['method' => 'POST', 'header' => 'Content-Type: application/json', 'content' => $body];
		file_get_contents($url, false, stream_context_create(['http' => $options]));
		echo explode(' ', $http_response_header[0])[1];`, "--"}},
	{"curl", []string{"sh", "-c", `
		curl -sS -o /dev/null -w '%{http_code}' -H 'Content-Type: application/json' -d "$2" "$1"`, "curl"}},
	{"curl over HTTP/2", []string{"sh", "-c", `
		curl -sS -o /dev/null -w '%{http_code}' --http2 -H 'Content-Type: application/json' -d "$2" "$1"`, "curl"}},
}

// What guards the ingest against web pages stands in no other client's way.
func TestClients(t *testing.T) {
	in := startIngest(t, freeAddr(t), "webhooks")
	_, port, _ := net.SplitHostPort(in.addr)
	events := 0
	for _, host := range []string{"127.0.0.1", "localhost"} {
		url := "http://" + net.JoinHostPort(host, port) + eventPath
		accepts := func(t *testing.T, post func(t *testing.T, event string) string) {
			t.Helper()
			before := in.stored(t)
			events++
			if got := post(t, fmt.Sprintf(`{"id":"client-%d","type":"test.happened","data":{}}`, events)); got != "202" {
				t.Errorf("got status %q, want 202", got)
			}
			if got := in.stored(t) - before; got != 1 {
				t.Errorf("got %d events stored, want 1", got)
			}
		}
		for _, client := range clients {
			t.Run(client.name+" to "+host, func(t *testing.T) {
				accepts(t, func(t *testing.T, event string) string {
					return run(t, client.command, url, event)
				})
			})
		}
		t.Run("Go to "+host, func(t *testing.T) {
			accepts(t, func(t *testing.T, event string) string {
				resp, err := http.Post(url, "application/json", strings.NewReader(event))
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				return fmt.Sprint(resp.StatusCode)
			})
		})
	}
}

// run returns what a program prints. If its interpreter is not here, the test
// is skipped.
func run(t *testing.T, command []string, arguments ...string) string {
	t.Helper()
	name := command[0]
	if name == "sh" {
		name = command[len(command)-1] // what the shell runs
	}
	if _, err := exec.LookPath(name); err != nil {
		if name == "node" && os.Getenv(requireNode) != "" {
			t.Fatalf("Node is required here: %v", err)
		}
		t.Skipf("%s is not installed", name)
	}
	cmd := exec.CommandContext(t.Context(), command[0], append(command[1:len(command):len(command)], arguments...)...)
	cmd.Env = append(os.Environ(), "NO_PROXY=localhost,127.0.0.1", "no_proxy=localhost,127.0.0.1")
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("running %s: %v: %s", name, err, complaint.String())
	}
	return strings.TrimSpace(string(out))
}
