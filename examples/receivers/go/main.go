// Command go is a webhook receiver with the standard library:
//
//	WEBHOOK_SECRET=… PORT=8080 go run ./examples/receivers/go
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

const maxBody = 1 << 20

// receiver verifies events and remembers their ids, because events may come
// more than once. A real receiver keeps the ids of the last days in its
// database.
type receiver struct {
	secret string

	mu   sync.Mutex
	seen map[string]bool
}

func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "reading the body failed", http.StatusBadRequest)
		return
	}
	if !verifySignature(body, r.Header.Get("X-PromptReports-Signature"), rc.secret) {
		http.Error(w, "invalid signature", http.StatusUnauthorized)
		return
	}
	var event struct {
		ID   string `json:"id"`
		Type string `json:"type"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		http.Error(w, "not an event", http.StatusBadRequest)
		return
	}
	if rc.first(event.ID) {
		fmt.Println(event.Type, event.ID)
	}
	w.WriteHeader(http.StatusOK)
}

// first tells whether the id is new.
func (rc *receiver) first(id string) bool {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if rc.seen[id] {
		return false
	}
	rc.seen[id] = true
	return true
}

func main() {
	secret, port := os.Getenv("WEBHOOK_SECRET"), os.Getenv("PORT")
	if secret == "" {
		log.Fatal("WEBHOOK_SECRET is not set")
	}
	if port == "" {
		port = "8080"
	}
	ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://%s\n", ln.Addr())
	srv := &http.Server{
		Handler:     &receiver{secret: secret, seen: make(map[string]bool)},
		ReadTimeout: 30 * time.Second,
	}
	log.Fatal(srv.Serve(ln))
}
