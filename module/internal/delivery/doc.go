// Package delivery sends what the outbox holds: the engine with its queue, cap
// and health for each endpoint, the retry policy, the attempt and its verdict.
//
// An event's deliveries are handed over in memory as soon as they are
// committed. What does not fit in an endpoint's window stays in the outbox and
// is read ahead in the order of due, so neither memory nor goroutines grow
// with the backlog. Workers serve the endpoints with something to send in
// turn, and settle each attempt before they take the next one.
package delivery
