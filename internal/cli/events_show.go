package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/signing"
)

type eventsShowCmd struct {
	Event         string `arg:"" help:"Sequence of the event in the log, or its svix id, msg_…."`
	Raw           bool   `name:"raw" help:"Print only the body, byte for byte as it was received."`
	deploymentLog `embed:""`
}

func (c *eventsShowCmd) Help() string {
	return `A svix id is searched for in the whole log; when it is stored more than once, the first
event is shown.

--json prints an object: the fields of events ls --json, and headers, body (null when it
is not JSON) and body_base64 (only then).`
}

// wholeEvent is a stored event with its headers and body.
type wholeEvent struct {
	eventlog.Summary
	Headers    map[string]string `json:"headers"`
	Body       json.RawMessage   `json:"body"` // null when it is not JSON
	BodyBase64 string            `json:"body_base64,omitempty"`
}

func (c *eventsShowCmd) Run(s *session) error {
	if c.Raw && c.JSON {
		return errRawJSON
	}
	seq, err := strconv.ParseUint(c.Event, 10, 64)
	bySeq := err == nil && seq > 0
	if !bySeq && !signing.ValidID(c.Event) || c.Event == "0" {
		return usageError("neither the sequence of an event, from 1, nor a svix id, msg_…")
	}
	log, done, err := c.openLog(s)
	if err != nil {
		return err
	}
	defer done()
	if !bySeq {
		if seq, err = c.find(s, log); err != nil {
			return err
		}
	}
	m, err := log.Get(s.ctx, seq)
	switch {
	case errors.Is(err, eventlog.ErrNotFound):
		return s.noEvent(log, seq)
	case err != nil:
		return readError(s.ctx, err)
	case c.Raw:
		_, err := s.stdout.Write(m.Event.Body)
		return err
	}
	e := describe(m)
	if c.JSON {
		return s.printJSON(e)
	}
	return s.printEvent(e, m.Event.Body)
}

// errRawJSON refuses two forms of output at once.
const errRawJSON = usageError("--raw and --json exclude each other: --raw prints the body alone")

var errFound = errors.New("found")

// find returns the sequence of the first event with the svix id.
func (c *eventsShowCmd) find(s *session, log *eventlog.Log) (uint64, error) {
	var seq uint64
	_, err := c.scanEvents(s, log, eventlog.Filter{}, true, "searched", func(m *eventlog.Message) error {
		if m.Event.ID != c.Event {
			return nil
		}
		seq = m.Seq
		return errFound
	})
	switch {
	case errors.Is(err, errFound):
		return seq, nil
	case err != nil:
		return 0, err
	}
	return 0, withHint(fmt.Errorf("no event with the svix id %s is stored: it never arrived, is too old, or was erased", c.Event), "clerksync events ls lists the stored events")
}

// noEvent returns the error for a sequence without an event.
func (s *session) noEvent(log *eventlog.Log, seq uint64) error {
	state, err := log.State(s.ctx)
	if err != nil {
		return readError(s.ctx, err)
	}
	if state.Events == 0 {
		return s.nothingSelected(log, eventlog.Filter{From: seq, To: seq})
	}
	why := "it was erased"
	switch {
	case seq < state.First:
		why = "it is too old, or was erased"
	case seq > state.Last:
		why = "the log ends before it"
	}
	return withHint(fmt.Errorf("no event %d is stored: %s; the log holds %d..%d", seq, why, state.First, state.Last), "clerksync events ls lists them")
}

func describe(m *eventlog.Message) *wholeEvent {
	e := &wholeEvent{Summary: m.Summary(), Headers: map[string]string{}}
	for name, values := range m.Header {
		if !strings.HasPrefix(name, "Nats-") { // JetStream's
			e.Headers[name] = strings.Join(values, ", ")
		}
	}
	if body := m.Event.Body; utf8.Valid(body) && json.Valid(body) {
		e.Body = body
	} else {
		e.BodyBase64 = base64.StdEncoding.EncodeToString(body)
	}
	return e
}

func (s *session) printEvent(e *wholeEvent, body []byte) error {
	at := func(t *time.Time) string {
		if t == nil {
			return "-"
		}
		return t.Format("2006-01-02T15:04:05.000Z")
	}
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"seq", strconv.FormatUint(e.Seq, 10)},
		{"type", e.Type},
		{"entity", e.Entity},
		{"user", e.User},
		{"org", e.Org},
		{"emitted", at(e.EventAt)},
		{"received", at(e.ReceivedAt)},
		{"stored", at(&e.StoredAt)},
		{"origin", string(e.Origin)},
		{"svix id", e.SvixID},
	} {
		fmt.Fprintf(w, "%s\t%s\n", line[0], orDash(line[1]))
	}
	fmt.Fprintln(w, "\nHeaders")
	for _, name := range slices.Sorted(maps.Keys(e.Headers)) {
		fmt.Fprintf(w, "  %s\t%s\n", oneLine(name), orDash(e.Headers[name]))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	note := ""
	var pretty bytes.Buffer
	if e.Body == nil {
		note = ", not JSON"
		pretty.Write(body)
	} else if err := json.Indent(&pretty, body, "", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintf(s.stdout, "\nBody (%d bytes%s)\n%s\n", len(body), note, printable(strings.TrimSpace(pretty.String())))
	return err
}

// printable makes a text of several lines safe for a terminal: it escapes control
// characters as JSON and Go do.
func printable(text string) string {
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case r == '\n', unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		text = text[size:]
	}
	return b.String()
}
