package badger

import (
	"testing"

	"github.com/promptreports/caddy-webhooks/storage"
)

func TestSmoke(t *testing.T) {
	o, err := Open(t.TempDir()+"/o", Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := o.Accept(t.Context(), []storage.NewEvent{{ID: "a", Type: "t", Body: []byte("x"), Endpoints: []string{"e", "f"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(a)
	d, err := o.Due(t.Context(), "e", storage.Position{}, 10)
	t.Log(d, err)
	p, err := o.List(t.Context(), storage.Filter{}, storage.PageRequest{Limit: 10})
	t.Log(p, err)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}
