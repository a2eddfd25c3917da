package delivery

import (
	"net/http"
	"time"
)

// maxRetryAfter bounds the time for which a receiver can ask to be left alone.
const maxRetryAfter = time.Hour

// maxRetryAfterText is the length beyond which a Retry-After is nonsense.
const maxRetryAfterText = 64

// retryAfter reads the Retry-After header of a 429 or 503 (RFC 9110, section
// 10.2.3): whole seconds in digits, or a date in the preferred form. Anything
// else, and a date that has passed, is zero; more than an hour is an hour.
func retryAfter(status int, header http.Header, now time.Time) time.Duration {
	if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		return 0
	}
	values := header["Retry-After"]
	if len(values) == 0 || values[0] == "" || len(values[0]) > maxRetryAfterText {
		return 0
	}
	value := values[0]
	if value[0] >= '0' && value[0] <= '9' {
		return retrySeconds(value)
	}
	at, err := time.Parse(http.TimeFormat, value)
	if err != nil || !at.After(now) {
		return 0
	}
	return min(at.Sub(now), maxRetryAfter)
}

func retrySeconds(digits string) time.Duration {
	seconds := 0
	for i := range len(digits) {
		c := digits[i]
		if c < '0' || c > '9' {
			return 0
		}
		seconds = min(seconds*10+int(c-'0'), int(maxRetryAfter/time.Second))
	}
	return time.Duration(seconds) * time.Second
}
