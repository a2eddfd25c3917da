package delivery

// StatusSet is a set of HTTP status codes, 100 to 599.
type StatusSet [8]uint64
