package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"
)

// attempts is what the history must say in the end: the status code of every
// attempt, by endpoint.
var attempts = map[string][]int{
	"steady": {200},
	"flaky":  {503, 503, 200},
}

// history is what the demo reads of GET /webhooks/deliveries and
// /webhooks/deliveries/{id}.
type history struct {
	Deliveries []delivery `json:"deliveries"`
}

type delivery struct {
	ID       string `json:"id"`
	Endpoint string `json:"endpoint"`
	Status   string `json:"status"`
}

type detail struct {
	delivery
	Attempts []struct {
		Code       string `json:"code"`
		StatusCode int    `json:"status_code"`
	} `json:"attempts"`
}

// deliver posts the event and shows what became of it.
func deliver(ctx context.Context, eventFile string) error {
	event, err := os.ReadFile(eventFile)
	if err != nil {
		return err
	}
	heading("The app posts an event to http://%s/events", ingestAddr)
	fmt.Printf("%s", event)
	answer, err := post(ctx, "http://"+ingestAddr+"/events", event)
	if err != nil {
		return err
	}
	fmt.Printf("→ 202 Accepted %s\n", answer)
	var accepted struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(answer, &accepted); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}

	heading("The receiver gets it, signed")
	done, err := waitDelivered(ctx, accepted.ID)
	if err != nil {
		return err
	}
	for _, d := range done {
		if err := show(ctx, d); err != nil {
			return err
		}
	}
	heading("Done: both endpoints have the event")
	return nil
}

// post posts an event and demands 202.
func post(ctx context.Context, to string, event []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(event))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return do(req, http.StatusAccepted)
}

// waitDelivered polls the history until no delivery of the event is pending.
func waitDelivered(ctx context.Context, eventID string) ([]delivery, error) {
	for {
		var h history
		if _, err := get(ctx, "/webhooks/deliveries?event_id="+url.QueryEscape(eventID), &h); err != nil {
			return nil, err
		}
		pending := slices.ContainsFunc(h.Deliveries, func(d delivery) bool { return d.Status == "pending" })
		if !pending && len(h.Deliveries) == len(attempts) {
			slices.Reverse(h.Deliveries) // the history has the newest first
			return h.Deliveries, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the deliveries: %w", ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// show prints the history of a delivery and compares it with what must be.
func show(ctx context.Context, d delivery) error {
	var full detail
	path := "/webhooks/deliveries/" + url.PathEscape(d.ID)
	raw, err := get(ctx, path, &full)
	if err != nil {
		return err
	}
	heading("The history of endpoint %q: GET http://%s%s", d.Endpoint, adminAddr, path)
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, bytes.TrimSpace(raw), "", "  "); err != nil {
		return err
	}
	fmt.Println(pretty.String())
	codes := make([]int, len(full.Attempts))
	for i, a := range full.Attempts {
		codes[i] = a.StatusCode
	}
	if want := attempts[d.Endpoint]; full.Status != "delivered" || !slices.Equal(codes, want) {
		return fmt.Errorf("endpoint %s: got status %q with the answers %v, want \"delivered\" with %v", d.Endpoint, full.Status, codes, want)
	}
	return nil
}

// get reads a resource of the management API.
func get(ctx context.Context, path string, into any) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+adminAddr+path, nil)
	if err != nil {
		return nil, err
	}
	body, err := do(req, http.StatusOK)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return nil, fmt.Errorf("reading the answer to %s: %w", path, err)
	}
	return body, nil
}

// do sends a request and demands a status.
func do(req *http.Request, want int) ([]byte, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != want {
		return nil, fmt.Errorf("%s %s: got %s, want %d: %s", req.Method, req.URL, resp.Status, want, body)
	}
	return body, nil
}

func heading(format string, args ...any) {
	fmt.Printf("\n━━ %s\n\n", fmt.Sprintf(format, args...))
}
