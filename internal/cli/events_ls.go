package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/clerksync/clerksync/internal/eventlog"
)

type eventsLsCmd struct {
	selection     `embed:"" group:"Which events"`
	deploymentLog `embed:""`
}

// lastListed limits a listing without filters.
const lastListed = 50

func (c *eventsLsCmd) Help() string {
	return fmt.Sprintf(`Lists the last %d unless a filter is given.

--json prints an object a line: seq, type, entity, user, org, event_at (when Clerk
emitted it), received_at, stored_at, origin, svix_id. user and org are "" for none.`, lastListed)
}

func (c *eventsLsCmd) Run(s *session) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	log, done, err := c.openLog(s)
	if err != nil {
		return err
	}
	defer done()
	everything := f.IsZero()
	if everything {
		f.Last = lastListed
	}
	out := bufio.NewWriterSize(s.stdout, 64<<10)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	table := &table{out: out}
	table.add("SEQ", "TYPE", "ENTITY", "USER", "ORG", "STORED", "ORIGIN", "SVIX ID")
	n, err := c.scanEvents(s, log, f, true, "", func(m *eventlog.Message) error {
		e := m.Summary()
		if c.JSON {
			return enc.Encode(e)
		}
		return table.add(strconv.FormatUint(e.Seq, 10), e.Type, orDash(e.Entity), orDash(e.User), orDash(e.Org),
			e.StoredAt.Format(time.RFC3339), orDash(string(e.Origin)), orDash(e.SvixID))
	})
	if n > 0 { // print what was read before an error
		if !c.JSON {
			err = errors.Join(err, table.flush())
		}
		err = errors.Join(err, out.Flush())
	}
	switch {
	case err != nil:
		return err
	case n == 0:
		return s.nothingSelected(log, f)
	case everything && n == lastListed:
		return c.tellOfOthers(s, log)
	}
	return nil
}

// tellOfOthers reports that there are more events than listed.
func (c *eventsLsCmd) tellOfOthers(s *session, log *eventlog.Log) error {
	state, err := log.State(s.ctx)
	if err != nil || state.Events <= lastListed {
		return err
	}
	fmt.Fprintf(s.stderr, "These are the last %d of %d events. --last N shows more of them; --since, --type, --user and others select (--help).\n",
		lastListed, state.Events)
	return nil
}

// tableChunk is the number of rows that are aligned together.
const tableChunk = 1000

// table prints any number of rows in columns. It holds a chunk of them to align it;
// columns never get narrower.
type table struct {
	out    *bufio.Writer
	rows   [][]string
	widths []int
}

func (t *table) add(row ...string) error {
	t.rows = append(t.rows, row)
	if len(t.rows) < tableChunk {
		return nil
	}
	return t.flush()
}

// flush prints the held rows. It assumes ASCII.
func (t *table) flush() error {
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(t.widths) {
				t.widths = append(t.widths, 0)
			}
			t.widths[i] = max(t.widths[i], len(cell))
		}
	}
	for _, row := range t.rows {
		for i, cell := range row {
			width := t.widths[i] + 2
			if i == len(row)-1 {
				width = 0
			}
			fmt.Fprintf(t.out, "%-*s", width, cell)
		}
		t.out.WriteByte('\n')
	}
	t.rows = t.rows[:0]
	return t.out.Flush()
}
