package storagetest_test

import (
	"testing"

	"github.com/promptreports/caddy-webhooks/storage"
	"github.com/promptreports/caddy-webhooks/storage/storagetest"
)

func TestFake(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(testing.TB) storagetest.Open {
		var fake *storagetest.Fake
		return func() storage.Outbox {
			if fake == nil {
				fake = storagetest.NewFake(storagetest.FakeOptions{})
			} else {
				fake = fake.Restart()
			}
			return fake
		}
	})
}
