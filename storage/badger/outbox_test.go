package badger

import (
	"path/filepath"
	"testing"

	"github.com/promptreports/caddy-webhooks/storage"
	"github.com/promptreports/caddy-webhooks/storage/storagetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		opt  Options
	}{
		{"default", Options{}},
		{"small segments", Options{limits: limits{deliveries: 40, drain: 1, idle: 2}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			storagetest.Run(t, func(t testing.TB) storagetest.Open {
				dir := filepath.Join(t.TempDir(), "outbox")
				return func() storage.Outbox {
					o, err := Open(dir, test.opt)
					if err != nil {
						t.Fatalf("opening: %v", err)
					}
					return o
				}
			})
		})
	}
}
