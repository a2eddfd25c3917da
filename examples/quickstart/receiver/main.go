// Command receiver is the receiver of the quick start. It prints every request
// as it came, and whether its signature is right.
//
// POST /steady answers 200. POST /flaky answers 503 to the first two attempts
// of each event.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// flakyFailures is how many attempts of an event /flaky refuses.
const flakyFailures = 2

type receiver struct {
	secret string

	mu    sync.Mutex
	flaky map[string]int // attempts seen, by event id
}

func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "reading the body failed", http.StatusBadRequest)
		return
	}
	var event struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		http.Error(w, "not an event", http.StatusBadRequest)
		return
	}

	rc.mu.Lock()
	defer rc.mu.Unlock()
	status, verified := http.StatusOK, rc.verify(body, r.Header.Get("X-PromptReports-Signature"))
	switch {
	case !verified:
		status = http.StatusUnauthorized
	case r.URL.Path == "/flaky" && rc.flaky[event.ID] < flakyFailures:
		rc.flaky[event.ID]++
		status = http.StatusServiceUnavailable
	}
	show(r, body, verified, status)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, "{\"received\":%t}\n", status == http.StatusOK)
}

// verify compares in constant time, so that the time of an answer tells
// nothing about the right signature.
func (rc *receiver) verify(body []byte, signature string) bool {
	mac := hmac.New(sha256.New, []byte(rc.secret))
	mac.Write(body)
	return hmac.Equal([]byte(signature), []byte(hex.EncodeToString(mac.Sum(nil))))
}

// show prints the request in one piece.
func show(r *http.Request, body []byte, verified bool, status int) {
	var b strings.Builder
	fmt.Fprintf(&b, "┌ %s %s %s\n", r.Method, r.URL.RequestURI(), r.Proto)
	fmt.Fprintf(&b, "│ Host: %s\n", r.Host)
	names := make([]string, 0, len(r.Header))
	for name := range r.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range r.Header[name] {
			fmt.Fprintf(&b, "│ %s: %s\n", name, value)
		}
	}
	fmt.Fprintf(&b, "│\n│ %s\n", body)
	signature := "right"
	if !verified {
		signature = "WRONG"
	}
	fmt.Fprintf(&b, "└ signature %s, answered %d %s\n", signature, status, http.StatusText(status))
	fmt.Print(b.String())
}

func main() {
	listen := flag.String("listen", "127.0.0.1:28472", "address to listen on")
	flag.Parse()
	secret := os.Getenv("WEBHOOK_SECRET")
	if secret == "" {
		secret = "quickstart-only-not-secret"
	}
	srv := &http.Server{
		Addr:        *listen,
		Handler:     &receiver{secret: secret, flaky: make(map[string]int)},
		ReadTimeout: 30 * time.Second,
	}
	log.Fatal(srv.ListenAndServe())
}
