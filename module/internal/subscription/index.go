package subscription

// Index answers which subscriptions an event matches. It is immutable.
type Index struct{}

// NewIndex compiles subscriptions. Match answers with positions in subs.
func NewIndex(subs []Subscription) (*Index, error) { return &Index{}, nil }

// Match appends to dst the positions of the subscriptions that want an event
// of the type, in ascending order. fields is called only where a filter must
// be decided.
func (x *Index) Match(dst []int, eventType string, fields Fields) []int { return dst }
