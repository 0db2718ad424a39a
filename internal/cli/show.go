package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/store/db"
)

type showCmd struct {
	Entity     string `arg:"" help:"Clerk id (user_…, org_…, orgmem_…), or the e-mail address of a user."`
	Raw        bool   `name:"raw" help:"With the whole data of the newest event."`
	deployment `embed:""`
}

// shown is everything about an entity, the document of --json.
type shown struct {
	Kind      clerk.Kind     `json:"kind"`
	ID        string         `json:"clerk_id"`
	State     string         `json:"state"`     // live, deleted, stub, removed, unknown: see states
	Freshness *freshness     `json:"freshness"` // null when no event about it was applied
	Row       store.Row      `json:"row"`       // null when there is none
	Head      *db.EntityHead `json:"head"`
	Events    []shownEvent   `json:"events"` // null when the event log was not read
	Note      string         `json:"note,omitempty"`

	waiting []shownEvent // newer than the row
}

type shownEvent struct {
	Seq        uint64       `json:"seq"`
	Type       string       `json:"type"`
	SvixID     string       `json:"svix_id"`
	EventAt    time.Time    `json:"event_at"`
	ReceivedAt time.Time    `json:"received_at"`
	StoredAt   time.Time    `json:"stored_at"`
	Origin     clerk.Origin `json:"origin"`
	Current    bool         `json:"current"` // made the row what it is
}

func (c *showCmd) Run(s *session) error {
	st, err := c.openStore(s)
	if err != nil {
		return err
	}
	defer st.Close()
	kind, id, err := findEntity(s.ctx, st, c.Entity)
	if err != nil {
		return err
	}
	tables, err := st.Show(s.ctx, kind, id)
	if err != nil {
		return err
	}
	out := &shown{Kind: kind, ID: id, Head: tables.Head, State: tables.State(), Row: tables.Row}
	if !c.Raw {
		out.Row = slices.DeleteFunc(out.Row, func(c store.Column) bool { return c.Name == "raw" })
	}
	if err := c.readEvents(s, out); err != nil {
		out.Note = "the events were not read: " + err.Error()
	}
	out.Freshness = freshnessOf(out)
	if out.State == "unknown" && len(out.Events) == 0 {
		if out.Events == nil {
			return fmt.Errorf("%s is not known: no event about it was applied; %s", id, out.Note)
		}
		return fmt.Errorf("%s is not known: no event about it was stored", id)
	}
	if c.JSON {
		return s.printJSON(out)
	}
	return s.printShown(out)
}

// findEntity returns the entity that an argument names: by a Clerk id, or by the e-mail
// address of a user.
func findEntity(ctx context.Context, st *store.Store, name string) (clerk.Kind, string, error) {
	if strings.Contains(name, "@") {
		ids, err := st.UsersByEmail(ctx, name)
		if err != nil {
			return "", "", err
		}
		switch len(ids) {
		case 0:
			return "", "", errors.New("no user has this e-mail address")
		case 1:
			return clerk.KindUser, ids[0], nil
		}
		return "", "", fmt.Errorf("several users claim this e-mail address, name one of them (the first holds it): %s", strings.Join(ids, ", "))
	}
	kind, ok := clerk.KindOfID(name)
	if !ok || !clerk.ValidToken(name) {
		return "", "", usageError("not a Clerk id of the form user_…, org_… or orgmem_…, nor an e-mail address")
	}
	return kind, name, nil
}

// states explains the states that need it.
var states = map[string]string{
	"deleted": "its row keeps the ids, and nothing of what they stood for",
	"stub":    "known by its id from an event about something else; its own events have not been applied",
	"removed": "it has no row: its user or organization is deleted, or a newer membership of the same two took its place",
	"unknown": "its events are stored, and have not been applied",
}

// readEvents reads the log for the events of the entity.
func (c *showCmd) readEvents(s *session, out *shown) error {
	log, done, err := c.openLog(s)
	if err != nil {
		return err
	}
	defer done()
	scan, err := log.Events(s.ctx, eventlog.Filter{Entity: out.ID}, true)
	if err != nil {
		return err
	}
	events := []shownEvent{}
	err = scan.Each(s.ctx, func(m *eventlog.Message) error {
		events = append(events, shownEvent{
			Seq: m.Seq, Type: m.Event.Envelope.Type, SvixID: m.Event.ID, EventAt: time.UnixMilli(m.Event.Envelope.EventAt).UTC(),
			ReceivedAt: m.Event.ReceivedAt, StoredAt: m.StoredAt.UTC(), Origin: m.Event.Origin,
			Current: out.Head != nil && uint64(out.Head.EventSeq) == m.Seq,
		})
		return nil
	})
	if err != nil {
		return err
	}
	state, err := log.State(s.ctx)
	if err != nil {
		return err
	}
	out.Events = events
	through := state.AppliedThrough
	if out.Head != nil { // its ack may be on its way
		through = max(through, uint64(out.Head.EventSeq))
	}
	for _, e := range events {
		if e.Seq > through {
			out.waiting = append(out.waiting, e)
		}
	}
	return nil
}

func (s *session) printShown(out *shown) error {
	fmt.Fprintf(s.stdout, "%s %s: %s", out.Kind, out.ID, out.State)
	why := states[out.State]
	if out.State == "deleted" && out.Row == nil {
		why = "a membership that has ended has no row"
	}
	if why != "" {
		fmt.Fprintf(s.stdout, " (%s)", why)
	}
	fmt.Fprintln(s.stdout)
	if out.Freshness != nil {
		fmt.Fprintln(s.stdout, out.Freshness.text())
	}
	if len(out.waiting) > 0 {
		fmt.Fprintln(s.stdout, waitingText(out.waiting))
	}
	if out.Row != nil {
		fmt.Fprintln(s.stdout, "\nRow")
		if err := s.printRow(out.Row); err != nil {
			return err
		}
	}
	if out.Head != nil {
		fmt.Fprintln(s.stdout, "\nHead")
		object, err := json.Marshal(out.Head)
		if err != nil {
			return err
		}
		head, err := store.ReadRow(object)
		if err != nil {
			return err
		}
		if err := s.printRow(head); err != nil {
			return err
		}
	}
	if len(out.Events) > 0 {
		fmt.Fprintln(s.stdout, "\nEvents")
		w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "  \tSEQ\tTYPE\tEMITTED\tRECEIVED\tORIGIN\tSVIX ID")
		marked := false
		for _, e := range out.Events {
			mark := ""
			if e.Current {
				mark, marked = "*", true
			}
			fmt.Fprintf(w, "  %s\t%d\t%s\t%s\t%s\t%s\t%s\n", mark, e.Seq, e.Type,
				e.EventAt.Format(time.RFC3339), e.ReceivedAt.Format(time.RFC3339), e.Origin, e.SvixID)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if marked {
			fmt.Fprintln(s.stdout, "\n* made the row what it is")
		}
	}
	if out.Note != "" {
		fmt.Fprintln(s.stdout, "\n"+out.Note)
	}
	return nil
}

func (s *session) printRow(row store.Row) error {
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	for _, column := range row {
		fmt.Fprintf(w, "  %s\t%s\n", column.Name, valueText(column.Value))
	}
	return w.Flush()
}

// valueText returns a JSON value for a person: a string that can be printed stands
// without its quotes.
func valueText(value json.RawMessage) string {
	var text *string
	if json.Unmarshal(value, &text) != nil || text == nil || *text == "" || oneLine(*text) != *text {
		return string(value)
	}
	return *text
}
