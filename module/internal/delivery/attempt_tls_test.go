package delivery

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"
)

// authority issues certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, pool: x509.NewCertPool()}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

// issue makes a server certificate for 127.0.0.1, changed by edit.
func (a *authority) issue(t *testing.T, edit func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if edit != nil {
		edit(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// overTLS shakes hands and goes on inside of TLS.
func overTLS(config *tls.Config, handle func(*peer)) func(*peer) {
	return func(p *peer) {
		c := tls.Server(p.Conn, config)
		if c.Handshake() != nil {
			p.hang() // a reset could overtake the alert
			return
		}
		handle(&peer{Conn: c, br: bufio.NewReader(c), n: p.n, h: p.h})
	}
}

func TestBadTLSReceivers(t *testing.T) { //nolint:tparallel // counts goroutines
	leaked := checkGoroutines(t)
	ca, other := newAuthority(t), newAuthority(t)
	good := ca.issue(t, nil)
	with := func(edit func(*x509.Certificate)) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{ca.issue(t, edit)}}
	}
	rows := []row{
		{
			name: "good", verdict: VerdictSuccess, code: "http_200", status: 200, wire: 1, kept: "ok",
			handle: overTLS(&tls.Config{Certificates: []tls.Certificate{good}}, answer(ok200)),
		},
		{
			name: "expired", code: CodeTLSExpired,
			handle: overTLS(with(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), answer(ok200)),
		},
		{
			name: "not valid yet", code: CodeTLSExpired,
			handle: overTLS(with(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), answer(ok200)),
		},
		{
			name: "wrong host", code: CodeTLSWrongHost,
			handle: overTLS(with(func(c *x509.Certificate) { c.IPAddresses = nil; c.DNSNames = []string{"other.example"} }), answer(ok200)),
		},
		{
			name: "not for servers", code: CodeTLSFailure,
			handle: overTLS(with(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), answer(ok200)),
		},
		{
			name: "unknown authority", code: CodeTLSUnknownCA,
			handle: overTLS(&tls.Config{Certificates: []tls.Certificate{other.issue(t, nil)}}, answer(ok200)),
		},
		{
			name: "TLS 1.1", code: CodeTLSVersion,
			handle: overTLS(&tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, answer(ok200)),
		},
		{
			name: "no common cipher", code: CodeTLSFailure,
			handle: overTLS(&tls.Config{
				Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12,
				CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA},
			}, answer(ok200)),
		},
		{
			// The alert comes after the client's handshake. When it comes before
			// the request is written, net/http reports the write's failure.
			name: "client certificate, TLS 1.3", code: CodeTLSClientCert, again: 100,
			handle: overTLS(&tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert}, answer(ok200)),
		},
		{
			// The server's alert does not tell what it misses.
			name: "client certificate, TLS 1.2", code: CodeTLSFailure,
			handle: overTLS(&tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}, answer(ok200)),
		},
		{name: "plain HTTP", code: CodeTLSNotTLS, handle: func(p *peer) { p.send("HTTP/1.1 400 Bad Request\r\n\r\n"); p.hang() }},
		{name: "hanging handshake", code: CodeTLSTimeout, handle: (*peer).hang},
		{name: "reset in the handshake", code: CodeConnectionReset, handle: func(p *peer) { _, _ = p.br.Peek(100); p.reset() }},
		{name: "closed in the handshake", code: CodeConnectionClosed, handle: func(p *peer) { _, _ = p.br.Peek(p.readable()) }},
		{name: "closed after the handshake", code: CodeConnectionClosed, wire: 1, handle: overTLS(&tls.Config{Certificates: []tls.Certificate{good}}, answerAndClose(""))},
	}
	t.Run("rows", func(t *testing.T) {
		for _, r := range rows {
			if r.verdict == "" {
				r.verdict = VerdictRetry
			}
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				r.check(t, "https", guarded(t, &tls.Config{RootCAs: ca.pool}))
			})
		}
	})
	leaked()
}

// readable reads the ClientHello as far as it came, so that closing sends no
// RST.
func (p *peer) readable() int {
	_, _ = p.br.Peek(1)
	n := p.br.Buffered()
	_, _ = p.br.Discard(n)
	return 0
}

func TestTLSRecord(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	h := serve(t, overTLS(&tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}, MaxVersion: tls.VersionTLS12}, answer(ok200)))
	a := Send(t.Context(), testMessage(t, "https://"+h.addr, guarded(t, &tls.Config{RootCAs: ca.pool}))).Attempt
	if a.TLSVersion != "TLS 1.2" || a.Phases.TLS == 0 || a.Phases.Connect == 0 || a.Phases.DNS != 0 {
		t.Errorf("got %q with phases %+v, want TLS 1.2 with connecting and TLS, and no look-up", a.TLSVersion, a.Phases)
	}
	if p := a.Phases; p.DNS+p.Connect+p.TLS+p.Write+p.Wait+p.Body > a.Duration {
		t.Errorf("got phases %+v, want no more than %s in sum", p, a.Duration)
	}
}
