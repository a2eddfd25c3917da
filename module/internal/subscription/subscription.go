// Package subscription decides which endpoints get an event: patterns over
// event types and filters over fields of the envelope, in an index whose cost
// does not grow with the endpoints that do not match.
package subscription

// Filter is one condition on a field of the event's envelope.
type Filter struct {
	// Field is a dotted path, for example "metadata.folderId".
	Field string

	// Values are the values any of which the field must have.
	Values []string
}

// Subscription is what one endpoint wants.
type Subscription struct {
	// Patterns are exact types, "prefix.*" or "*"; a leading "!" excludes.
	// None at all is "*".
	Patterns []string

	// Filters must all hold.
	Filters []Filter
}

// Fields looks up a field of an event by its dotted path, and answers the
// values that a filter may compare with: none where the field is missing, one
// for a scalar, one for each scalar element of an array.
type Fields func(path string) []string
