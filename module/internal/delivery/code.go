package delivery

import (
	"strconv"
	"strings"

	"github.com/promptreports/caddy-webhooks/storage"
)

// Codes say what an attempt came to. The list is closed: an attempt with an
// answer has "http_" and its status, or one of the codes for an answer below;
// an attempt without one has one of the others.
const (
	// Answers.
	CodeGone            = "gone"             // 410
	CodeRedirectRefused = "redirect_refused" // 3xx: redirects are never followed
	CodeInvalidStatus   = "invalid_status"   // a status outside of 200 to 599

	// Before a connection stood.
	CodeBlocked           = "blocked" // by the egress policy
	CodeDNSNotFound       = "dns_not_found"
	CodeDNSFailure        = "dns_failure"
	CodeConnectionRefused = "connection_refused"
	CodeConnectTimeout    = "connect_timeout"
	CodeUnreachable       = "unreachable"
	CodeConnectionFailed  = "connection_failed"
	CodeProxyRefused      = "proxy_refused" // by the proxy, not the receiver

	// TLS.
	CodeTLSExpired    = "tls_expired" // or not valid yet
	CodeTLSWrongHost  = "tls_wrong_host"
	CodeTLSUnknownCA  = "tls_unknown_ca"
	CodeTLSVersion    = "tls_version"
	CodeTLSClientCert = "tls_client_cert" // wanted, or not accepted
	CodeTLSNotTLS     = "tls_not_tls"
	CodeTLSTimeout    = "tls_timeout"
	CodeTLSFailure    = "tls_failure"

	// While the request was sent or its answer awaited.
	CodeConnectionReset        = "connection_reset"
	CodeConnectionClosed       = "connection_closed"
	CodeTimeoutWrite           = "timeout_write"
	CodeTimeoutHeaders         = "timeout_headers"
	CodeProtocolError          = "protocol_error"
	CodeResponseHeaderTooLarge = "response_header_too_large"
	CodeH2GoAway               = "h2_goaway"
	CodeH2StreamError          = "h2_stream_error"
	CodeH2ConnectionError      = "h2_connection_error"

	// CodeInterrupted: the sidecar cut the attempt off itself.
	CodeInterrupted = storage.CodeInterrupted
)

// The verdicts on attempts.
const (
	VerdictSuccess     = "success"
	VerdictRetry       = "retry"
	VerdictPermanent   = "permanent"
	VerdictInterrupted = "interrupted"
)

// httpCodes spares the hot path from building the code of each status.
var httpCodes = func() (codes [maxStatus + 1]string) {
	for status := range codes {
		codes[status] = "http_" + strconv.Itoa(status)
	}
	return codes
}()

// statusCode returns the code for an answer.
func statusCode(status int) string {
	switch {
	case status < 200 || status > maxStatus:
		return CodeInvalidStatus
	case status == 410:
		return CodeGone
	case status >= 300 && status < 400:
		return CodeRedirectRefused
	default:
		return httpCodes[status]
	}
}

// codes are the codes that do not follow from a status: those of attempts, and
// those of deliveries that ended without one.
var codes = map[string]bool{
	CodeGone: true, CodeRedirectRefused: true, CodeInvalidStatus: true,
	CodeBlocked: true, CodeDNSNotFound: true, CodeDNSFailure: true, CodeConnectionRefused: true,
	CodeConnectTimeout: true, CodeUnreachable: true, CodeConnectionFailed: true, CodeProxyRefused: true,
	CodeTLSExpired: true, CodeTLSWrongHost: true, CodeTLSUnknownCA: true, CodeTLSVersion: true,
	CodeTLSClientCert: true, CodeTLSNotTLS: true, CodeTLSTimeout: true, CodeTLSFailure: true,
	CodeConnectionReset: true, CodeConnectionClosed: true, CodeTimeoutWrite: true, CodeTimeoutHeaders: true,
	CodeProtocolError: true, CodeResponseHeaderTooLarge: true,
	CodeH2GoAway: true, CodeH2StreamError: true, CodeH2ConnectionError: true,
	CodeInterrupted: true, CodeExpired: true, CodeCancelled: true, CodePanic: true, CodeEventMissing: true,
}

// IsCode says whether an attempt or a delivery may have the code.
func IsCode(code string) bool {
	if digits, found := strings.CutPrefix(code, "http_"); found {
		status, err := strconv.Atoi(digits)
		return err == nil && statusCode(status) == code
	}
	return codes[code]
}
