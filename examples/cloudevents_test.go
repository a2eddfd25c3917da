package examples_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const (
	// requireSDK makes it a failure that the CloudEvents SDK is missing. CI
	// sets it.
	requireSDK = "INTEROP_REQUIRE_NODE"

	interopDir = "../module/internal/interop"
)

// emitted is what became of the events that the CloudEvents SDK posted in one
// of its modes.
type emitted struct {
	Mode   string
	Answer struct {
		accepted
		Events []accepted // of a batch
	}
	Bodies []string // what receivers should get
}

// postCloudEvents has the CloudEvents SDK for JavaScript post events in all its
// modes.
func (s *sidecar) postCloudEvents(t *testing.T) []emitted {
	t.Helper()
	if _, err := os.Stat(filepath.Join(interopDir, "node_modules/cloudevents")); err != nil && os.Getenv(requireSDK) == "" {
		t.Skip("the CloudEvents SDK is not installed: run npm ci in module/internal/interop")
	}
	out, err := interpreter(t, "", interopDir, "node", "cloudevents.mjs", s.ingest).Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("posting CloudEvents: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var report []emitted
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("reading %s: %v", out, err)
	}
	if len(report) != 3 {
		t.Errorf("got %d modes, want 3", len(report))
	}
	return report
}

// verifyCloudEvents demands that the events of each mode arrive as events, and
// that the receiver verifies them.
func verifyCloudEvents(t *testing.T, s *sidecar) {
	for _, e := range s.postCloudEvents(t) {
		t.Run(e.Mode, func(t *testing.T) {
			events := e.Answer.Events
			if len(events) == 0 {
				events = []accepted{e.Answer.accepted}
			}
			if len(events) != len(e.Bodies) {
				t.Fatalf("got %d events accepted, want %d", len(events), len(e.Bodies))
			}
			for i, event := range events {
				if event.Deliveries == 0 {
					t.Fatalf("got the answer %+v, want deliveries", e.Answer)
				}
				verify(t, s.await(t, event))
				var stored struct{ Payload json.RawMessage }
				s.get(t, "events/"+event.ID, &stored)
				if string(stored.Payload) != e.Bodies[i] {
					t.Errorf("got the body\n%s, want\n%s", stored.Payload, e.Bodies[i])
				}
			}
		})
	}
}
