package storage

import "time"

// Filter selects deliveries. Zero fields admit everything; all that are set
// must hold.
type Filter struct {
	// Endpoints admits deliveries of any of these endpoints.
	Endpoints []string

	// NotEndpoints refuses deliveries of these endpoints.
	NotEndpoints []string

	// Type is an exact event type.
	Type string

	// EventID is a public event id.
	EventID string

	// Status admits deliveries in this status.
	Status Status

	// Code admits deliveries with this last code.
	Code string

	// Since and Until bound the creation time: Since inclusive, Until
	// exclusive.
	Since, Until time.Time
}

// PageRequest asks for one page of a listing.
type PageRequest struct {
	// Limit is the greatest number of deliveries wanted.
	Limit int

	// Cursor is the Next of the page before, or empty for the first page.
	Cursor string
}

// Page is one page of a listing.
type Page struct {
	Deliveries []Delivery

	// Next is the cursor of the following page; empty when there is none.
	Next string
}
