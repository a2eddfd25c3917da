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
	// Where these have another form, Caddy says so without repeating them.
	_ = json.Unmarshal(transport["forward_proxy_url"], &old)
	_ = json.Unmarshal(transport["network_proxy"], &proxy)
	for _, text := range []string{old, proxy.URL} {
		if _, err := url.Parse(text); err != nil {
			return errors.New("URL of the proxy cannot be read")
		}
	}
	return nil
}
