package delivery

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"slices"
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
	return a.issueFor(t, key, edit)
}

func (a *authority) issueFor(t *testing.T, key crypto.Signer, edit func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if edit != nil {
		edit(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// limited makes an authority below this one, for other addresses than ours.
func (a *authority) limited(t *testing.T) *authority {
	t.Helper()
	issued := a.issue(t, func(c *x509.Certificate) {
		c.IPAddresses, c.ExtKeyUsage = nil, nil
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
		c.PermittedIPRanges = []*net.IPNet{{IP: net.IPv4(10, 0, 0, 0), Mask: net.CIDRMask(8, 32)}}
	})
	cert, err := x509.ParseCertificate(issued.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: issued.PrivateKey.(*ecdsa.PrivateKey)}
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
	leaked := checkLeaks(t)
	ca, other := newAuthority(t), newAuthority(t)
	good := ca.issue(t, nil)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	limited := ca.limited(t)
	unnamed := limited.issue(t, nil)
	unnamed.Certificate = append(unnamed.Certificate, limited.cert.Raw)
	long := tls.Certificate{Certificate: slices.Repeat(good.Certificate, 1<<20/len(good.Certificate[0])+1), PrivateKey: good.PrivateKey}
	with := func(edit func(*x509.Certificate)) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{ca.issue(t, edit)}}
	}
	rows := []row{
		{
			name: "good", verdict: VerdictSuccess, code: "http_200", status: 200, wire: 1, kept: "ok", tls: "TLS 1.3",
			handle: overTLS(&tls.Config{Certificates: []tls.Certificate{good}}, answer(ok200)),
		},
		{
			name: "TLS 1.2", verdict: VerdictSuccess, code: "http_200", status: 200, wire: 1, kept: "ok", tls: "TLS 1.2",
			handle: overTLS(&tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12}, answer(ok200)),
		},
		{
			// Revocation is not checked, nor is a proof demanded that there is none.
			name: "promises a staple that it does not send", verdict: VerdictSuccess, code: "http_200", status: 200, wire: 1, tls: "TLS 1.3",
			handle: overTLS(with(func(c *x509.Certificate) {
				c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 3, 2, 1, 5}}} // RFC 7633
			}), answer(ok200)),
		},
		{
			// Go draws the line below 1024.
			name: "key of 1024 bits", verdict: VerdictSuccess, code: "http_200", status: 200, wire: 1, tls: "TLS 1.3",
			handle: overTLS(&tls.Config{Certificates: []tls.Certificate{ca.issueFor(t, weak, nil)}}, answer(ok200)),
		},
		{
			name: "signed with SHA-1", code: CodeTLSUnknownCA,
			handle: overTLS(with(func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 }), answer(ok200)),
		},
		{
			name: "authority for other addresses", code: CodeTLSFailure,
			handle: overTLS(&tls.Config{Certificates: []tls.Certificate{unnamed}}, answer(ok200)),
		},
		{
			name: "1 MiB of certificates", code: CodeTLSFailure,
			handle: overTLS(&tls.Config{Certificates: []tls.Certificate{long}}, answer(ok200)),
		},
		{name: "certificates without end", code: CodeTLSFailure, handle: endlessCertificates},
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
			name: "TLS 1.0", code: CodeTLSVersion,
			handle: overTLS(&tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, answer(ok200)),
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
			name: "client certificate, TLS 1.3", code: CodeTLSClientCert, again: 100, tls: "TLS 1.3",
			handle: overTLS(&tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert}, answer(ok200)),
		},
		{
			// The server's alert does not tell what it misses.
			name: "client certificate, TLS 1.2", code: CodeTLSFailure,
			handle: overTLS(&tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}, answer(ok200)),
		},
		{name: "plain HTTP", code: CodeTLSNotTLS, handle: func(p *peer) { p.send("HTTP/1.1 400 Bad Request\r\n\r\n"); p.hang() }},
		{name: "hanging handshake", code: CodeTLSTimeout, handle: (*peer).hang, within: 2 * time.Second},
		{name: "hanging handshake until the deadline", code: CodeTLSTimeout, handle: (*peer).hang, timeout: rowTimeout},
		{name: "reset in the handshake", code: CodeConnectionReset, handle: func(p *peer) { _, _ = p.br.Peek(100); p.reset() }},
		{name: "closed in the handshake", code: CodeConnectionClosed, handle: func(p *peer) { _, _ = p.br.Peek(p.readable()) }},
		{name: "hangs after the handshake", code: CodeTimeoutHeaders, wire: 1, tls: "TLS 1.3", handle: overTLS(&tls.Config{Certificates: []tls.Certificate{good}}, answer(""))},
		{name: "closed after the handshake", code: CodeConnectionClosed, wire: 1, tls: "TLS 1.3", handle: overTLS(&tls.Config{Certificates: []tls.Certificate{good}}, answerAndClose(""))},
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

// endlessCertificates shakes hands by TLS 1.2 (RFC 5246, section 7.4), as far as
// the certificates, of which there are 16 MiB.
func endlessCertificates(p *peer) {
	p.readable()
	hello := slices.Concat([]byte{2, 0, 0, 38, 3, 3}, make([]byte, 32), []byte{0, 0xc0, 0x2f, 0})
	_, err := p.Write(slices.Concat([]byte{22, 3, 3, 0, byte(len(hello))}, hello))
	chunk := slices.Concat([]byte{22, 3, 3, 0x40, 0}, []byte{11, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc, 0xff, 0xff, 0xf9}, make([]byte, 1<<14-10))
	for err == nil {
		_, err = p.Write(chunk)
	}
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
