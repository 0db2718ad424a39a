package admin

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/replay"
)

// listed bounds the events of a list.
const listed = 25

// listEvents answers with the last events that match, newest first.
func (h *Handler) listEvents(w http.ResponseWriter, r *http.Request) {
	f, err := readFilter(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	events, err := h.summaries(ctx, f)
	if err != nil {
		h.unreadable(w, err)
		return
	}
	var letters eventlog.Filter // a letter is younger than its event
	if len(events) > 0 {
		letters.Since = events[len(events)-1].StoredAt
	}
	h.answer(w, struct {
		Events []eventJSON `json:"events"`
		More   bool        `json:"more"` // there may be older ones
	}{h.withStatus(ctx, events, letters), len(events) == listed})
}

// summaries returns the events that a filter selects, newest first.
func (h *Handler) summaries(ctx context.Context, f eventlog.Filter) ([]eventlog.Summary, error) {
	events := []eventlog.Summary{}
	scan, err := h.o.Log.Events(ctx, f, true)
	if err == nil {
		err = scan.Each(ctx, func(m *eventlog.Message) error {
			events = append(events, m.Summary())
			return nil
		})
	}
	slices.Reverse(events)
	return events, err
}

// maxTypes limits the globs of types in one request.
const maxTypes = 8

// readFilter parses a request's query. Its errors do not repeat what is wrong: an e-mail
// address may have been typed.
func readFilter(r *http.Request) (eventlog.Filter, error) {
	form := r.URL.Query()
	q := eventlog.Query{
		Types: strings.FieldsFunc(form.Get("type"), func(r rune) bool { return r == ',' || r == ' ' }),
		User:  strings.TrimSpace(form.Get("user")), Org: strings.TrimSpace(form.Get("org")), Last: listed,
	}
	if len(q.Types) > maxTypes {
		return eventlog.Filter{}, errors.New("these are too many types: give " + strconv.Itoa(maxTypes) + " at most, or a glob")
	}
	f, err := q.Filter(time.Now())
	if fault, ok := errors.AsType[*eventlog.FilterError](err); ok {
		text := "the " + fieldNames[fault.Field] + " " + fault.Text
		if fault.Hint != "" {
			text += "; " + fault.Hint
		}
		return f, errors.New(text)
	}
	if text := form.Get("before"); text != "" {
		before, err := strconv.ParseUint(text, 10, 64)
		if err != nil || before < 2 {
			return f, errors.New("before is a sequence, from 2")
		}
		f.To = before - 1
	}
	return f, err
}

// fieldNames are the page's names of the fields of a filter.
var fieldNames = map[string]string{"type": "type", "user": "user", "org": "organization"}

// one reads the sequence in the path.
func one(next func(http.ResponseWriter, *http.Request, uint64)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		seq, err := strconv.ParseUint(r.PathValue("seq"), 10, 64)
		if err != nil || seq == 0 {
			refuse(w, http.StatusNotFound, "a sequence is a number, from 1")
			return
		}
		next(w, r, seq)
	}
}

// unreadable answers that the event log could not be read. The error may contain
// addresses, so it goes to the log only.
func (h *Handler) unreadable(w http.ResponseWriter, err error) {
	if errors.Is(err, context.Canceled) {
		return // the client is gone
	}
	h.o.Logger.Warn("the event log could not be read for the dashboard", "err", err)
	text := "the event log could not be read: try again"
	if errors.Is(err, context.DeadlineExceeded) {
		text = "the event log was not read within " + readTimeout.String() + ": try again, or ask for less"
	}
	refuse(w, http.StatusServiceUnavailable, text)
}

// read reads one message. On failure it answers the request and returns nil.
func (h *Handler) read(w http.ResponseWriter, r *http.Request, get func(context.Context, uint64) (*eventlog.Message, error), seq uint64, gone string) *eventlog.Message {
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	m, err := get(ctx, seq)
	switch {
	case errors.Is(err, eventlog.ErrNotFound):
		refuse(w, http.StatusNotFound, gone)
	case err != nil:
		h.unreadable(w, err)
	default:
		return m
	}
	return nil
}

const goneEvent = "this event is not in the log any more: it is too old, or was erased"

func (h *Handler) event(w http.ResponseWriter, r *http.Request, seq uint64) {
	if m := h.read(w, r, h.o.Log.Get, seq, goneEvent); m != nil {
		events := h.withStatus(r.Context(), []eventlog.Summary{m.Summary()}, eventlog.Filter{Since: m.StoredAt})
		h.answer(w, struct {
			eventJSON
			Bytes int `json:"bytes"`
		}{events[0], len(m.Event.Body)})
	}
}

func (h *Handler) eventBody(w http.ResponseWriter, r *http.Request, seq uint64) {
	if m := h.read(w, r, h.o.Log.Get, seq, goneEvent); m != nil {
		h.answer(w, showBody(m.Event.Body))
	}
}

// replay applies one stored event once more.
func (h *Handler) replay(w http.ResponseWriter, r *http.Request, seq uint64) {
	if h.read(w, r, h.o.Log.Get, seq, goneEvent) == nil {
		return
	}
	h.apply(w, r, goneEvent, "an event was replayed from the dashboard", seq, func(ctx context.Context, o replay.Options) (replay.Counts, error) {
		scan, err := h.o.Log.Events(ctx, eventlog.Filter{From: seq, To: seq}, false)
		if err != nil {
			return replay.Counts{}, err
		}
		defer scan.Close()
		again := replay.NewEvents(scan, h.o.Log, o)
		err = again.Run(ctx)
		return again.Counts(), err
	})
}
