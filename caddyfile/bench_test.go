package caddyfile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func BenchmarkParseApp(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		var input strings.Builder
		input.WriteString("webhooks {\n")
		for i := range n {
			fmt.Fprintf(&input, "endpoint e%d https://host-%d.example.com/hook {\nevents prompt.* !prompt.deleted\nfilter metadata.folderId fld_%d\nsecret {env.SECRET_%d}\n}\n", i, i, i, i)
		}
		input.WriteString("}\n")
		tokens, err := caddyfile.Tokenize([]byte(input.String()), "Caddyfile")
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := parseApp(caddyfile.NewDispenser(tokens), nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
