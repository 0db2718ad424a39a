package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/store/db"
)

type showCmd struct {
	Entity    string        `arg:"" help:"Clerk id (user_…, org_…, orgmem_…), or the e-mail address of a user."`
	NATSURL   config.Secret `name:"nats-url" env:"NATS_URL" placeholder:"URL" help:"NATS server with the event log. Without it, that of the clerksync running here."`
	NATSCreds string        `name:"nats-creds" env:"CLERKSYNC_NATS_CREDS" type:"path" placeholder:"FILE" help:"Credentials file for NATS."`
	Raw       bool          `name:"raw" help:"With the whole data of the newest event."`
	database  `embed:""`
}

// shown is what is known of an entity.
type shown struct {
	Kind   clerk.Kind     `json:"kind"`
	ID     string         `json:"clerk_id"`
	State  string         `json:"state"` // live, deleted, stub (known by id only), unknown
	Row    any            `json:"row"`   // the row of the table, null when there is none
	Head   *db.EntityHead `json:"head"`
	Events []shownEvent   `json:"events"` // null when the event log was not read
	Note   string         `json:"note,omitempty"`
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
	st, err := c.open(s)
	if err != nil {
		return err
	}
	defer st.Close()
	kind, id, err := c.find(s.ctx, st)
	if err != nil {
		return err
	}
	tables, err := st.Show(s.ctx, kind, id)
	if err != nil {
		return err
	}
	out := &shown{Kind: kind, ID: id, Row: tables.Row, Head: tables.Head, State: state(tables)}
	if !c.Raw {
		dropRaw(tables.Row)
	}
	if out.Events, err = c.events(s.ctx, out); err != nil {
		out.Note = "the events were not read: " + err.Error()
	}
	if out.State == "unknown" && len(out.Events) == 0 {
		return fmt.Errorf("%s is not known: no event about it was applied", id)
	}
	if c.JSON {
		return s.printJSON(out)
	}
	return s.printShown(out)
}

// find returns what the argument names.
func (c *showCmd) find(ctx context.Context, st *store.Store) (clerk.Kind, string, error) {
	if strings.Contains(c.Entity, "@") {
		ids, err := st.UsersByEmail(ctx, c.Entity)
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
	kind, ok := clerk.KindOfID(c.Entity)
	if !ok || !clerk.ValidToken(c.Entity) {
		return "", "", usageError("not a Clerk id of the form user_…, org_… or orgmem_…, nor an e-mail address")
	}
	return kind, c.Entity, nil
}

// state says in a word what the tables know.
func state(t *store.Shown) string {
	switch {
	case t.Head == nil:
		return "unknown"
	case t.Head.Deleted:
		return "deleted"
	case t.Head.EventID == "":
		return "stub"
	case t.Row == nil:
		return "removed" // a live membership of somebody or something that is deleted, or that a newer one replaced
	}
	return "live"
}

func dropRaw(row any) {
	switch r := row.(type) {
	case *db.User:
		r.Raw = nil
	case *db.Organization:
		r.Raw = nil
	}
}

// events reads the log for the events of the entity.
func (c *showCmd) events(ctx context.Context, out *shown) ([]shownEvent, error) {
	url := c.NATSURL.Reveal()
	if url == "" {
		running, err := app.FindRunning(c.DataDir)
		if err != nil {
			return nil, fmt.Errorf("set NATS_URL (%w)", err)
		}
		url = running.NATSURL
	}
	options := []nats.Option{nats.Name("clerksync show"), nats.Timeout(5 * time.Second)}
	if c.NATSCreds != "" {
		options = append(options, nats.UserCredentials(c.NATSCreds))
	}
	nc, err := nats.Connect(url, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	defer nc.Close()
	log, err := eventlog.Attach(nc)
	if err != nil {
		return nil, err
	}
	events := []shownEvent{}
	err = log.EntityEvents(ctx, out.ID, func(m *eventlog.Message) bool {
		envelope, _ := clerk.ParseEnvelope(m.Event.Body)
		events = append(events, shownEvent{
			Seq: m.Seq, Type: envelope.Type, SvixID: m.Event.ID, EventAt: time.UnixMilli(envelope.EventAt).UTC(),
			ReceivedAt: m.Event.ReceivedAt, StoredAt: m.StoredAt.UTC(), Origin: m.Event.Origin,
			Current: out.Head != nil && uint64(out.Head.EventSeq) == m.Seq,
		})
		return true
	})
	return events, err
}

func (s *session) printShown(out *shown) error {
	fmt.Fprintf(s.stdout, "%s %s: %s\n", out.Kind, out.ID, out.State)
	if out.Row != nil {
		fmt.Fprintln(s.stdout, "\nRow")
		if err := s.printFields(out.Row); err != nil {
			return err
		}
	}
	if out.Head != nil {
		fmt.Fprintln(s.stdout, "\nHead")
		if err := s.printFields(out.Head); err != nil {
			return err
		}
	}
	if len(out.Events) > 0 {
		fmt.Fprintln(s.stdout, "\nEvents")
		w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "  \tSEQ\tTYPE\tEMITTED\tRECEIVED\tORIGIN\tSVIX ID")
		for _, e := range out.Events {
			mark := ""
			if e.Current {
				mark = "*"
			}
			fmt.Fprintf(w, "  %s\t%d\t%s\t%s\t%s\t%s\t%s\n", mark, e.Seq, e.Type,
				e.EventAt.Format(time.RFC3339), e.ReceivedAt.Format(time.RFC3339), e.Origin, e.SvixID)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		fmt.Fprintln(s.stdout, "\n* made the row what it is")
	}
	if out.Note != "" {
		fmt.Fprintln(s.stdout, "\n"+out.Note)
	}
	return nil
}

// printFields prints a row, a column a line, by the names that the columns have.
func (s *session) printFields(row any) error {
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	v := reflect.ValueOf(row).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("json")
		if name == "raw" && v.Field(i).IsZero() {
			continue
		}
		value, err := json.Marshal(v.Field(i).Interface())
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "  %s\t%s\n", name, strings.Trim(string(value), `"`))
	}
	return w.Flush()
}
