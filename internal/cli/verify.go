package cli

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/replay"
	"github.com/clerksync/clerksync/internal/store/db"
	"github.com/clerksync/clerksync/internal/units"
)

type verifyCmd struct {
	Values     bool `name:"values" help:"Print the values of the columns that differ. They may be personal data."`
	deployment `embed:""`
}

func (c *verifyCmd) Help() string {
	return `Applies the whole log to tables of its own, in a schema next to the live one
(<schema>_verify, dropped at the end), and compares row by row and column by column.
For every difference it names the reason: the log does not reach back that far, a user
was erased, an event is pending, the row is of another log, or none that clerksync causes.
What was restored by hand is compared with what the restore gives. Exit status 1 when a
difference is unexplained.

It needs the privilege to create a schema, and as much disk space as the tables use.
Workers continue concurrently.

--json prints an object: from and to (sequences of the log), events (the counts of a
replay), differences, unexplained, by_reason (counts), and listed, at most 10,000, each
with table, kind, clerk_id, only_in (tables or log), columns, values (with --values),
reason, why, head_in_tables, head_in_log.`
}

type differenceJSON struct {
	Table   string         `json:"table"`
	Kind    string         `json:"kind"`
	ClerkID string         `json:"clerk_id"`
	OnlyIn  string         `json:"only_in,omitempty"` // tables or log
	Columns []string       `json:"columns"`
	Values  any            `json:"values,omitempty"` // with --values
	Reason  replay.Reason  `json:"reason"`
	Why     string         `json:"why"`
	Tables  *db.EntityHead `json:"head_in_tables"`
	Log     *db.EntityHead `json:"head_in_log"`
}

func (c *verifyCmd) Run(s *session) error {
	st, log, done, err := c.open(s)
	if err != nil {
		return err
	}
	defer done()
	collectGarbageAt(300) // as a replay does
	stop := func() {}
	defaults := config.Default()
	v := replay.Verifier{
		Log: log, Store: st, Appliers: defaults.Appliers, Batch: defaults.Batch,
		Rebuilding: func(r *replay.Events, total uint64) {
			stop = c.progress(s, total, "applied").follow(func() uint64 { return r.Counts().Total() })
		},
		Comparing: func() { stop() },
	}
	report, err := v.Run(s.ctx)
	stop()
	if err != nil {
		if s.ctx.Err() != nil {
			return fmt.Errorf("%w: the tables were not touched", errStopped)
		}
		return err
	}
	if c.JSON {
		err = c.printReportJSON(s, report)
	} else {
		err = c.printReport(s, report)
	}
	if err != nil {
		return err
	}
	if n := report.Unexplained(); n > 0 {
		return fmt.Errorf("%s not explained by anything that clerksync does", units.Count(n, "difference is", "differences are"))
	}
	return nil
}

func (c *verifyCmd) printReportJSON(s *session, r *replay.Report) error {
	out := struct {
		From        uint64                `json:"from"`
		To          uint64                `json:"to"`
		Events      replay.Counts         `json:"events"`
		Differences int                   `json:"differences"`
		Unexplained int                   `json:"unexplained"`
		ByReason    map[replay.Reason]int `json:"by_reason"`
		Listed      []differenceJSON      `json:"listed"` // at most 10,000
	}{r.From, r.To, r.Events, r.Differences, r.Unexplained(), r.ByReason, []differenceJSON{}}
	for _, f := range r.Findings {
		d := differenceJSON{
			Table: f.Table, Kind: string(f.Kind), ClerkID: f.ClerkID, OnlyIn: f.OnlyIn, Columns: columnNames(f),
			Reason: f.Reason, Why: f.Why, Tables: f.HeadInTables, Log: f.HeadInLog,
		}
		if c.Values && len(f.Columns) > 0 {
			d.Values = f.Columns
		}
		out.Listed = append(out.Listed, d)
	}
	return s.printJSON(out)
}

func (c *verifyCmd) printReport(s *session, r *replay.Report) error {
	for _, f := range r.Findings {
		fmt.Fprintf(s.stdout, "%s %s: ", f.Table, f.ClerkID)
		switch f.OnlyIn {
		case "tables":
			fmt.Fprint(s.stdout, "not in the log")
		case "log":
			fmt.Fprint(s.stdout, "not in the tables")
		default:
			for i, name := range columnNames(f) {
				if i > 0 {
					fmt.Fprint(s.stdout, ", ")
				}
				fmt.Fprint(s.stdout, name)
			}
			fmt.Fprint(s.stdout, " differ")
		}
		fmt.Fprintf(s.stdout, "\n  %s: %s\n", f.Reason, f.Why)
		if c.Values {
			for _, column := range f.Columns {
				fmt.Fprintf(s.stdout, "  %s: tables %s, log %s\n", column.Name, shortValue(column.InTables), shortValue(column.InLog))
			}
		}
	}
	if more := r.Differences - len(r.Findings); more > 0 {
		fmt.Fprintf(s.stdout, "and %d more\n", more)
	}
	if r.Events.Total() == 0 {
		fmt.Fprint(s.stdout, "the log is empty: ")
	} else {
		fmt.Fprintf(s.stdout, "compared with %s of the log (%d..%d): ", units.Count(int(r.Events.Total()), "event", "events"), r.From, r.To)
	}
	if r.Differences == 0 {
		fmt.Fprintln(s.stdout, "the tables agree with the log")
		return nil
	}
	fmt.Fprint(s.stdout, units.Count(r.Differences, "difference", "differences"))
	if r.Unexplained() == 0 {
		fmt.Fprint(s.stdout, ", to be expected")
	}
	var reasons []replay.Reason
	for reason := range r.ByReason {
		reasons = append(reasons, reason)
	}
	slices.Sort(reasons)
	for i, reason := range reasons {
		separator := ", "
		if i == 0 {
			separator = ": "
		}
		fmt.Fprintf(s.stdout, "%s%d %s", separator, r.ByReason[reason], reason)
	}
	_, err := fmt.Fprintln(s.stdout)
	return err
}

func columnNames(f *replay.Finding) []string {
	names := []string{}
	for _, c := range f.Columns {
		names = append(names, c.Name)
	}
	return names
}

// shortValue shortens a value to a line of a terminal.
func shortValue(v json.RawMessage) string {
	const most = 80
	text := []rune(oneLine(string(v)))
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(text)
}
