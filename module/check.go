package module

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/promptreports/caddy-webhooks/module/internal/egress"
	"github.com/promptreports/caddy-webhooks/module/internal/event"
	"github.com/promptreports/caddy-webhooks/module/internal/subscription"
	"github.com/promptreports/caddy-webhooks/storage"
)

// The values of App.Payload.
const (
	PayloadJSStable = "js_stable"
	PayloadExact    = "exact"
)

// ConfigError is a mistake in the configuration.
type ConfigError struct {
	// Path leads to the mistake through the JSON, for example "endpoints",
	// "acme", "events", "0".
	Path []string

	// Err says what is wrong. It never holds a secret.
	Err error
}

// Error implements error.
func (e *ConfigError) Error() string {
	path := e.Path
	var b strings.Builder
	if len(path) > 1 && path[0] == "endpoints" {
		name := path[1]
		if !nameForm.MatchString(name) {
			name = strconv.Quote(name)
		}
		b.WriteString("endpoint " + name + ": ")
		path = path[2:]
	}
	if n := len(path); n > 0 && isIndex(path[n-1]) { // helps machines only
		path = path[:n-1]
	}
	text := e.Err.Error()
	if n := len(path); n > 0 && startsLike(text, path[n-1]) {
		path = path[:n-1]
	}
	for _, part := range path {
		b.WriteString(part)
		b.WriteString(": ")
	}
	b.WriteString(text)
	return b.String()
}

func isIndex(part string) bool {
	_, err := strconv.Atoi(part)
	return err == nil
}

// startsLike says whether a text begins with the name of an option.
func startsLike(text, option string) bool {
	return strings.HasPrefix(strings.ToLower(text), strings.TrimSuffix(option, "s"))
}

// Unwrap implements the errors package's interface.
func (e *ConfigError) Unwrap() error { return e.Err }

// in puts path before that of the *ConfigError which err is, or makes one.
func in(err error, path ...string) error {
	if err == nil {
		return nil
	}
	if c, ok := errors.AsType[*ConfigError](err); ok {
		return &ConfigError{Path: append(path, c.Path...), Err: c.Err}
	}
	return &ConfigError{Path: path, Err: err}
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~:-]{0,127}$`)

// Check finds every mistake that can be found without resolving placeholders
// and without loading guest modules, and returns the first as a *ConfigError.
// Provision calls it; a configuration adapter calls it to say in which line a
// mistake is.
func (a *App) Check() error {
	for i, t := range a.EventTypes {
		if err := a.checkType(i, t); err != nil {
			return in(err, "event_types", index(i))
		}
	}
	if err := checkPrefix(a.headerPrefix()); err != nil {
		return in(err, "header_prefix")
	}
	if !slices.Contains([]string{"", PayloadJSStable, PayloadExact}, a.Payload) {
		return in(fmt.Errorf("'%s' is neither %s nor %s", a.Payload, PayloadJSStable, PayloadExact), "payload")
	}
	if a.MaxInFlight < 0 {
		return in(errNegative, "max_in_flight")
	}
	if a.GracePeriod != nil && *a.GracePeriod < 0 {
		return in(errNegative, "grace_period")
	}
	policy, err := a.Egress.policy()
	if err != nil {
		return in(err, "egress")
	}
	if err := a.Defaults.check(a.headerPrefix()); err != nil {
		return in(err, "defaults")
	}
	return a.checkEndpoints(policy)
}

func (a *App) checkEndpoints(policy *egress.Policy) error {
	if n := len(a.Endpoints); n > storage.MaxDeliveries {
		return in(fmt.Errorf("%d are more than the %d that an event can go to", n, storage.MaxDeliveries), "endpoints")
	}
	for _, name := range slices.Sorted(maps.Keys(a.Endpoints)) {
		if err := a.checkEndpoint(name, a.Endpoints[name], policy); err != nil {
			return in(err, "endpoints", name)
		}
	}
	return nil
}

func (a *App) checkEndpoint(name string, e *Endpoint, policy *egress.Policy) error {
	switch {
	case !nameForm.MatchString(name):
		return errors.New("the name has other than 1 to 128 letters, digits and . _ ~ : -, or starts with neither a letter nor a digit")
	case e == nil:
		return errors.New("has no configuration")
	}
	if _, err := policy.CheckURL(e.URL); err != nil {
		return in(err, "url")
	}
	for i, p := range e.Events {
		if err := (subscription.Subscription{Patterns: []string{p}}).Check(a.EventTypes); err != nil {
			return in(err, "events", index(i))
		}
	}
	for i, f := range e.Filter {
		if err := (subscription.Subscription{Filters: []subscription.Filter{subscription.Filter(f)}}).Check(nil); err != nil {
			return in(err, "filter", index(i))
		}
	}
	if err := e.subscription().Check(a.EventTypes); err != nil {
		return in(err, "events")
	}
	return e.EndpointOptions.check(a.headerPrefix())
}

func (a *App) checkType(i int, t string) error {
	switch {
	case !event.IsType(t):
		return fmt.Errorf("'%s' is not an event type: a type has words of a-z, 0-9 and _ (those of CloudEvents also of A-Z and -) that are joined by dots, and at most %d bytes", t, event.MaxType)
	case slices.Contains(a.EventTypes[:i], t):
		return fmt.Errorf("'%s' is given twice", t)
	}
	return nil
}

var errNegative = errors.New("must not be negative")

// checkPrefix refuses a prefix with which our own headers would not be valid,
// or would be those of the standard scheme.
func checkPrefix(prefix string) error {
	switch {
	case !httpguts.ValidHeaderFieldName(prefix) || strings.HasSuffix(prefix, "-"):
		return fmt.Errorf("'%s' cannot start the name of a header: write it without a trailing dash, for example X-Acme", prefix)
	case isReserved(prefix+"-Event", "") != "":
		return fmt.Errorf("'%s' starts headers that are reserved (%s)", prefix, isReserved(prefix+"-Event", ""))
	}
	return nil
}

// index is the path element of a list's element.
func index(i int) string { return fmt.Sprint(i) }
