package interop

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// requireBrowser makes it a failure that Chromium is missing. CI sets it.
const requireBrowser = "INTEROP_REQUIRE_BROWSER"

// trial is what a page tries, with what the ingest must get of it and answer,
// by whose page it is: one of another host or port, one of the ingest's own
// address, one under a name that was bound again to it (DNS rebinding), and one
// of an origin that is listed and to whose preflight requests the site answers.
//
// A page that is not ours gets at most a preflight request through, or a
// request that is refused.
type trial struct {
	attempt                      string
	foreign, own, rebound, other string
}

const (
	refused = "POST 403"
	typed   = "POST 415" // refused for its content type
	stored  = "POST 202"
	read    = "GET 405"
	asked   = "OPTIONS 405"          // and nothing sent
	allowed = "OPTIONS 204,POST 202" // by the site
)

var trials = []trial{
	{"fetch-text", refused, typed, refused, typed},
	{"fetch-text-cors", refused, typed, refused, typed},
	{"fetch-text-without-referrer", refused, typed, refused, typed},
	{"fetch-json", asked, stored, refused, allowed},
	{"fetch-json-no-cors", refused, typed, refused, typed},
	{"fetch-cloudevent", asked, stored, refused, allowed},
	{"fetch-blob-no-cors", refused, typed, refused, typed},
	{"xhr-text", refused, typed, refused, typed},
	{"xhr-json", asked, stored, refused, allowed},
	{"beacon-text", refused, typed, refused, typed},
	{"beacon-json", asked, stored, refused, allowed},
	{"beacon-without-type", refused, typed, refused, typed},
	{"form", refused, typed, refused, typed},
	{"image", read, read, read, read},
	{"script", read, read, read, read},
	{"sandbox-text", refused, refused, refused, refused},
	{"sandbox-json", asked, asked, asked, asked},
}

func TestBrowser(t *testing.T) {
	browser := findBrowser(t)
	pages := httptest.NewServer(http.HandlerFunc(servePage))
	t.Cleanup(pages.Close)
	_, pagesPort, _ := net.SplitHostPort(pages.Listener.Addr().String())
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	listed := "http://app.example:" + pagesPort

	in := startIngest(t, addr, fmt.Sprintf(`
		reverse_proxy /pages/* %[1]s
		@listed path %[2]slisted/*
		route @listed {
			header Access-Control-Allow-Origin %[3]s
			header Access-Control-Allow-Headers content-type
			header Access-Control-Allow-Credentials true
			@preflight {
				method OPTIONS
				header Origin %[3]s
			}
			respond @preflight 204
			webhooks {
				origins %[3]s
			}
		}
		webhooks`, pages.URL, eventPath, listed))

	for _, page := range []struct {
		name, origin, target string
		want                 func(trial) string
	}{
		{"another-site", "http://evil.example:" + pagesPort, addr, func(tr trial) string { return tr.foreign }},
		{"another-port", pages.URL, addr, func(tr trial) string { return tr.foreign }},
		{"rebinding", "http://evil.example:" + port, "evil.example:" + port, func(tr trial) string { return tr.rebound }},
		{"own", "http://" + addr, addr, func(tr trial) string { return tr.own }},
		{"listed", listed, addr, func(tr trial) string { return tr.other }},
	} {
		t.Run(page.name, func(t *testing.T) {
			before := in.stored(t)
			query := url.Values{"page": {page.name}, "target": {"http://" + page.target + eventPath}}
			startBrowser(t, browser, page.origin+"/pages/?"+query.Encode())
			await(t, page.name+"/end")
			accepted := 0
			for _, tr := range trials {
				outcome := await(t, page.name+"/"+tr.attempt)
				want := page.want(tr)
				got := awaitAttempt(t, eventPath+page.name+"/"+tr.attempt, want)
				if got != want {
					t.Errorf("%s: got %q at the ingest, want %q; the page saw %q", tr.attempt, got, want, outcome)
				}
				accepted += strings.Count(want, stored)
			}
			if got := in.stored(t) - before; got != accepted {
				t.Errorf("got %d events stored, want %d", got, accepted)
			}
		})
	}
}

// servePage serves the page, and records its reports.
func servePage(w http.ResponseWriter, r *http.Request) {
	if report, ok := strings.CutPrefix(r.URL.Path, "/pages/report/"); ok {
		records.add(report, r.URL.Query().Get("outcome"))
		return
	}
	http.ServeFile(w, r, "browser_page.html")
}

// await waits for a page's report.
func await(t *testing.T, report string) string {
	t.Helper()
	return strings.Join(awaitRecords(t, report, 1), ",")
}

// awaitAttempt waits until as many requests have arrived under a path as are
// wanted, and returns all that came. Beacons come when they like.
func awaitAttempt(t *testing.T, path, want string) string {
	t.Helper()
	return strings.Join(awaitRecords(t, path, strings.Count(want, ",")+1), ",")
}

func awaitRecords(t *testing.T, path string, n int) []string {
	t.Helper()
	timeout := time.After(2 * time.Minute)
	for {
		got, changed := records.get(path)
		if len(got) >= n {
			return slices.Clone(got)
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("got %q for %s, want %d records", got, path, n)
		}
	}
}

func findBrowser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv(requireBrowser) != "" {
		t.Fatal("Chromium is required here, and not installed")
	}
	t.Skip("Chromium is not installed")
	return ""
}

// startBrowser opens a page, for as long as the test runs. Names below
// .example are this machine, and no others are resolved. What Chromium asks its
// user before a page may reach the local network is off: who reads that
// question may well say yes.
func startBrowser(t *testing.T, browser, page string) {
	t.Helper()
	profile, err := os.MkdirTemp("", "browser")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--log-level=3", "--no-proxy-server", "--disable-background-networking", "--disable-component-update",
		"--disable-features=LocalNetworkAccessChecks,HttpsUpgrades", "--remote-debugging-port=0",
		"--host-resolver-rules=MAP *.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
		"--user-data-dir="+profile, page)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = 10 * time.Second // for what the browser started, which may outlive it
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // how it ended does not matter
		kill.Stop()
		os.RemoveAll(profile)
		if t.Failed() {
			t.Logf("Chromium said:\n%s", said.String())
		}
	})
}
