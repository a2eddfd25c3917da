package badger

import "github.com/promptreports/caddy-webhooks/storage"

// recentSize is the number of records in one generation of recent.
const recentSize = 4096

// recent keeps the records of pending deliveries that were written lately, so
// that settling them, which most soon are, reads nothing. It has two
// generations: when the young one is full it becomes the old one, whose
// records are forgotten.
type recent struct {
	young, old map[storage.DeliveryID][]byte
}

// put keeps a copy of the record.
func (r *recent) put(id storage.DeliveryID, record []byte) {
	if r.young == nil || len(r.young) >= recentSize {
		r.young, r.old = make(map[storage.DeliveryID][]byte, len(r.young)), r.young
	}
	r.young[id] = append([]byte(nil), record...)
}

// take returns the record, or nil, and forgets it: until what becomes of the
// delivery is committed, only the database knows.
func (r *recent) take(id storage.DeliveryID) []byte {
	if record, ok := r.young[id]; ok {
		delete(r.young, id)
		return record
	}
	record := r.old[id]
	delete(r.old, id)
	return record
}
