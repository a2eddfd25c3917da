package api

import (
	"fmt"
	"testing"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
	"github.com/promptreports/caddy-webhooks/storage"
	"github.com/promptreports/caddy-webhooks/storage/storagetest"
)

func BenchmarkDeliveriesPage(b *testing.B) {
	outbox := storagetest.NewFake(storagetest.FakeOptions{})
	engine, err := delivery.New(delivery.Options{Outbox: outbox})
	if err != nil {
		b.Fatal(err)
	}
	defer engine.Close()
	for i := range 200 {
		ev := storage.NewEvent{ID: fmt.Sprint(i), Type: "prompt.created", Body: []byte("{}"), Endpoints: []string{"acme"}}
		if _, err := outbox.Accept(b.Context(), []storage.NewEvent{ev}); err != nil {
			b.Fatal(err)
		}
	}
	h := New(func() *delivery.Engine { return engine }, "")
	b.ReportAllocs()
	for b.Loop() {
		if answer := ask(h, "GET", "/webhooks/deliveries", "", nil); answer.Code != 200 {
			b.Fatalf("got %d %s", answer.Code, answer.Body)
		}
	}
}
