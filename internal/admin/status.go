package admin

import (
	"context"
	"errors"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
)

// status is the fate of a stored event, by the heads, the dead letters and the log. "" is not known.
type status string

const (
	waiting    status = "waiting"    // not settled yet
	applied    status = "applied"    // the row is what it says
	superseded status = "superseded" // settled, and the row is what a newer event says, whether or not this one was applied before
	parked     status = "parked"     // a dead letter
	ignored    status = "ignored"    // its type is not synced
	settled    status = "settled"    // no more is known: its dead letter was discarded, it was erased, or there are too many letters to look through
)

const (
	// statusTimeout bounds each request for the status of a list.
	statusTimeout = 2 * time.Second

	// searchedLetters bounds the dead letters that are read for it.
	searchedLetters = 1000
)

var errNoStore = errors.New("this process has no database")

// eventJSON is an event of a list.
type eventJSON struct {
	eventlog.Summary
	Status status `json:"status"`
}

// withStatus finds out what became of events. letters selects the dead letters that can
// be theirs.
func (h *Handler) withStatus(ctx context.Context, events []eventlog.Summary, letters eventlog.Filter) []eventJSON {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	all := make([]eventJSON, len(events))
	var refs []store.Ref
	for i, e := range events {
		all[i].Summary = e
		if kind := clerk.KindOfType(e.Type); kind != "" {
			refs = append(refs, store.Ref{Kind: kind, ID: e.Entity, Seq: e.Seq})
		}
	}
	if len(events) == 0 {
		return all
	}
	state, logErr := h.o.Log.State(ctx) // first: the heads know what it says is settled
	headsErr := errNoStore
	var heads store.Heads
	if h.o.Store != nil {
		heads, headsErr = h.o.Store.HeadsOf(ctx, refs)
	}
	seqs, complete, lettersErr := h.o.Log.Parked(ctx, letters, searchedLetters)
	for _, err := range []error{logErr, headsErr, lettersErr} {
		if err != nil {
			h.o.Logger.Debug("the status of events is not known", "err", err)
		}
	}
	for i := range all {
		e := &all[i]
		head := heads[e.Seq]
		switch {
		case head != nil && head.EventID == e.SvixID:
			e.Status = applied
		case seqs[e.Seq]:
			e.Status = parked
		case logErr != nil:
		case e.Seq > state.AppliedThrough:
			e.Status = waiting
		case clerk.KindOfType(e.Type) == "":
			e.Status = ignored
		case headsErr != nil || lettersErr != nil:
		case complete && head != nil && (head.Deleted || e.EventAt != nil && !head.EventAt.Before(*e.EventAt)):
			e.Status = superseded
		default:
			e.Status = settled
		}
	}
	return all
}
