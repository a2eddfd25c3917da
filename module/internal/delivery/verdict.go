package delivery

// statusVerdict judges an answer: 200 to 299 is a success, whatever follows in
// the body. Other statuses are tried again where the endpoint's policy says
// so, and final where it does not. A status outside of 100 to 599 says
// nothing about the receiver's will, so it is always tried again.
func statusVerdict(status int, onStatus *StatusSet) string {
	switch {
	case status >= 200 && status <= 299:
		return VerdictSuccess
	case status < 300 || status > maxStatus || onStatus.Contains(status):
		return VerdictRetry
	default:
		return VerdictPermanent
	}
}
