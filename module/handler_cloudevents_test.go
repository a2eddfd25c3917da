package module

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
)

const (
	cloudType      = "application/cloudevents+json"
	cloudBatchType = "application/cloudevents-batch+json"
)

// cloudJSON is a CloudEvent with further members.
func cloudJSON(id, members string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/s","type":"test.happened"%s,"data":{}}`, id, members)
}

// ce are the headers of a CloudEvent in binary mode, with others beside them.
func ce(id string, others ...string) map[string]string {
	header := map[string]string{"ce-specversion": "1.0", "ce-id": id, "ce-source": "/s", "ce-type": "test.happened"}
	for i := 0; i < len(others); i += 2 {
		header[others[i]] = others[i+1]
	}
	return header
}

func contentType(value string) map[string]string { return map[string]string{"Content-Type": value} }

func TestIngestCloudEvents(t *testing.T) {
	h := newIngest(t)
	tests := []struct {
		name   string
		req    request
		status int
		want   string
		bodies []string // the metadata of each event
	}{
		{"structured", request{header: contentType(cloudType), body: cloudJSON("a", `,"subject":"x","ext":7`)}, 202, `{"id":"a","deliveries":1}`, []string{`"source":"/s","subject":"x","ext":7`}},
		{"structured by the SDK", request{header: contentType(cloudType + "; charset=utf-8"), body: cloudJSON("b", ``)}, 202, `{"id":"b","deliveries":1}`, []string{`"source":"/s"`}},
		{"structured with headers of the binary mode", request{header: ce("other", "Content-Type", cloudType, "ce-subject", "other"), body: cloudJSON("c", ``)}, 202, `{"id":"c","deliveries":1}`, []string{`"source":"/s"`}},
		{"type in another case", request{header: contentType("Application/CloudEvents+JSON"), body: cloudJSON("d", ``)}, 202, `{"id":"d","deliveries":1}`, []string{`"source":"/s"`}},
		{"binary", request{header: ce("e", "ce-zulu", "z", "ce-alpha", "Euro%20%E2%82%AC"), body: `{}`}, 202, `{"id":"e","deliveries":1}`, []string{`"source":"/s","alpha":"Euro €","zulu":"z"`}},
		{"binary with a charset", request{header: ce("f", "Content-Type", "application/json; charset=utf-8"), body: `{}`}, 202, `{"id":"f","deliveries":1}`, []string{`"source":"/s"`}},
		{"binary with JSON of another type", request{header: ce("g", "Content-Type", "application/vnd.example+json"), body: `{}`}, 202, `{"id":"g","deliveries":1}`, []string{`"source":"/s"`}},
		{"batch", request{header: contentType(cloudBatchType), body: "[" + cloudJSON("h", ``) + "," + cloudJSON("a", `,"subject":"x","ext":7`) + "]"}, 202, `{"events":[{"id":"h","deliveries":1,"duplicate":false},{"id":"a","deliveries":1,"duplicate":true}]}`, []string{`"source":"/s"`, ``}},
		{"batch beyond the size of an event", request{header: contentType(cloudBatchType), body: "[" + cloudJSON("i", ``) + strings.Repeat(" ", 1<<20) + "]"}, 202, `{"events":[{"id":"i","deliveries":1,"duplicate":false}]}`, []string{`"source":"/s"`}},
		{"again", request{header: contentType(cloudType), body: cloudJSON("b", ``)}, 200, `{"id":"b","deliveries":1,"duplicate":true}`, nil},
		{"again in another mode", request{header: ce("b"), body: `{}`}, 200, `{"id":"b","deliveries":1,"duplicate":true}`, nil},
		{"again as an event", request{body: `{"id":"b","type":"test.happened","data":{},"metadata":{"source":"/s"}}`}, 200, `{"id":"b","deliveries":1,"duplicate":true}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := h.do(tt.req)
			if resp.StatusCode != tt.status || strings.TrimSpace(body) != tt.want {
				t.Fatalf("got %d %s, want %d %s", resp.StatusCode, body, tt.status, tt.want)
			}
			for i, metadata := range tt.bodies {
				if metadata == "" {
					continue
				}
				id := strings.Split(tt.want, `"id":"`)[i+1][:1]
				e, _, err := h.fake.EventByID(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := string(e.Body), `,"data":{},"metadata":{`+metadata+`}}`; !strings.HasSuffix(got, want) {
					t.Errorf("got %s, want it to end with %s", got, want)
				}
			}
		})
	}
}

func TestIngestRefusesCloudEvents(t *testing.T) {
	h := newIngest(t)
	h.post(`{"id":"taken","type":"test.happened","data":{"other":1}}`)
	good := cloudJSON("good", ``)
	tests := []struct {
		name   string
		req    request
		status int
		code   string
		want   string // in the answer
	}{
		{"structured without a source", request{header: contentType(cloudType), body: strings.Replace(good, "source", "sauce", 1)}, 422, "missing-field", `"pointer":"/source"`},
		{"structured as an array", request{header: contentType(cloudType), body: "[" + good + "]"}, 400, "not-an-object", ""},
		{"structured and too large", request{path: "/small", header: contentType(cloudType), body: cloudJSON("large", `,"subject":"`+strings.Repeat("x", 100)+`"`)}, 413, "body-too-large", ""},
		{"structured array of the size of a batch", request{path: "/small", header: contentType(cloudType), body: "[" + good + strings.Repeat(" ", 90) + "]"}, 413, "body-too-large", ""},
		{"event", request{header: contentType(cloudType), body: eventJSON("good")}, 422, "missing-field", `"pointer":"/specversion"`},
		{"data in base64", request{header: contentType(cloudType), body: strings.Replace(good, `"data":{}`, `"data_base64":"e30="`, 1)}, 422, "data-not-json", `"pointer":"/data_base64"`},
		{"id that is taken", request{header: contentType(cloudType), body: cloudJSON("taken", ``)}, 409, "id-conflict", ""},
		{"id outside of the alphabet", request{header: contentType(cloudType), body: cloudJSON("a/b", ``)}, 422, "invalid-id", `"pointer":"/id"`},
		{"type outside of the catalogue", request{header: contentType(cloudType), body: strings.Replace(good, "happened", "unheard-of", 1)}, 422, "unknown-event-type", `"pointer":"/type"`},

		{"batch with a bad item", request{header: contentType(cloudBatchType), body: "[" + good + "," + eventJSON("x") + "," + cloudJSON("a.b", ``) + "]"}, 422, "invalid-batch", `"index":2`},
		{"batch of one object", request{header: contentType(cloudBatchType), body: good}, 400, "not-an-object", ""},
		{"batch with an id that is taken", request{header: contentType(cloudBatchType), body: "[" + good + "," + cloudJSON("taken", ``) + "]"}, 409, "invalid-batch", `"index":1`},
		{"empty batch", request{header: contentType(cloudBatchType), body: "[]"}, 422, "empty-batch", ""},
		{"batch that is too long", request{header: contentType(cloudBatchType), body: "[" + strings.TrimSuffix(strings.Repeat(strings.Replace(good, `"id":"good",`, "", 1)+",", 1001), ",") + "]"}, 422, "batch-too-long", ""},
		{"batch that is too large", request{path: "/small", header: contentType(cloudBatchType), body: "[" + good + strings.Repeat(" ", 200) + "]"}, 413, "body-too-large", ""},

		{"binary without a specversion", request{header: map[string]string{"ce-id": "i", "ce-source": "s", "ce-type": "test.happened"}, body: `{}`}, 422, "missing-field", `"pointer":"/specversion"`},
		{"binary without an id", request{header: map[string]string{"ce-specversion": "1.0", "ce-source": "s", "ce-type": "test.happened"}, body: `{}`}, 422, "missing-field", `"pointer":"/id"`},
		{"binary with an array", request{header: ce("i"), body: "[" + eventJSON("x") + "]"}, 422, "invalid-field", `"pointer":"/data"`},
		{"binary without a body", request{header: ce("i")}, 422, "missing-field", `"pointer":"/data"`},
		{"binary and too large", request{path: "/small", header: ce("i"), body: `{"a":"` + strings.Repeat("x", 100) + `"}`}, 413, "body-too-large", ""},
		{"binary array of the size of a batch", request{path: "/small", header: ce("i"), body: `[` + strings.Repeat(" ", 100) + `]`}, 413, "body-too-large", ""},
		{"binary with text", request{header: ce("i", "Content-Type", "text/plain"), body: `{}`}, 415, "unsupported-media-type", ""},
		{"binary without a content type", request{header: ce("i", "Content-Type", ""), body: `{}`}, 415, "unsupported-media-type", ""},
		{"binary with lines", request{header: ce("i", "Content-Type", "application/x-ndjson"), body: eventJSON("x")}, 415, "unsupported-media-type", "must be JSON"},
		{"binary with another charset", request{header: ce("i", "Content-Type", "application/json; charset=utf-16"), body: `{}`}, 415, "unsupported-media-type", ""},
		{"binary data that is compressed", request{header: ce("i", "Content-Encoding", "gzip"), body: `{}`}, 415, "unsupported-encoding", ""},
		{"another format", request{header: contentType("application/cloudevents+avro"), body: good}, 415, "unsupported-media-type", "JSON format"},
		{"no format", request{header: contentType("application/cloudevents"), body: good}, 415, "unsupported-media-type", "JSON format"},
		{"JSON of another type alone", request{header: contentType("application/vnd.example+json"), body: eventJSON("x")}, 415, "unsupported-media-type", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := h.stored()
			resp, body := h.do(tt.req)
			if code := problemCode(t, resp, body); resp.StatusCode != tt.status || code != tt.code {
				t.Errorf("got %d %s, want %d %s", resp.StatusCode, body, tt.status, tt.code)
			}
			if !strings.Contains(body, tt.want) {
				t.Errorf("got %s, want %s in it", body, tt.want)
			}
			if got := h.stored(); got != before {
				t.Errorf("got %d events stored after a refusal, want %d", got, before)
			}
		})
	}
}

// What a page can send is refused, also as a CloudEvent.
func TestIngestRefusesCloudEventsOfPages(t *testing.T) {
	h := newIngest(t)
	page := map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
	for name, r := range map[string]request{
		"structured": {header: contentType(cloudType), body: cloudJSON("page", ``)},
		"batch":      {header: contentType(cloudBatchType), body: "[" + cloudJSON("page", ``) + "]"},
		"binary":     {header: ce("page"), body: `{}`},
	} {
		maps.Copy(r.header, page)
		if resp, body := h.do(r); resp.StatusCode != 403 {
			t.Errorf("%s: got %d %s, want 403", name, resp.StatusCode, body)
		}
	}
	if got := h.stored(); got != 0 {
		t.Errorf("got %d events stored, want none", got)
	}
}

// An event that brings a trace context keeps it; the others have that of the
// request.
func TestIngestTraceContextOfCloudEvents(t *testing.T) {
	const own, requests = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-11111111111111111111111111111111-2222222222222222-01"
	h := newIngest(t)
	batch := "[" + cloudJSON("none", ``) + "," +
		cloudJSON("own", `,"traceparent":"`+own+`","tracestate":"own=1"`) + "," +
		cloudJSON("stateless", `,"traceparent":"`+own+`"`) + "," +
		cloudJSON("invalid", `,"traceparent":"nonsense","tracestate":"own=1"`) + "]"
	header := map[string]string{"Content-Type": cloudBatchType, "Traceparent": requests, "Tracestate": "request=1"}
	if resp, body := h.do(request{header: header, body: batch}); resp.StatusCode != 202 {
		t.Fatalf("got %d %s, want 202", resp.StatusCode, body)
	}
	header = ce("binary", "ce-traceparent", own, "ce-tracestate", "own=2", "traceparent", requests)
	if resp, body := h.do(request{header: header, body: `{}`}); resp.StatusCode != 202 {
		t.Fatalf("got %d %s, want 202", resp.StatusCode, body)
	}
	for id, want := range map[string][2]string{
		"none": {requests, "request=1"}, "own": {own, "own=1"}, "stateless": {own, ""},
		"invalid": {requests, "request=1"}, "binary": {own, "own=2"},
	} {
		e, _, err := h.fake.EventByID(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]string{e.TraceParent, e.TraceState}; got != want {
			t.Errorf("%s: got trace context %q, want %q", id, got, want)
		}
		var members struct{ Metadata map[string]any }
		if err := json.Unmarshal(e.Body, &members); err != nil || len(members.Metadata) != 1 {
			t.Errorf("%s: got %s, %v, want the source alone as metadata", id, e.Body, err)
		}
	}
}

// An endpoint for CloudEvents gets a test event of a type that it subscribes to.
func TestEndpointsOfCloudEventsCanBeTested(t *testing.T) {
	rc := newReceiver(t)
	h := newIngestWith(t, object{
		"event_types": []string{"com.example.Order-Placed"},
		"endpoints":   object{"cloud": rc.endpoint()},
	})
	status, body := h.adminDo(http.MethodPost, "/webhooks/endpoints/cloud/test")
	if status != 200 || !strings.Contains(body, "com.example.Order-Placed") {
		t.Errorf("got %d %s, want 200 with an event of the endpoint's type", status, body)
	}
}
