package module

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/storage"
	"github.com/promptreports/caddy-webhooks/storage/storagetest"
)

func init() {
	caddy.RegisterModule(new(failingApp))
	caddy.RegisterModule(new(fakeOutbox))
}

// failingApp is another app, whose failure makes a configuration fail.
type failingApp struct {
	// At is "provision" or "start".
	At string `json:"at,omitempty"`

	webhooks *App
}

// startedBefore is told whether the webhooks app had started when a failingApp
// failed.
var startedBefore func(bool)

func (*failingApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "webhooks_test_failing", New: func() caddy.Module { return new(failingApp) }}
}

func (f *failingApp) Provision(ctx caddy.Context) error {
	app, err := ctx.AppIfConfigured("webhooks") // so ours is provisioned first
	if err != nil {
		return err
	}
	f.webhooks = app.(*App)
	if f.At == "provision" {
		return errors.New("failing on purpose")
	}
	return nil
}

func (f *failingApp) Start() error {
	if startedBefore != nil {
		select {
		case <-f.webhooks.started:
			startedBefore(true)
		default:
			startedBefore(false)
		}
	}
	if f.At == "start" {
		return errors.New("failing on purpose")
	}
	return nil
}

func (*failingApp) Stop() error { return nil }

// fakes are the outboxes in memory, by location.
var fakes sync.Map

// fakeOutbox is an outbox in memory that outlives its engine.
type fakeOutbox struct {
	Name  string `json:"name,omitempty"`
	Print string `json:"print,omitempty"`

	// Applied is the option that a reload may change.
	Applied string `json:"applied,omitempty"`
}

// openFake is what fakeOutbox opens.
type openFake struct {
	*storagetest.Fake

	mu      sync.Mutex
	applied []string
}

func (*fakeOutbox) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "webhooks.outbox.fake", New: func() caddy.Module { return new(fakeOutbox) }}
}

func (f *fakeOutbox) Location() string    { return "/fake/" + f.Name }
func (f *fakeOutbox) Fingerprint() string { return f.Print }

func (f *fakeOutbox) Open(*zap.Logger) (storage.Outbox, error) {
	if f.Print == "broken" {
		return nil, errors.New("failing on purpose")
	}
	fake, ok := fakes.Load(f.Location())
	if !ok {
		return nil, fmt.Errorf("test made no fake %s", f.Location())
	}
	return fake.(*openFake), nil
}

func (f *fakeOutbox) Apply(open storage.Outbox) error {
	o := open.(*openFake)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.applied = append(o.applied, f.Applied)
	return nil
}

// newFake makes the outbox that {"engine":"fake","name":name} opens, and fails
// the test if the engine mistreats it.
func newFake(t *testing.T, name string) *openFake {
	t.Helper()
	f := &openFake{Fake: storagetest.NewFake(storagetest.FakeOptions{})}
	fakes.Store("/fake/"+name, f)
	t.Cleanup(func() {
		fakes.Delete("/fake/" + name)
		for _, v := range f.Violations() {
			t.Errorf("mistreating the outbox: %s", v)
		}
	})
	return f
}

// Interface guards
var (
	_ caddy.App = (*failingApp)(nil)
	_ Outbox    = (*fakeOutbox)(nil)
)
