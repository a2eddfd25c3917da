package delivery

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"syscall"

	"golang.org/x/net/http2"

	"github.com/promptreports/caddy-webhooks/module/internal/egress"
)

// classify names the reason for which an attempt got no answer. The text of
// the error is never recorded: it may hold addresses, and what the receiver
// sent.
func (w *wire) classify(err error) string {
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.Is(err, egress.ErrBlocked):
		return CodeBlocked
	case errors.Is(err, egress.ErrProxyRefused):
		return CodeProxyRefused
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return CodeProxyRefused
	case errors.As(err, &dns) && dns.IsNotFound:
		return CodeDNSNotFound
	case errors.As(err, &dns):
		return CodeDNSFailure
	case errors.Is(err, errFlood):
		return w.floodCode()
	case w.expired() || isTimeout(err):
		return w.timeoutCode()
	}
	for _, classify := range []func(error) string{certificateCode, tlsCode, systemCode, http2Code, http1Code} {
		if code := classify(err); code != "" {
			return code
		}
	}
	if w.connected.Load() == 0 {
		return CodeConnectionFailed
	}
	return CodeProtocolError
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// timeoutCode names what the time ran out in.
func (w *wire) timeoutCode() string {
	switch {
	case w.connected.Load() != 0 && w.wrote.Load() != 0:
		return CodeTimeoutHeaders
	case w.connected.Load() != 0:
		return CodeTimeoutWrite
	case w.tlsStart.Load() != 0 && w.tlsDone.Load() == 0:
		return CodeTLSTimeout
	}
	if _, began, ended := w.dial.Lookup(); began && !ended {
		return CodeDNSFailure
	}
	return CodeConnectTimeout
}

// floodCode names a flood by the protocol that it was made of.
func (w *wire) floodCode() string {
	if state := w.tlsState(); state != nil && state.NegotiatedProtocol == "h2" {
		return CodeH2ConnectionError
	}
	return CodeProtocolError
}

// certificateCode is about the receiver's certificate.
func certificateCode(err error) string {
	var (
		invalid   x509.CertificateInvalidError
		hostname  x509.HostnameError
		authority x509.UnknownAuthorityError
		other     *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return CodeTLSExpired
	case errors.As(err, &hostname):
		return CodeTLSWrongHost
	case errors.As(err, &authority):
		return CodeTLSUnknownCA
	case errors.As(err, &invalid), errors.As(err, &other):
		return CodeTLSFailure
	}
	return ""
}

// tlsCode is about the TLS handshake.
func tlsCode(err error) string {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return CodeTLSNotTLS
	}
	if alert, ok := alertOf(err); ok {
		switch alert {
		case alertProtocolVersion:
			return CodeTLSVersion
		case alertNoCertificate, alertBadCertificate, alertUnsupportedCertificate, alertCertificateRevoked,
			alertCertificateExpired, alertCertificateUnknown, alertUnknownCA, alertCertificateRequired:
			return CodeTLSClientCert
		}
		return CodeTLSFailure
	}
	// crypto/tls has no types for what else it finds wrong.
	switch text := err.Error(); {
	case strings.HasPrefix(text, "tls: server selected unsupported protocol version"):
		return CodeTLSVersion
	case strings.HasPrefix(text, "tls: "):
		return CodeTLSFailure
	}
	return ""
}

// Alerts that a receiver sends (RFC 8446, section 6.2, and RFC 5246). Those
// about certificates concern ours, as a server sees no other.
const (
	alertNoCertificate          = 41
	alertBadCertificate         = 42
	alertUnsupportedCertificate = 43
	alertCertificateRevoked     = 44
	alertCertificateExpired     = 45
	alertCertificateUnknown     = 46
	alertUnknownCA              = 48
	alertProtocolVersion        = 70
	alertCertificateRequired    = 116
)

// alertOf finds the TLS alert that the receiver sent. Its type is not
// exported, but it is a number of package crypto/tls.
func alertOf(err error) (uint8, bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return 0, false
	}
	v := reflect.ValueOf(op.Err)
	if !v.IsValid() || v.Kind() != reflect.Uint8 || v.Type().PkgPath() != "crypto/tls" {
		return 0, false
	}
	return uint8(v.Uint()), true
}

// systemCode is about the connection as the operating system sees it.
func systemCode(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return CodeConnectionRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED):
		return CodeConnectionReset
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ENETDOWN),
		errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return CodeUnreachable
	}
	return ""
}

// http2Code is about HTTP/2. Some of its errors have no type, and an error
// after which the request could have been repeated is only quoted in another.
func http2Code(err error) string {
	var (
		goAway     http2.GoAwayError
		stream     http2.StreamError
		connection http2.ConnectionError
	)
	text := err.Error()
	switch {
	case strings.Contains(text, "http2: response header list larger"):
		return CodeResponseHeaderTooLarge
	case errors.As(err, &goAway):
		return CodeH2GoAway
	case errors.As(err, &stream):
		return CodeH2StreamError
	case errors.As(err, &connection), strings.HasPrefix(text, "connection error: "):
		return CodeH2ConnectionError
	}
	if !strings.HasPrefix(text, "http2: ") {
		return ""
	}
	switch {
	case strings.Contains(text, "GOAWAY"):
		return CodeH2GoAway
	case strings.Contains(text, "stream error"), strings.Contains(text, "REFUSED_STREAM"):
		return CodeH2StreamError
	case strings.Contains(text, "connection lost"), strings.Contains(text, "conn not usable"), strings.Contains(text, "connection force closed"):
		return CodeConnectionClosed
	}
	return CodeH2ConnectionError
}

// http1Code is about HTTP/1, whose errors have no types.
func http1Code(err error) string {
	text := err.Error()
	switch {
	case strings.Contains(text, "server response headers exceeded"), strings.Contains(text, "too many 1xx"):
		return CodeResponseHeaderTooLarge
	case strings.Contains(text, "malformed HTTP"), strings.Contains(text, "malformed MIME"):
		return CodeProtocolError
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		strings.Contains(text, "server closed idle connection"):
		return CodeConnectionClosed
	}
	return ""
}
