package egress

import "errors"

// ErrProxyRefused means that the proxy which the operator configured would
// not connect to the receiver. It is no fault of the receiver.
var ErrProxyRefused = errors.New("proxy refused to connect")
