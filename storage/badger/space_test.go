package badger

import (
	"errors"
	"fmt"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/promptreports/caddy-webhooks/storage"
)

// A full outbox says so: in Usage, and in one line of the log however many
// events it refuses.
func TestFullOutboxSaysSo(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.WarnLevel)
	o := open(t, t.TempDir(), Options{Logger: zap.New(core)})
	accept := func(n int) error {
		_, err := o.Accept(t.Context(), []storage.NewEvent{{ID: fmt.Sprint(n), Type: "a", Body: []byte("{}")}})
		return err
	}
	if err := accept(0); err != nil || o.Usage().Full {
		t.Fatalf("got error %v and full %t, want neither while there is room", err, o.Usage().Full)
	}
	if err := o.Configure(Options{MaxSize: 1}); err != nil {
		t.Fatal(err)
	}
	for n := range 10 {
		if err := accept(n + 1); !errors.Is(err, storage.ErrFull) {
			t.Fatalf("got error %v, want ErrFull", err)
		}
	}
	if !o.Usage().Full {
		t.Error("got an outbox that is not full, want a full one")
	}
	lines := logs.FilterMessage("outbox refuses new events for want of room").All()
	if len(lines) != 1 || lines[0].ContextMap()["reason"] != overMaxSize {
		t.Errorf("got lines %v, want one with the reason %q", lines, overMaxSize)
	}
}
