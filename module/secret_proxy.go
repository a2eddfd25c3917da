package module

import (
	"encoding/json"
	"errors"
	"net/url"
)

// checkProxyURL refuses a proxy's URL that cannot be read before Caddy does,
// whose error would repeat it with its password.
func checkProxyURL(transport map[string]json.RawMessage) error {
	var old string
	var proxy struct{ URL string }
	for _, part := range []struct {
		raw json.RawMessage
		dst any
	}{{transport["forward_proxy_url"], &old}, {transport["network_proxy"], &proxy}} {
		if len(part.raw) > 0 && json.Unmarshal(part.raw, part.dst) != nil {
			return nil // Caddy says what is wrong with its form
		}
	}
	for _, text := range []string{old, proxy.URL} {
		if _, err := url.Parse(text); err != nil {
			return errors.New("URL of the proxy cannot be read")
		}
	}
	return nil
}
