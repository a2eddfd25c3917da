package delivery

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestStatuses is about what statuses come to on the wire.
func TestStatuses(t *testing.T) { //nolint:tparallel // counts goroutines
	leaked := checkLeaks(t)
	verdicts := map[string]string{ // 410, 429 and 503 are below
		"200 201 202 204 206 299":                                 VerdictSuccess,
		"400 401 403 404 405 409 413 418 421 422 451 499":         VerdictPermanent,
		"408 425 500 501 502 504 507 520 599 099 600 999 300 304": VerdictRetry,
	}
	var rows []row
	for statuses, verdict := range verdicts {
		for text := range strings.FieldsSeq(statuses) {
			r := row{name: text, verdict: verdict, wire: 1}
			if _, err := fmt.Sscanf(text, "%d", &r.status); err != nil {
				t.Fatal(err)
			}
			r.code = statusCode(r.status)
			r.handle = answer("HTTP/1.1 " + text + " X\r\nContent-Length: 0\r\nRetry-After: 7\r\nSet-Cookie: a=b\r\n\r\n")
			r.header = map[string]string{"retry-after": "7"}
			rows = append(rows, r)
		}
	}
	rows = append(rows, row{
		name: "410", verdict: VerdictPermanent, code: CodeGone, status: 410, wire: 1, kept: "bye",
		handle: answer("HTTP/1.1 410 Gone\r\nContent-Length: 3\r\n\r\nbye"),
	})
	t.Run("rows", func(t *testing.T) {
		for _, r := range rows {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				r.check(t, "http", guarded(t, nil))
			})
		}
	})
	leaked()
}

// TestHolds is about receivers that ask to be left alone.
func TestHolds(t *testing.T) { //nolint:tparallel // counts goroutines
	leaked := checkLeaks(t)
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT") }
	t.Run("rows", func(t *testing.T) {
		for value, hold := range map[string]time.Duration{
			"120": 2 * time.Minute, "86400": time.Hour, "99999999999999999999": time.Hour,
			in(48 * time.Hour): time.Hour, in(-time.Hour): 0,
			"0": 0, "-1": 0, "1.5": 0, "1e30": 0, "inf": 0, "NaN": 0, "soon": 0,
		} {
			for _, status := range []int{429, 503} {
				r := row{
					verdict: VerdictRetry, code: statusCode(status), status: status, wire: 1, hold: hold,
					header: map[string]string{"retry-after": value},
					handle: answer(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: 0\r\nRetry-After: %s\r\n\r\n", status, value)),
				}
				t.Run(fmt.Sprint(status, " ", value), func(t *testing.T) {
					t.Parallel()
					r.check(t, "http", guarded(t, nil))
				})
			}
		}
		t.Run("five of them", func(t *testing.T) {
			t.Parallel()
			r := row{
				verdict: VerdictRetry, code: "http_429", status: 429, wire: 1, hold: time.Second,
				header: map[string]string{"retry-after": "1"},
				handle: answer("HTTP/1.1 429 X\r\nContent-Length: 0\r\n" +
					"Retry-After: 1\r\nRetry-After: 2\r\nRetry-After: 3\r\nRetry-After: 4\r\nRetry-After: 5\r\n\r\n"),
			}
			r.check(t, "http", guarded(t, nil))
		})
		t.Run("1 MiB", func(t *testing.T) {
			t.Parallel()
			r := row{
				verdict: VerdictRetry, code: CodeResponseHeaderTooLarge, wire: 1,
				handle: answer("HTTP/1.1 429 X\r\nRetry-After: " + strings.Repeat("1", 1<<20) + "\r\n\r\n"),
			}
			r.check(t, "http", guarded(t, nil))
		})
	})
	leaked()
}

// TestRedirect holds that no redirect reaches its target, and that of the
// target no more is recorded than scheme and host.
func TestRedirect(t *testing.T) { //nolint:tparallel // counts goroutines
	target := serve(t, answer(ok200))
	leaked := checkLeaks(t)
	statuses := []int{301, 302, 303, 307, 308}
	t.Run("rows", func(t *testing.T) {
		for location, kept := range map[string]string{
			"":                        "",
			"/elsewhere":              "http://{host}",
			"http://{host}/elsewhere": "http://{host}",
			"http://u:p@" + target.addr + "/secret?token=secret": "http://" + target.addr,
			"https://" + target.addr:                             "https://" + target.addr,
			"http://169.254.169.254/latest/meta-data/":           "http://169.254.169.254",
			"http://[::1":               "",
			"%zz":                       "",
			"mailto:a@b.example":        "",
			"file:///etc/passwd":        "",
			"http://b\xfccher.example/": "http://b?cher.example",
			"http://x.example/" + strings.Repeat("a", 30<<10): "http://x.example",
		} {
			for _, status := range statuses {
				r := row{verdict: VerdictRetry, code: CodeRedirectRefused, status: status, wire: 1}
				if kept != "" {
					r.header = map[string]string{"location": kept}
				}
				r.handle = func(p *peer) {
					to := strings.ReplaceAll(location, "{host}", p.h.addr)
					answer(fmt.Sprintf("HTTP/1.1 %d X\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", status, to))(p)
				}
				t.Run(fmt.Sprintf("%d %.40q", status, location), func(t *testing.T) {
					t.Parallel()
					r.check(t, "http", guarded(t, nil))
				})
			}
		}
	})
	if got := target.conns.Load(); got != 0 {
		t.Errorf("got %d connections at the target, want none", got)
	}
	leaked()
}
