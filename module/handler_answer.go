package module

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/module/internal/delivery"
	"github.com/promptreports/caddy-webhooks/module/internal/event"
	"github.com/promptreports/caddy-webhooks/module/internal/problem"
	"github.com/promptreports/caddy-webhooks/storage"
)

// discardTimeout is how long the rest of a refused body may take.
const discardTimeout = time.Second

// refuse answers with a problem.
func refuse(w http.ResponseWriter, r *http.Request, p *problem.Problem) {
	header := w.Header()
	switch p.Code {
	case problem.MethodNotAllowed.Code:
		header.Set("Allow", http.MethodPost)
	case problem.Unauthorized.Code:
		header.Set("WWW-Authenticate", "Bearer") // RFC 6750, section 3
	case problem.UnsupportedMediaType.Code:
		header.Set("Accept-Post", acceptedMedia)
	case problem.UnsupportedEncoding.Code:
		header.Set("Accept-Encoding", "identity") // RFC 9110, section 12.5.3
	case problem.BodyTooLarge.Code, problem.BodyTimeout.Code, problem.ShuttingDown.Code:
		if r.ProtoMajor == 1 {
			header.Set("Connection", "close")
		}
	}
	if r.ContentLength != 0 {
		// The server discards what is left of a short body, for as long as
		// the client takes to send it unless there is a deadline.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(discardTimeout))
	}
	p.Write(w)
}

// answer says what became of the events. It is written by hand: ids hold no
// character that JSON escapes.
func answer(w http.ResponseWriter, events []*event.Event, accepted []storage.Accepted, batch bool) {
	status := http.StatusOK
	for i := range accepted {
		if !accepted[i].Duplicate {
			status = http.StatusAccepted
			break
		}
	}
	size := 0
	for _, e := range events {
		size += len(e.ID) + 64
	}
	b := make([]byte, 0, size)
	if batch {
		b = append(b, `{"events":[`...)
	}
	for i, e := range events {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, `{"id":"`...), e.ID...)
		b = strconv.AppendInt(append(b, `","deliveries":`...), int64(accepted[i].Deliveries), 10)
		if batch || accepted[i].Duplicate {
			b = strconv.AppendBool(append(b, `,"duplicate":`...), accepted[i].Duplicate)
		}
		b = append(b, '}')
	}
	if batch {
		b = append(b, `]}`...)
	}
	b = append(b, '\n')

	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // a client that left learns the outcome by posting again
}

// storeProblem says why events were not stored.
func (h *Handler) storeProblem(err error, batch bool) *problem.Problem {
	var conflict *storage.ConflictError
	switch {
	case errors.As(err, &conflict):
		p := problem.IDConflict.New("the first one stands; another event needs an id of its own")
		if !batch {
			return p
		}
		errs := make([]*problem.Problem, 0, len(conflict.Indexes))
		for _, i := range conflict.Indexes {
			errs = append(errs, p.At(i))
		}
		return problem.Batch(errs)
	case errors.Is(err, storage.ErrTooLarge):
		return problem.BodyTooLarge.New("the events, with all their deliveries, do not fit in one commit; send fewer at once")
	case errors.Is(err, storage.ErrFull):
		return problem.InsufficientStorage.New("the disk has too little space left, or the outbox its greatest size; deliveries go on")
	case errors.Is(err, storage.ErrBacklogFull):
		return problem.BacklogFull.New("the outbox has its greatest number of pending deliveries; they go on")
	case errors.Is(err, storage.ErrFailed):
		return problem.StoreFailed.New("the status in the management API says why")
	case errors.Is(err, storage.ErrClosed), errors.Is(err, delivery.ErrStopping):
		return problem.ShuttingDown.New("the same event may be sent again with the same id")
	case errors.Is(err, delivery.ErrNotStarted):
		return problem.NotReady.New("the same event may be sent again with the same id")
	}
	h.logger.Error("storing events", zap.Error(err))
	return problem.NotStored.New("the same events may be sent again with the same ids")
}
