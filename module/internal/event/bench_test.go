package event

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// example is the event of the published documentation, as it is printed there.
const example = `{
  "id": "wh_evt_abc123",
  "type": "version.promoted",
  "timestamp": "2024-01-15T10:30:00Z",
  "data": {
    "promptId": "prm_xyz789",
    "promptName": "Customer Support Response",
    "versionId": "ver_def456",
    "versionNumber": 5,
    "previousStage": "staging",
    "newStage": "production",
    "promotedBy": {
      "id": "usr_ghi012",
      "name": "Jane Smith",
      "email": "jane@example.com"
    }
  },
  "metadata": {
    "folderId": "fld_jkl345",
    "folderName": "Production Prompts"
  }
}`

// exampleBody is what is sent for example.
const exampleBody = `{"id":"wh_evt_abc123","type":"version.promoted","timestamp":"2024-01-15T10:30:00Z",` +
	`"data":{"promptId":"prm_xyz789","promptName":"Customer Support Response","versionId":"ver_def456",` +
	`"versionNumber":5,"previousStage":"staging","newStage":"production",` +
	`"promotedBy":{"id":"usr_ghi012","name":"Jane Smith","email":"jane@example.com"}},` +
	`"metadata":{"folderId":"fld_jkl345","folderName":"Production Prompts"}}`

func BenchmarkEvent(b *testing.B) {
	large := exampleWithData(b, 1<<20)
	for _, bc := range []struct {
		name string
		in   string
		p    Parser
	}{
		{"printed", example, Parser{}},
		{"compact", exampleBody, Parser{}},
		{"exact", exampleBody, Parser{Exact: true}},
		{"without_id", strings.Replace(exampleBody, `"id":"wh_evt_abc123",`, "", 1), Parser{}},
		{"1MiB", large, Parser{}},
		{"many_keys", `{"type":"a","data":{` + manyKeys(10_000) + `}}`, Parser{}},
		{"int_keys", `{"type":"a","data":{"b":1,"10":2,"9":3}}`, Parser{}},
		{"numbers", `{"type":"a","data":{"n":[1.5,-0.25,1e3,12.345678901234567,0.1,9007199254740991]}}`, Parser{}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			in := []byte(bc.in)
			b.ReportAllocs()
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				if _, prob := bc.p.Event(in); prob != nil {
					b.Fatal(prob)
				}
			}
		})
	}
}

func BenchmarkLines(b *testing.B) {
	line := strings.Replace(exampleBody, `"id":"wh_evt_abc123",`, "", 1) + "\n"
	in := []byte(strings.Repeat(line, 100))
	p := Parser{}
	b.ReportAllocs()
	for b.Loop() {
		if _, prob := p.Lines(in); prob != nil {
			b.Fatal(prob)
		}
	}
}

func BenchmarkField(b *testing.B) {
	p := Parser{}
	ev, prob := p.Event([]byte(example))
	if prob != nil {
		b.Fatal(prob)
	}
	b.ReportAllocs()
	for b.Loop() {
		if got := ev.Field("metadata.folderId"); len(got) != 1 {
			b.Fatal(got)
		}
	}
}

func BenchmarkNewID(b *testing.B) {
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		NewID(now)
	}
}

func exampleWithData(tb testing.TB, size int) string {
	tb.Helper()
	item := `{"prompt":"Answer the customer's question \u2014 politely.","score":0.75,"tags":["a","b"]}`
	return `{"type":"a","data":{"items":[` + strings.Repeat(item+",", size/len(item)) + item + `]}}`
}

func manyKeys(n int) string {
	var out bytes.Buffer
	for i := range n {
		if i > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(&out, `"key_%d":%d`, i*7919%n, i)
	}
	return out.String()
}
