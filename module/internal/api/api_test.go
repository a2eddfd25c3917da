package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
	"github.com/promptreports/caddy-webhooks/storage"
)

func TestFind(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method, target, path, argument, allowed string
	}{
		{"GET", "/webhooks/status", "/webhooks/status", "", ""},
		{"HEAD", "/webhooks/status", "/webhooks/status", "", ""},
		{"GET", "/webhooks/endpoints/a%2Fb", "/webhooks/endpoints/{name}", "a/b", ""},
		{"POST", "/webhooks/endpoints/test/test", "/webhooks/endpoints/{name}/test", "test", ""},
		{"POST", "/webhooks/status", "", "", "GET, HEAD"},
		{"OPTIONS", "/webhooks/deliveries/x", "", "", "GET, HEAD"},
		{"GET", "/webhooks/deliveries/x/retry", "", "", "POST"},
		{"GET", "/webhooks/endpoints/", "", "", ""},
		{"GET", "/webhooks/status/", "", "", ""},
		{"GET", "/webhooks//status", "", "", ""},
		{"GET", "/webhooks/", "", "", ""},
		{"GET", "/webhooks", "", "", ""},
		{"GET", "/", "", "", ""},
		{"GET", "/config/", "", "", ""},
	} {
		t.Run(test.method+" "+test.target, func(t *testing.T) {
			t.Parallel()
			found, argument, allowed := find(httptest.NewRequest(test.method, test.target, nil))
			path := ""
			if found != nil {
				path = found.path
			}
			if path != test.path || argument != test.argument || strings.Join(allowed, ", ") != test.allowed {
				t.Errorf("got %q %q %q, want %q %q %q", path, argument, allowed, test.path, test.argument, test.allowed)
			}
		})
	}
}

func TestPatternsFitAServeMux(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	h := New(func() *delivery.Engine { return nil }, "")
	mux.Handle(Root, h)
	for _, pattern := range Patterns() {
		mux.Handle(pattern, h)
	}
	for target, want := range map[string]int{"/webhooks/deliveries/x": 503, "/webhooks/nothing": 404} {
		if got := ask(mux, "GET", target, "", nil).Code; got != want {
			t.Errorf("%s: got %d, want %d", target, got, want)
		}
	}
	if got := ask(mux, "PUT", "/webhooks/status", "", nil); got.Code != 405 || got.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("got %d and Allow %q, want 405 and GET, HEAD", got.Code, got.Header().Get("Allow"))
	}
}

func TestWithoutEngine(t *testing.T) {
	t.Parallel()
	h := New(func() *delivery.Engine { return nil }, "")
	for _, pattern := range Patterns() {
		method, path, _ := strings.Cut(pattern, " ")
		answer := ask(h, method, strings.NewReplacer("{name}", "a", "{id}", "b").Replace(path), "", nil)
		if answer.Code != 503 || answer.Header().Get("Retry-After") == "" {
			t.Errorf("%s: got %d with Retry-After %q, want 503 with one", pattern, answer.Code, answer.Header().Get("Retry-After"))
		}
		errorOf(t, answer)
	}
}

func TestParametersThatAreRefused(t *testing.T) {
	t.Parallel()
	h := New(func() *delivery.Engine { return nil }, "")
	for target, want := range map[string]string{
		"/webhooks/deliveries?endpiont=a":             `unknown parameter "endpiont"`,
		"/webhooks/deliveries?endpoint=a&endpoint=b":  "parameter endpoint: is given 2 times",
		"/webhooks/deliveries?code=":                  "parameter code: is empty",
		"/webhooks/deliveries?a=%zz":                  "the query is malformed",
		"/webhooks/deliveries?a=1;b=2":                "the query is malformed",
		"/webhooks/status?limit=1":                    `unknown parameter "limit"`,
		"/webhooks/deliveries/wh_dlv_x?attempts=true": `unknown parameter "attempts"`,
	} {
		answer := ask(h, "GET", target, "", nil)
		if got := errorOf(t, answer); answer.Code != 400 || !strings.Contains(got, want) {
			t.Errorf("%s: got %d %q, want 400 %q", target, answer.Code, got, want)
		}
	}
	inWorld(t, func(t *testing.T, w *world) {
		for query, want := range map[string]string{
			"limit=0":           "parameter limit: must be a number from 1 to 1000",
			"limit=1001":        "parameter limit",
			"limit=ten":         "parameter limit",
			"limit=-1":          "parameter limit",
			"since=yesterday":   "parameter since: must be a time of RFC 3339",
			"until=2024-01-15":  "parameter until",
			"status=delayed":    "parameter status: must be pending, delivered, failed, cancelled or orphaned",
			"code=timeout":      "parameter code: must be a code of attempts",
			"code=http_5xx":     "parameter code",
			"cursor=nonsense":   "parameter cursor",
			"cursor=%22%27%00.": "parameter cursor",
		} {
			answer := w.do("GET", "/webhooks/deliveries?"+query, "")
			if got := errorOf(t, answer); answer.Code != 400 || !strings.Contains(got, want) {
				t.Errorf("%s: got %d %q, want 400 %q", query, answer.Code, got, want)
			}
		}
	})
}

func TestNothingChangesButByAnHonestPost(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.history(t)
		before := w.writes.Load()
		post := []string{
			"/webhooks/endpoints/acme/test", "/webhooks/endpoints/acme/pause", "/webhooks/endpoints/acme/resume",
			w.target(t, "/webhooks/deliveries/{e1:held}/retry"), w.target(t, "/webhooks/deliveries/{e1:held}/cancel"),
		}
		form := http.Header{"Content-Type": {"text/plain"}}
		for _, target := range post {
			for _, method := range []string{"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"} {
				if got := w.do(method, target, ""); got.Code != 405 || got.Header().Get("Allow") != "POST" {
					t.Errorf("%s %s: got %d and Allow %q, want 405 and POST", method, target, got.Code, got.Header().Get("Allow"))
				}
			}
			for name, test := range map[string]struct {
				header http.Header
				body   string
				status int
			}{
				"another site":   {http.Header{"Sec-Fetch-Site": {"cross-site"}}, "{}", 403},
				"another origin": {http.Header{"Origin": {"https://evil.example"}}, "{}", 403},
				"null origin":    {http.Header{"Origin": {"null"}}, "{}", 403},
				"not JSON":       {form, "{}", 415},
				"too large":      {nil, strings.Repeat(" ", maxBody+1), 413},
				"other body":     {nil, `{"x":1}`, 400},
			} {
				answer := ask(w, "POST", target, test.body, test.header)
				errorOf(t, answer)
				if answer.Code != test.status {
					t.Errorf("%s with %s: got %d, want %d", target, name, answer.Code, test.status)
				}
			}
		}
		if got := w.writes.Load() - before; got != 0 {
			t.Errorf("got %d writes, want none", got)
		}
		// The same requests do write when they are honest.
		for _, target := range post {
			before := w.writes.Load()
			answer := ask(w, "POST", target, "{}", http.Header{"Sec-Fetch-Site": {"same-origin"}})
			if answer.Code >= 300 || w.writes.Load() == before {
				t.Errorf("%s: got %d and %d writes, want a success with some", target, answer.Code, w.writes.Load()-before)
			}
		}
	})
}

func TestFail(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err    error
		status int
		later  bool
	}{
		{storage.ErrNotFound, 404, false},
		{storage.ErrClosed, 503, true},
		{storage.ErrFailed, 503, true},
		{fmt.Errorf("%w: %w", storage.ErrFailed, storage.ErrNotFound), 503, true},
		{storage.ErrBadCursor, 400, false},
		{storage.ErrFull, 507, true},
		{storage.ErrBacklogFull, 503, true},
		{storage.ErrTooLarge, 413, false},
		{storage.ErrClaimLost, 409, false},
		{delivery.ErrUnknownEndpoint, 404, false},
		{delivery.ErrNotPending, 409, false},
		{delivery.ErrNotStarted, 503, true},
		{delivery.ErrStopping, 503, true},
		{errors.New("opening /secret/path"), 500, false},
	} {
		t.Run(test.err.Error(), func(t *testing.T) {
			t.Parallel()
			answer := httptest.NewRecorder()
			fail(fmt.Errorf("doing it: %w", test.err)).write(answer)
			if got := answer.Header().Get("Retry-After") != ""; answer.Code != test.status || got != test.later {
				t.Errorf("got %d, Retry-After %v, want %d, %v", answer.Code, got, test.status, test.later)
			}
			if got := errorOf(t, answer); strings.Contains(got, "/secret/path") {
				t.Errorf("got %q, want it in the log only", got)
			}
		})
	}
}

func TestClosedOutbox(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		if err := w.outbox.Close(); err != nil {
			t.Fatal(err)
		}
		for _, target := range []string{"/webhooks/deliveries", "/webhooks/events/e1", "/webhooks/deliveries/wh_dlv_00000000000000000000"} {
			if answer := w.do("GET", target, ""); answer.Code != 503 || answer.Header().Get("Retry-After") == "" {
				t.Errorf("%s: got %d, want 503 with Retry-After", target, answer.Code)
			}
		}
		if got := get[statusAnswer](t, w, "/webhooks/status"); got.Outbox.Error == nil {
			t.Error("got no error of the outbox in the status")
		}
	})
}

// statusAnswer is the status as far as tests look at it.
type statusAnswer struct {
	Outbox struct {
		Error *string `json:"error"`
	} `json:"outbox"`
	Endpoints map[string]int `json:"endpoints"`
}

func TestFilters(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.history(t)
		second := time.Now().Add(-1500 * time.Millisecond).UTC().Format(time.RFC3339Nano)
		for _, test := range []struct {
			query string
			want  []string
		}{
			{"", []string{"e2:held", "e2:broken", "e1:leaver", "e1:held", "e1:folder", "e1:broken", "e1:acme"}},
			{"?endpoint=held", []string{"e2:held", "e1:held"}},
			{"?type=version.promoted", []string{"e2:held", "e2:broken"}},
			{"?event_id=e1&endpoint=acme", []string{"e1:acme"}},
			{"?status=delivered", []string{"e1:folder", "e1:acme"}},
			{"?status=failed", []string{"e2:broken", "e1:broken"}},
			{"?status=cancelled", nil},
			{"?status=pending", []string{"e2:held", "e1:held"}},
			{"?status=orphaned", []string{"e1:leaver"}},
			{"?status=orphaned&endpoint=leaver", []string{"e1:leaver"}},
			{"?status=orphaned&endpoint=held", nil},
			{"?status=pending&endpoint=leaver", nil},
			{"?status=pending&endpoint=held", []string{"e2:held", "e1:held"}},
			{"?code=http_400", []string{"e2:broken", "e1:broken"}},
			{"?since=" + second, []string{"e2:held", "e2:broken"}},
			{"?until=" + second + "&status=delivered", []string{"e1:folder", "e1:acme"}},
		} {
			var got []string
			for _, d := range get[listed](t, w, "/webhooks/deliveries"+test.query).Deliveries {
				got = append(got, d.EventID+":"+d.Endpoint)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("%s: got %q, want %q", test.query, got, test.want)
			}
		}
	})
}

func TestOrphanReturns(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.history(t)
		lease := w.engine.Attach(w.snapshot(t, "leaver"))
		defer lease.Release()
		time.Sleep(time.Second)
		got := get[listed](t, w, "/webhooks/deliveries?endpoint=leaver")
		if len(got.Deliveries) != 1 || got.Deliveries[0].Status != "delivered" {
			t.Errorf("got %v, want it delivered", got.Deliveries)
		}
	})
}

// An endpoint that fails says when it will be disabled, and one that was can
// be resumed.
func TestDisabledEndpoint(t *testing.T) {
	t.Parallel()
	type view struct {
		State, Reason string
		Pending       int
		FailingSince  *time.Time `json:"failing_since"`
		DisableAt     *time.Time `json:"disable_at"`
	}
	inWorld(t, func(t *testing.T, w *world) {
		s := w.snapshot(t, "acme", "down")
		s.Endpoints["down"].DisableAfter, s.Endpoints["down"].Retry.MaxAge = time.Hour, 0
		defer w.engine.Attach(s).Release()
		began := time.Now()
		for i := range 3 {
			w.publish(t, fmt.Sprintf(`{"id":"d%d","type":"version.promoted","timestamp":"1999-12-31T10:30:00Z","data":{}}`, i))
		}
		v := get[view](t, w, "/webhooks/endpoints/down")
		if v.State != "failing" || v.FailingSince == nil || v.DisableAt == nil {
			t.Fatalf("got %+v, want it failing, and to be disabled", v)
		}
		if since := v.FailingSince.Sub(began); since < 0 || since > time.Second || v.DisableAt.Sub(*v.FailingSince) != time.Hour {
			t.Errorf("got %+v, want it failing since %v, and to be disabled an hour later", v, began)
		}
		time.Sleep(2 * time.Hour)
		v = get[view](t, w, "/webhooks/endpoints/down")
		if v.State != "paused" || v.Reason != "disabled" || v.Pending != 3 || v.FailingSince == nil || v.DisableAt != nil {
			t.Errorf("got %+v, want it disabled with 3 pending", v)
		}
		answer := w.do(http.MethodPost, "/webhooks/endpoints/down/resume", "")
		var after view
		if err := json.Unmarshal(answer.Body.Bytes(), &after); err != nil || answer.Code != http.StatusOK {
			t.Fatalf("got %d %s, want 200", answer.Code, answer.Body)
		}
		if after.State != "failing" || after.DisableAt == nil || time.Until(*after.DisableAt) != time.Hour {
			t.Errorf("got %+v, want it failing, and to be disabled in an hour", after)
		}
	})
}

func TestPages(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		const events = 60 // two deliveries each
		for i := range events {
			w.publish(t, fmt.Sprintf(`{"id":"p%d","type":"version.promoted","timestamp":"1999-12-31T10:30:00Z","data":{}}`, i))
		}
		var ids []string
		pages := 0
		for target := "/webhooks/deliveries?limit=50"; target != ""; pages++ {
			page := get[listed](t, w, target)
			for _, d := range page.Deliveries {
				ids = append(ids, d.ID)
			}
			target = ""
			if page.NextCursor != nil {
				target = "/webhooks/deliveries?limit=50&cursor=" + *page.NextCursor
			}
		}
		if len(ids) != 2*events || pages != 3 {
			t.Errorf("got %d deliveries on %d pages, want %d on 3", len(ids), pages, 2*events)
		}
		if !slices.IsSortedFunc(ids, func(a, b string) int { return strings.Compare(b, a) }) {
			t.Error("got another order than newest first")
		}
		if got := len(get[listed](t, w, "/webhooks/deliveries").Deliveries); got != 100 {
			t.Errorf("got %d deliveries by default, want 100", got)
		}
	})
}

func TestShortPagesAreFilled(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		// The outbox looks at a thousand deliveries for a page.
		old := storage.NewEvent{ID: "old", Type: "prompt.created", Body: []byte("{}"), Endpoints: []string{"held"}}
		many := storage.NewEvent{ID: "many", Type: "prompt.updated", Body: []byte("{}"), Endpoints: slices.Repeat([]string{"held"}, 2500)}
		for _, ev := range []storage.NewEvent{old, many} {
			if _, err := w.outbox.Accept(t.Context(), []storage.NewEvent{ev}); err != nil {
				t.Fatal(err)
			}
		}
		const target = "/webhooks/deliveries?type=prompt.created"
		if got := get[listed](t, w, target); len(got.Deliveries) != 1 || got.NextCursor != nil {
			t.Errorf("got %v, want the one delivery and no cursor", got)
		}
		w.now = func() time.Time {
			time.Sleep(fillTime)
			return time.Now()
		}
		if got := get[listed](t, w, target); len(got.Deliveries) != 0 || got.NextCursor == nil {
			t.Errorf("got %v, want an empty page with a cursor when the time is up", got)
		}
	})
}

func TestRetryRepeatsWhatIsFinished(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.history(t)
		old := w.deliveryOf(t, "e1", "acme")
		if answer := w.do("POST", "/webhooks/deliveries/"+old+"/retry", ""); answer.Code != 202 {
			t.Fatalf("got %d %s, want 202", answer.Code, answer.Body)
		}
		time.Sleep(time.Second)
		got := get[listed](t, w, "/webhooks/deliveries?endpoint=acme").Deliveries
		if len(got) != 2 || got[0].ReplayOf == nil || *got[0].ReplayOf != old || got[0].Status != "delivered" {
			t.Errorf("got %+v, want a second delivery that was delivered", got)
		}
	})
}

func TestExcerpt(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, body     string
		cut            bool
		text, encoding string
	}{
		{"empty", "", false, "", "text"},
		{"empty and cut", "", true, "", "text"},
		{"text", "añb", true, "añb", "text"},
		{"cut character", "añ"[:2], true, "a", "text"},
		{"cut emoji", "a😀"[:4], true, "a", "text"},
		{"broken, not cut", "añ"[:2], false, "YcM=", "base64"},
		{"binary", "\xff\xfe", true, "//4=", "base64"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if text, encoding := excerpt([]byte(test.body), test.cut); text != test.text || encoding != test.encoding {
				t.Errorf("got %q, %s, want %q, %s", text, encoding, test.text, test.encoding)
			}
		})
	}
}

func TestTestType(t *testing.T) {
	t.Parallel()
	catalogue := []string{"prompt.created", "version.created"}
	for _, test := range []struct {
		name      string
		events    []string
		catalogue []string
		want      string
	}{
		{"first of the catalogue that fits", []string{"version.*"}, catalogue, "version.created"},
		{"anything", nil, catalogue, "prompt.created"},
		{"exact without a catalogue", []string{"!a.b", "c.*", "c.d"}, nil, "c.d"},
		{"none known", []string{"c.*"}, nil, "webhook.test"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := testType(&delivery.Endpoint{Events: test.events}, test.catalogue); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestTimesAndDurations(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("", 2*3600)
	got, err := encode([]any{
		stamp(time.Date(2024, 1, 15, 12, 30, 0, 1_234_999, zone)), stamp(time.Date(2024, 1, 15, 12, 30, 0, 0, zone)),
		stamp{},
		millis(1500 * time.Microsecond), millis(2 * time.Second), millis(0), optional(0), optional(503),
	})
	const want = `["2024-01-15T10:30:00.001234Z","2024-01-15T10:30:00.000000Z",null,1.5,2000,0,null,503]` + "\n"
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}
