package badger

import (
	"errors"
	"testing"

	"github.com/promptreports/caddy-webhooks/storage"
)

func TestConfigure(t *testing.T) {
	t.Parallel()
	o, err := Open(t.TempDir(), Options{MaxPending: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := o.Close(); err != nil {
			t.Errorf("got error %v of Close, want none", err)
		}
	}()
	accept := func(id string) error {
		_, err := o.Accept(t.Context(), []storage.NewEvent{{ID: id, Type: "a", Body: []byte("{}"), Endpoints: []string{"e"}}})
		return err
	}
	if err := accept("1"); err != nil {
		t.Fatalf("got error %v, want none below max_pending", err)
	}
	if err := accept("2"); !errors.Is(err, storage.ErrBacklogFull) {
		t.Fatalf("got error %v, want ErrBacklogFull", err)
	}
	if err := o.Configure(Options{MaxPending: 2}); err != nil {
		t.Fatal(err)
	}
	if err := accept("2"); err != nil {
		t.Errorf("got error %v, want none after max_pending was raised", err)
	}
	if err := o.Configure(Options{MaxSize: 1}); err != nil {
		t.Fatal(err)
	}
	if err := accept("3"); !errors.Is(err, storage.ErrFull) {
		t.Errorf("got error %v, want ErrFull after max_size was lowered", err)
	}
	if err := o.Configure(Options{Retention: -1}); err == nil {
		t.Error("got no error, want one for a negative retention")
	}
}
