package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/clerksync/clerksync/internal/replay"
)

// applyTimeout bounds applying one event. With the time that a replay takes to stop, it
// stays below the write timeout of the admin listener.
const applyTimeout = 10 * time.Second

// pingTimeout bounds the check that PostgreSQL answers.
const pingTimeout = 3 * time.Second

// outcomeJSON is the result of an action.
type outcomeJSON struct {
	Outcome string `json:"outcome"` // of the event, or discarded
	Text    string `json:"text"`
}

const (
	noStore     = "this process has no database, so nothing can be applied from here: use the dashboard of a worker, or clerksync replay and clerksync dead retry"
	noAnswer    = "PostgreSQL does not answer, and nothing was changed: try again when it is back"
	notFinished = "it could not be finished, and to do it again does no harm: try again; the log of clerksync tells why"
)

// apply runs a replay of one event and answers with its outcome.
func (h *Handler) apply(w http.ResponseWriter, r *http.Request, gone, note string, seq uint64, run func(context.Context, replay.Options) (replay.Counts, error)) {
	if h.o.Store == nil {
		refuse(w, http.StatusConflict, noStore)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), applyTimeout)
	defer cancel()
	select {
	case h.acting <- struct{}{}:
		defer func() { <-h.acting }()
	case <-ctx.Done():
		refuse(w, http.StatusServiceUnavailable, "others are doing the same: try again")
		return
	}
	// A replay waits for PostgreSQL without end. A person does not.
	ping, end := context.WithTimeout(ctx, pingTimeout)
	defer end()
	if err := h.o.Store.Ping(ping); err != nil {
		h.o.Logger.Warn("nothing was applied from the dashboard", "err", err)
		refuse(w, http.StatusServiceUnavailable, noAnswer)
		return
	}
	counts, err := run(ctx, replay.Options{Apply: h.o.Store.Apply, Appliers: 1, Batch: 1, Logger: h.o.Logger})
	if counts.Total() == 0 {
		if err != nil {
			h.o.Logger.Warn("what was asked for from the dashboard was not finished", "seq", seq, "err", err)
			refuse(w, http.StatusServiceUnavailable, notFinished)
			return
		}
		refuse(w, http.StatusNotFound, gone)
		return
	}
	o := outcomeOf(counts)
	h.o.Logger.Info(note, "seq", seq, "outcome", o.Outcome)
	h.answer(w, o)
}

// outcomeOf returns the outcome of the one event that was counted.
func outcomeOf(c replay.Counts) outcomeJSON {
	switch {
	case c.Applied > 0:
		return outcomeJSON{"applied", "Applied: the row is what this event says."}
	case c.Stale > 0:
		return outcomeJSON{"stale", "Stale: a newer version is in the tables, and nothing was changed."}
	case c.Duplicate > 0:
		return outcomeJSON{"duplicate", "Duplicate: this very version is in the tables, and nothing was changed."}
	case c.Ignored > 0:
		return outcomeJSON{"ignored", "Ignored: events of this type are not synced."}
	}
	return outcomeJSON{"dead", "Dead: it cannot be applied as things are. It is a dead letter, with one attempt more."}
}
