package module

import (
	"bufio"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// canaryReceivers are receivers that repeat whatever they know, each in a way
// of its own.
type canaryReceivers struct {
	t     *testing.T
	known string // the secrets that a receiver shares

	mu   sync.Mutex
	seen map[string]bool // the parts of headers and URLs that were received
}

// note remembers what only the receiver may know of a request.
func (rc *canaryReceivers) note(r *http.Request) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	for name, values := range r.Header {
		if !strings.Contains(name, "Signature") && !isCredential(name) || strings.HasPrefix(name, "Proxy-") {
			continue
		}
		for part := range strings.FieldsFuncSeq(strings.Join(values, " "), func(c rune) bool { return strings.ContainsRune(" ,=", c) }) {
			if len(part) > canaryWindow {
				rc.seen[part] = true
			}
		}
	}
}

// saw says whether a value was received.
func (rc *canaryReceivers) saw(value string) bool {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	return rc.seen[value]
}

// serve starts a receiver, and returns its address with the scheme.
func (rc *canaryReceivers) serve(secure bool, answer http.HandlerFunc) string {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		rc.note(r)
		answer(w, r)
	}))
	server.Config.ErrorLog = discardLog // its own, not the sender's
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	rc.t.Cleanup(server.Close)
	return server.URL
}

// echo is all that the receiver got and knows, in the forms of several pages.
func (rc *canaryReceivers) echo(r *http.Request) map[string]string {
	var plain strings.Builder
	fmt.Fprintf(&plain, "cannot %s %s\n", r.Method, r.URL.RequestURI())
	_ = r.Header.Write(&plain)
	plain.WriteString(rc.known)
	all, err := json.Marshal(map[string]any{"url": r.URL.String(), "headers": r.Header, "environment": rc.known})
	if err != nil {
		panic(err)
	}
	form := url.Values(r.Header)
	return map[string]string{
		"plain": plain.String(), "json": string(all), "php": strings.ReplaceAll(string(all), "/", `\/`),
		"html": html.EscapeString(plain.String()), "form": form.Encode() + "&environment=" + url.QueryEscape(rc.known),
	}
}

// answer echoes with a status, in a form.
func (rc *canaryReceivers) answer(status int, form, cookie string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "session="+cookie+"; HttpOnly")
		w.Header().Set("X-Echo", r.Header.Get("Authorization"))
		w.Header().Set("Content-Type", "text/plain; boundary="+r.Header.Get("X-Webhook-Signature"))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, rc.echo(r)[form])
	}
}

// redirect leads to a place with a canary in its query.
func (rc *canaryReceivers) redirect(location string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusFound)
	}
}

// raw starts a receiver that answers each request by hand, with the
// Authorization that it got in it.
func (rc *canaryReceivers) raw(answer func(conn net.Conn, authorization string)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		rc.t.Fatal(err)
	}
	var serving sync.WaitGroup
	rc.t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				rc.note(r)
				answer(conn, r.Header.Get("Authorization"))
			})
		}
	})
	return "http://" + l.Addr().String()
}

// malformed answers with a line that is no header.
func malformed(conn net.Conn, authorization string) {
	fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nbroken line %s\r\n\r\n", authorization)
}

// excessive answers with more than it announced, which net/http finds when
// nobody waits for it any more.
func excessive(conn net.Conn, authorization string) {
	fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nX-Echo: %s\r\n\r\n", authorization)
	_, _ = io.Copy(io.Discard, conn) // until the sender closes
}
