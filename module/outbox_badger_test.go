package module

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/storage"
)

func TestBadgerOutboxLocation(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("OUTBOX", filepath.Join(dir, "env"))
	t.Setenv("XDG_DATA_HOME", filepath.Join(dir, "data"))
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for configured, want := range map[string]string{
		"":                filepath.Join(caddy.AppDataDir(), "webhooks"),
		"/var/./lib/../x": "/var/x",
		"relative/":       filepath.Join(here, "relative"),
		"{env.OUTBOX}/":   filepath.Join(dir, "env"),
	} {
		b := &BadgerOutbox{Dir: configured}
		if err := b.Provision(caddy.Context{}); err != nil {
			t.Errorf("got error %v for %q, want none", err, configured)
		}
		if got := b.Location(); got != want {
			t.Errorf("got location %s for %q, want %s", got, configured, want)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("got %v and error %v in the directory, want nothing before Open", entries, err)
	}
}

func TestBadgerOutboxMistakes(t *testing.T) {
	t.Parallel()
	for want, b := range map[string]*BadgerOutbox{
		"must not be negative":    {MaxSize: -1},
		"must be at least 128MiB": {MaxSize: minMaxSize - 1},
		"dir: placeholder {env.NOT_SET_AT_ALL} is empty or missing": {Dir: "{env.NOT_SET_AT_ALL}"},
	} {
		if err := b.Provision(caddy.Context{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one with %q", err, want)
		}
	}
}

// TestBadgerOutboxOfTheLeastSizeHoldsEvents holds that the least max_size is
// above what an empty outbox has, with as much again for events.
func TestBadgerOutboxOfTheLeastSizeHoldsEvents(t *testing.T) {
	t.Parallel()
	b := &BadgerOutbox{Dir: filepath.Join(t.TempDir(), "outbox"), MaxSize: minMaxSize}
	if err := b.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	o, err := b.Open(zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}()
	if got := o.Usage().Bytes; got == 0 || got > minMaxSize/2 {
		t.Errorf("got %d bytes in an empty outbox, want some and at most half of %d", got, minMaxSize)
	}
}

// TestBadgerOutboxApply holds that a reload changes the limits of an open
// outbox.
func TestBadgerOutboxApply(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "outbox")
	narrow, wide := &BadgerOutbox{Dir: dir, MaxPending: 1}, &BadgerOutbox{Dir: dir, MaxPending: 2}
	for _, b := range []*BadgerOutbox{narrow, wide} {
		if err := b.Provision(caddy.Context{}); err != nil {
			t.Fatal(err)
		}
	}
	if narrow.Location() != wide.Location() || narrow.Fingerprint() != wide.Fingerprint() {
		t.Error("got another location or fingerprint for another limit, want the same")
	}
	o, err := narrow.Open(zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := o.Close(); err != nil {
			t.Errorf("got error %v of Close, want none", err)
		}
	}()
	accept := func(ids ...string) error {
		var events []storage.NewEvent
		for _, id := range ids {
			events = append(events, storage.NewEvent{ID: id, Type: "a", Body: []byte("{}"), Endpoints: []string{"e"}})
		}
		_, err := o.Accept(t.Context(), events)
		return err
	}
	if err := accept("1", "2"); !errors.Is(err, storage.ErrBacklogFull) {
		t.Fatalf("got error %v, want ErrBacklogFull", err)
	}
	if err := wide.Apply(o); err != nil {
		t.Fatal(err)
	}
	if err := accept("1", "2"); err != nil {
		t.Errorf("got error %v after the limit was raised, want none", err)
	}
	if err := wide.Apply(nil); err == nil {
		t.Error("got no error for another engine's outbox, want one")
	}
}
