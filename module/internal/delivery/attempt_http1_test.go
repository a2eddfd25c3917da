package delivery

import (
	"bytes"
	"compress/gzip"
	"net"
	"strings"
	"testing"
	"time"
)

const ok200 = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// gzipBomb returns a quarter of a megabyte that unpacks to 256.
func gzipBomb(t *testing.T) string {
	t.Helper()
	var part bytes.Buffer
	w := gzip.NewWriter(&part)
	if _, err := w.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return strings.Repeat(part.String(), 256) // RFC 1952, section 2.2: members may follow each other
}

func TestBadHTTP1Receivers(t *testing.T) { //nolint:tparallel // counts goroutines
	leaked := checkLeaks(t)
	failed := func(name, code string, handle func(*peer)) row {
		return row{name: name, handle: handle, verdict: VerdictRetry, code: code, wire: 1}
	}
	success := func(name string, handle func(*peer), kept string) row {
		return row{name: name, handle: handle, verdict: VerdictSuccess, code: "http_200", status: 200, wire: 1, kept: kept}
	}
	incomplete := func(name string, handle func(*peer), kept string) row {
		r := success(name, handle, kept)
		r.incomplete = true
		return r
	}
	bomb := gzipBomb(t)
	rows := []row{
		failed("never answers", CodeTimeoutHeaders, answer("")),
		{name: "never reads", handle: func(p *peer) { <-p.h.over }, bytes: 16 << 20, verdict: VerdictRetry, code: CodeTimeoutWrite},
		failed("drips its head", CodeTimeoutHeaders, func(p *peer) { _ = p.request() && p.send("HTTP/1.1 200 OK\r\nX: "); p.drip("x", 10*time.Millisecond) }),
		incomplete("hangs in the body", answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), "abc"),
		incomplete("drips the body", func(p *peer) {
			_ = p.request() && p.send("HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
			p.drip("x", 10*time.Millisecond)
		}, ""),
		{
			name: "infinite body", verdict: VerdictSuccess, code: "http_200", status: 200, wire: 1, truncated: true,
			kept: strings.Repeat("x", bodyKept), timeout: 5 * time.Second,
			handle: func(p *peer) {
				for ok := p.request() && p.send("HTTP/1.1 200 OK\r\n\r\n"); ok; ok = p.send(strings.Repeat("x", 4096)) {
				}
			},
		},
		failed("1 MiB header", CodeResponseHeaderTooLarge, answer("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<20)+"\r\n\r\n")),
		failed("100000 headers", CodeResponseHeaderTooLarge, answer("HTTP/1.1 200 OK\r\n"+strings.Repeat("A: b\r\n", 100000)+"\r\n")),
		failed("103 flood", CodeResponseHeaderTooLarge, answer(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n", 100000))),
		success("103 and then 200", answer(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 6)+ok200), "ok"),
		{
			name: "switches protocols", verdict: VerdictRetry, code: CodeProtocolError, status: 101, wire: 1,
			handle: answer("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
		},
		success("gzip", answer("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"), "\x1f\x8b\x08\x00"),
		{
			name: "gzip bomb", verdict: VerdictSuccess, code: "http_200", status: 200, wire: 1, truncated: true, kept: bomb[:bodyKept],
			handle: answer("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + bomb),
		},
		failed("short status", CodeProtocolError, answer("HTTP/1.1 20 OK\r\n\r\n")),
		failed("long status", CodeProtocolError, answer("HTTP/1.1 2000 OK\r\n\r\n")),
		failed("HTTP/0.9", CodeProtocolError, answer("<html>hello</html>\r\n\r\n")),
		failed("closes without an answer", CodeConnectionClosed, answerAndClose("")),
		failed("resets in the status line", CodeProtocolError, answerAndReset("HTTP/1.1 20")),
		failed("resets without an answer", CodeConnectionReset, answerAndReset("")),
		failed("closes its side", CodeConnectionClosed, func(p *peer) { _ = p.request() && p.Conn.(*net.TCPConn).CloseWrite() == nil; p.hang() }),
		incomplete("resets in the body", answerAndReset("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), ""),
		incomplete("closes in the body", answerAndClose("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), "abc"),
		incomplete("bad chunk", answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n"), "abc"),
		success("longer than its length", answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 No\r\n\r\n"), "ok"),
		failed("negative length", CodeProtocolError, answer("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n")),
		failed("two lengths", CodeProtocolError, answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")),
		failed("unknown transfer encoding", CodeProtocolError, answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: rot13\r\n\r\n")),
		failed("header without a colon", CodeProtocolError, answer("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n")),
		failed("NUL in a header", CodeProtocolError, answer("HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n")),
		success("bare line feeds", answer("HTTP/1.1 200 OK\nContent-Length: 2\n\nok"), "ok"),
		success("folded header", answer("HTTP/1.1 200 OK\r\nX: a\r\n  b\r\nContent-Length: 2\r\n\r\nok"), "ok"),
		success("header with a space", answer("HTTP/1.1 200 OK\r\nX Y: z\r\nContent-Length: 2\r\n\r\nok"), "ok"),
		success("HTTP/3.7", answerAndClose("HTTP/3.7 200 OK\r\n\r\nok"), "ok"),
		{
			name: "not UTF-8", verdict: VerdictSuccess, code: "http_200", status: 200, wire: 1, kept: "\xff\xfe",
			handle: answer("HTTP/1.1 200 OK\r\nContent-Type: \xff/\x80\r\nContent-Length: 2\r\n\r\n\xff\xfe"),
			header: map[string]string{"content-type": "?/?"},
		},
		failed("escape in a header", CodeProtocolError, answer("HTTP/1.1 200 OK\r\nContent-Type: \x1b[2J\r\n\r\n")),
		success("escape in the body", answer("HTTP/1.1 200 \x1b[2J\r\nContent-Length: 4\r\n\r\n\x1b[2J"), "\x1b[2J"),
		success("HTTP/1.0", answerAndClose("HTTP/1.0 200 OK\r\n\r\nok"), "ok"),
		success("cookie", answer("HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok"), "ok"),
		{
			name: "413 before the body was read", verdict: VerdictPermanent, code: "http_413", status: 413, bytes: 8 << 20,
			handle: func(p *peer) {
				_, _ = p.br.Peek(1)
				p.send("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				p.hang()
			},
		},
	}
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
