package module

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// The header combinations are those which the browsers and clients send.
func TestIngestBrowser(t *testing.T) {
	h := newIngest(t)
	own := "http://" + h.addr
	port := h.addr[strings.LastIndexByte(h.addr, ':'):]
	tests := []struct {
		name   string
		path   string
		host   string
		header map[string]string
		status int
	}{
		{"simple request of a page", "", "", map[string]string{"Content-Type": "text/plain;charset=UTF-8", "Origin": "https://evil.example", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site"}, 403},
		{"simple request without fetch metadata", "", "", map[string]string{"Content-Type": "text/plain;charset=UTF-8", "Origin": "https://evil.example"}, 403},
		{"form of a page", "", "", map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Origin": "https://evil.example", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}, 403},
		{"form in a sandbox", "", "", map[string]string{"Content-Type": "text/plain", "Origin": "null", "Sec-Fetch-Site": "cross-site"}, 403},
		{"JSON of a page", "", "", map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "cross-site"}, 403},
		{"JSON of a page of an old browser", "", "", map[string]string{"Origin": "https://evil.example"}, 403},
		{"null origin", "", "", map[string]string{"Origin": "null"}, 403},
		{"cross-site without an origin", "", "", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"page of another port", "", "", map[string]string{"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"}, 403},
		{"same site without an origin", "", "", map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{"rebinding", "", "evil.example" + port, map[string]string{"Origin": "http://evil.example" + port, "Sec-Fetch-Site": "same-origin"}, 403},
		{"rebinding without an origin", "", "evil.example" + port, nil, 403},
		{"rebinding of a trailing dot", "", "evil.example." + port, nil, 403},
		{"rebinding to a name without dots", "", "evil" + port, map[string]string{"Origin": "http://evil" + port}, 403},
		{"name that holds an address", "", "127.0.0.1.evil.example" + port, nil, 403},
		{"name that starts as localhost", "", "localhost.evil.example" + port, nil, 403},
		{"another origin than those listed", "/listed", "", map[string]string{"Origin": "https://app.example.com.evil.example"}, 403},
		{"listed origin over http", "/listed", "", map[string]string{"Origin": "http://app.example.com"}, 403},
		{"page without a referrer", "", "", map[string]string{"Origin": "null", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 403},
		{"page of the own host over another scheme", "", "", map[string]string{"Origin": "ftp://" + h.addr}, 403},
		{"site that is not known yet", "", "", map[string]string{"Sec-Fetch-Site": "same-party"}, 403},
		{"cross-site within a local name", "", "localhost" + port, map[string]string{"Origin": own, "Sec-Fetch-Site": "cross-site"}, 403},
		{"form of an old browser", "", "", map[string]string{"Content-Type": "text/plain"}, 415},
		{"beacon without a type", "", "", map[string]string{"Content-Type": "", "Sec-Fetch-Site": "none"}, 415},
		{"simple request of a page of a listed origin", "/listed", "", map[string]string{"Content-Type": "text/plain;charset=UTF-8", "Origin": "https://app.example.com"}, 415},
		{"simple request of a page of the handler's own site", "", "", map[string]string{"Content-Type": "text/plain;charset=UTF-8", "Origin": own, "Sec-Fetch-Site": "same-origin"}, 415},

		{"page of the handler's own site", "", "", map[string]string{"Origin": own, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 202},
		{"page of a listed origin", "/listed", "", map[string]string{"Origin": "https://app.example.com", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}, 202},
		{"typed by a user", "", "", map[string]string{"Sec-Fetch-Site": "none"}, 202},
		{"site that the server matches", "", "hooks.example.com", nil, 202},
		{"site in another case", "", "HOOKS.example.com:80", nil, 202},
		{"site that a wildcard matches", "", "a.wild.example", nil, 202},
		{"localhost", "", "localhost" + port, nil, 202},
		{"another address of the host", "", "172.17.0.1" + port, nil, 202},
		{"IPv6 address", "", "[::1]" + port, nil, 202},
		{"name of a container", "", "webhooks" + port, nil, 202},
		{"curl", "", "", map[string]string{"User-Agent": "curl/8.5.0", "Accept": "*/*"}, 202},
		{"Node fetch", "", "", map[string]string{"User-Agent": "node", "Accept": "*/*", "Accept-Language": "*", "Sec-Fetch-Mode": "cors", "Accept-Encoding": "gzip, deflate"}, 202},
		{"axios", "", "", map[string]string{"User-Agent": "axios/1.7.2", "Accept": "application/json, text/plain, */*"}, 202},
		{"Python requests", "", "", map[string]string{"User-Agent": "python-requests/2.32.3", "Accept": "*/*"}, 202},
		{"PHP curl", "", "", map[string]string{"Accept": "*/*", "User-Agent": ""}, 202},
		{"Java HttpClient", "", "", map[string]string{"User-Agent": "Java-http-client/21.0.2", "Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "Http2-Settings": "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"}, 202},
		{"Go", "", "", map[string]string{"User-Agent": "Go-http-client/1.1"}, 202},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := h.stored()
			resp, body := h.do(request{path: tt.path, host: tt.host, header: tt.header, body: eventJSON(fmt.Sprint("browser", i))})
			if resp.StatusCode != tt.status {
				t.Errorf("got %d %s, want %d", resp.StatusCode, body, tt.status)
			}
			sharesNothing(t, resp.Header)
			want := before
			if tt.status == 202 {
				want++
			}
			if got := h.stored(); got != want {
				t.Errorf("got %d events stored, want %d", got, want)
			}
		})
	}
}

// Without an answer to the preflight request, no browser sends a content type
// that is accepted. Whose pages may, is for other directives to say, also for
// those of a listed origin.
func TestIngestBrowserPreflight(t *testing.T) {
	h := newIngest(t)
	for _, tt := range []struct{ name, path, host, origin string }{
		{"of another page", "", "", "https://evil.example"},
		{"of a sandbox", "", "", "null"},
		{"of the handler's own site", "", "", "http://" + h.addr},
		{"of a listed origin", "/listed", "", "https://app.example.com"},
		{"of a name that was bound again", "", "evil.example", "http://evil.example"},
	} {
		for _, method := range []string{http.MethodOptions, http.MethodGet, http.MethodHead} {
			t.Run(method+" "+tt.name, func(t *testing.T) {
				header := map[string]string{
					"Origin": tt.origin, "Access-Control-Request-Method": "POST",
					"Access-Control-Request-Headers": "content-type", "Access-Control-Request-Private-Network": "true",
				}
				resp, body := h.do(request{method: method, path: tt.path, host: tt.host, header: header})
				if resp.StatusCode != http.StatusMethodNotAllowed {
					t.Errorf("got %d %s, want 405", resp.StatusCode, body)
				}
				sharesNothing(t, resp.Header)
			})
		}
	}
	if got := h.stored(); got != 0 {
		t.Errorf("got %d events stored, want none", got)
	}
}

// sharesNothing demands that an answer does not admit a page of another site.
func sharesNothing(t *testing.T, header http.Header) {
	t.Helper()
	for name := range header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("got the header %s, want none of CORS", name)
		}
	}
}
