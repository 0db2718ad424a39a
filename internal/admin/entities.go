package admin

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
)

const (
	// Pages that ask within overviewAge share an overview: each asks after every event.
	overviewAge = 5 * time.Second

	// maxName is longer than any id or e-mail address.
	maxName = 320

	// timeline bounds the events that are shown of an entity.
	timeline = 100
)

// overview keeps the last overview of the tables.
type overview struct {
	mu   sync.Mutex
	at   time.Time
	last *store.Overview
}

// overview answers with the counts of the tables and the database they are in.
func (h *Handler) overview(w http.ResponseWriter, r *http.Request) {
	if h.o.Store == nil {
		refuse(w, http.StatusConflict, noTables)
		return
	}
	c := &h.counts
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil || time.Since(c.at) > overviewAge {
		ctx, cancel := context.WithTimeout(r.Context(), pingTimeout)
		defer cancel()
		o, err := h.o.Store.Overview(ctx)
		if err != nil {
			h.noTables(w, err)
			return
		}
		c.at, c.last = time.Now(), o
	}
	h.answer(w, c.last)
}

const (
	noTables = "this process has no database: the dashboard of a worker shows the tables"
	noRead   = "PostgreSQL does not answer: try again when it is back"
	badName  = "not a Clerk id of the form user_…, org_… or orgmem_…, nor an e-mail address"
)

// noTables answers that the tables could not be read.
func (h *Handler) noTables(w http.ResponseWriter, err error) {
	if errors.Is(err, context.Canceled) {
		return // the client is gone
	}
	h.o.Logger.Warn("the tables could not be read for the dashboard", "err", err)
	refuse(w, http.StatusServiceUnavailable, noRead)
}

// find answers with the ids of what a form names. The name may be an e-mail address, so
// it is in the body: addresses of requests end up in logs and histories.
func (h *Handler) find(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimSpace(r.PostFormValue("name"))
	_, isID := clerk.KindOfID(name)
	switch {
	case h.o.Store == nil:
		refuse(w, http.StatusConflict, noTables)
		return
	case isID && clerk.ValidToken(name):
		h.answer(w, []string{name})
		return
	case !strings.Contains(name, "@") || len(name) > maxName:
		refuse(w, http.StatusBadRequest, badName)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), pingTimeout)
	defer cancel()
	ids, err := h.o.Store.UsersByEmail(ctx, name)
	switch {
	case err != nil:
		h.noTables(w, err)
	case len(ids) == 0:
		refuse(w, http.StatusNotFound, "no user has this e-mail address")
	default:
		h.answer(w, ids)
	}
}

// entity answers with the row, the head and the last events of one entity.
func (h *Handler) entity(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	kind, ok := clerk.KindOfID(id)
	switch {
	case h.o.Store == nil:
		refuse(w, http.StatusConflict, noTables)
		return
	case !ok || !clerk.ValidToken(id):
		refuse(w, http.StatusBadRequest, badName)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	shown, err := h.o.Store.Show(ctx, kind, id)
	if err != nil {
		h.noTables(w, err)
		return
	}
	events, err := h.summaries(ctx, eventlog.Filter{Entity: id, Last: timeline})
	switch {
	case err != nil:
		h.unreadable(w, err)
		return
	case shown.Head == nil && len(events) == 0:
		refuse(w, http.StatusNotFound, "it is not known: no event about it was stored")
		return
	}
	h.answer(w, struct {
		Kind   clerk.Kind  `json:"kind"`
		ID     string      `json:"id"`
		State  string      `json:"state"` // see store.Shown
		Row    store.Row   `json:"row"`   // null when there is none
		Head   any         `json:"head"`  // null when nothing was applied
		Events []eventJSON `json:"events"`
		More   bool        `json:"more"` // there may be older ones
	}{
		kind, id, shown.State(), slices.DeleteFunc(shown.Row, func(c store.Column) bool { return c.Name == "raw" }), shown.Head,
		h.withStatus(ctx, events, eventlog.Filter{Entity: id}), len(events) == timeline,
	})
}
