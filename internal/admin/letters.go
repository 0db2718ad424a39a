package admin

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/replay"
)

// listedLetters bounds the list of dead letters: the last ones.
const listedLetters = 50

// letterJSON is a dead letter without the body of its event. Its type is that under
// which it is kept: what a body that cannot be read says of itself is payload.
type letterJSON struct {
	eventlog.Summary
	eventlog.Letter
	Meaning string `json:"meaning"` // of the reason
}

func newLetter(m *eventlog.Message) letterJSON {
	l := m.Letter()
	return letterJSON{m.Summary(), l, eventlog.Reasons[l.Reason]}
}

// reasonJSON groups letters by reason, newest first.
type reasonJSON struct {
	Reason  string       `json:"reason"`
	Meaning string       `json:"meaning"`
	Letters []letterJSON `json:"letters"`
}

func (h *Handler) listLetters(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	total, err := h.o.Log.DeadLetters(ctx)
	if err != nil {
		h.unreadable(w, err)
		return
	}
	byReason := map[string]*reasonJSON{}
	groups := []*reasonJSON{}
	scan, err := h.o.Log.Letters(ctx, eventlog.Filter{Last: listedLetters})
	if err == nil {
		err = scan.Each(ctx, func(m *eventlog.Message) error {
			l := newLetter(m)
			group := byReason[l.Reason]
			if group == nil {
				group = &reasonJSON{Reason: l.Reason, Meaning: l.Meaning}
				byReason[l.Reason], groups = group, append(groups, group)
			}
			group.Letters = append(group.Letters, l)
			return nil
		})
	}
	if err != nil {
		h.unreadable(w, err)
		return
	}
	n := 0
	for _, group := range groups {
		n += len(group.Letters)
		slices.Reverse(group.Letters)
	}
	slices.SortFunc(groups, func(a, b *reasonJSON) int {
		return cmp.Or(len(b.Letters)-len(a.Letters), cmp.Compare(a.Reason, b.Reason))
	})
	h.answer(w, struct {
		Total   uint64        `json:"total"`
		Listed  int           `json:"listed"` // the last ones
		Reasons []*reasonJSON `json:"reasons"`
	}{max(total, uint64(n)), n, groups})
}

const goneLetter = "this dead letter is not there any more: it was retried, discarded or erased, or is too old"

func (h *Handler) letter(w http.ResponseWriter, r *http.Request, seq uint64) {
	if m := h.read(w, r, h.o.Log.GetLetter, seq, goneLetter); m != nil {
		h.answer(w, struct {
			letterJSON
			Bytes int `json:"bytes"`
		}{newLetter(m), len(m.Event.Body)})
	}
}

func (h *Handler) letterBody(w http.ResponseWriter, r *http.Request, seq uint64) {
	if m := h.read(w, r, h.o.Log.GetLetter, seq, goneLetter); m != nil {
		h.answer(w, showBody(m.Event.Body))
	}
}

// retry applies the event of a dead letter.
func (h *Handler) retry(w http.ResponseWriter, r *http.Request, seq uint64) {
	if h.read(w, r, h.o.Log.GetLetter, seq, goneLetter) == nil {
		return
	}
	h.apply(w, r, goneLetter, "a dead letter was retried from the dashboard", seq, func(ctx context.Context, o replay.Options) (replay.Counts, error) {
		scan, err := h.o.Log.Letters(ctx, eventlog.Filter{From: seq, To: seq})
		if err != nil {
			return replay.Counts{}, err
		}
		defer scan.Close()
		again := replay.NewLetters(scan, replay.LettersOptions{Options: o, Log: h.o.Log, Instance: h.o.Instance})
		err = again.Run(ctx)
		return again.Counts(), err
	})
}

// discard deletes a dead letter.
func (h *Handler) discard(w http.ResponseWriter, r *http.Request, seq uint64) {
	if h.read(w, r, h.o.Log.GetLetter, seq, goneLetter) == nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	if err := h.o.Log.RemoveLetters(ctx, seq); err != nil {
		h.unreadable(w, err)
		return
	}
	h.o.Logger.Info("a dead letter was discarded from the dashboard", "seq", seq)
	h.answer(w, outcomeJSON{"discarded", "It is deleted for good."})
}
