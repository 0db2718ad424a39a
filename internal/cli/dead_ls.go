package cli

import (
	"cmp"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
)

type deadLsCmd struct {
	Reason        []string `name:"reason" placeholder:"REASON" help:"Only dead letters with this reason: ${reasons}."`
	selection     `embed:"" group:"Which dead letters"`
	deploymentLog `embed:""`
}

func (c *deadLsCmd) Help() string {
	return fmt.Sprintf(`Lists the last %d unless --limit or --last says otherwise, and counts all by reason.

--json prints an object: total, reasons (reason, count), and letters, each with seq,
reason, error, attempts, first_at, last_at, log_seq (sequence in the event log, 0 when
it was parked on its arrival), type, entity, svix_id.`, listed)
}

// letterJSON is a dead letter in a listing. Type is the one that the body claims when the
// letter's subject has none.
type letterJSON struct {
	Seq uint64 `json:"seq"`
	eventlog.Letter
	Type   string `json:"type"`
	Entity string `json:"entity"`
	SvixID string `json:"svix_id"`
}

func newLetterJSON(m *eventlog.Message) letterJSON {
	l := letterJSON{m.Seq, m.Letter(), m.Event.Envelope.Type, m.Event.Envelope.EntityID, m.Event.ID}
	if l.Type == "" {
		l.Type = clerk.TypeOf(m.Event.Body)
	}
	return l
}

type reasonCount struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// listed limits the listing by default, to the last dead letters.
const listed = 50

func (c *deadLsCmd) Run(s *session) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	if err := checkReasons(c.Reason); err != nil {
		return err
	}
	limit, last := f.Limit, f.Last
	f.Limit, f.Last = 0, 0
	if limit == 0 && last == 0 {
		last = listed
	}
	log, done, err := c.openLog(s)
	if err != nil {
		return err
	}
	defer done()
	out := struct {
		Total   int           `json:"total"`
		Reasons []reasonCount `json:"reasons"`
		Letters []letterJSON  `json:"letters"`
	}{Reasons: []reasonCount{}, Letters: []letterJSON{}}
	counts := map[string]int{}
	err = s.eachLetter(log, f, func(m *eventlog.Message) error {
		l := newLetterJSON(m)
		if len(c.Reason) > 0 && !slices.Contains(c.Reason, l.Reason) {
			return nil
		}
		out.Total++
		counts[l.Reason]++
		switch {
		case limit > 0 && len(out.Letters) == limit:
		case last > 0 && len(out.Letters) == last:
			out.Letters = append(out.Letters[1:], l)
		default:
			out.Letters = append(out.Letters, l)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for reason, n := range counts {
		out.Reasons = append(out.Reasons, reasonCount{reason, n})
	}
	slices.SortFunc(out.Reasons, func(a, b reasonCount) int { return cmp.Or(b.Count-a.Count, cmp.Compare(a.Reason, b.Reason)) })
	if c.JSON {
		return s.printJSON(out)
	}
	if out.Total == 0 {
		fmt.Fprintln(s.stdout, "no dead letters")
		return nil
	}
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "COUNT\tREASON\tWHAT IT MEANS")
	for _, r := range out.Reasons {
		fmt.Fprintf(w, "%d\t%s\t%s\n", r.Count, oneLine(r.Reason), eventlog.Reasons[r.Reason])
	}
	fmt.Fprintln(w)
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "SEQ\tREASON\tTYPE\tENTITY\tTRIED\tFIRST\tLAST\tERROR")
	for _, l := range out.Letters {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", l.Seq, oneLine(l.Reason), oneLine(l.Type), oneLine(l.Entity), l.Attempts,
			l.FirstAt.Format(time.RFC3339), l.LastAt.Format(time.RFC3339), oneLine(l.Error))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if n := len(out.Letters); n < out.Total {
		fmt.Fprintf(s.stderr, "%d of %d; --limit and --last select others\n", n, out.Total)
	}
	return nil
}
