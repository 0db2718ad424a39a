package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/eventlog"
)

type deadCmd struct {
	Ls      deadLsCmd      `cmd:"" help:"List the dead letters, with the reasons counted."`
	Show    deadShowCmd    `cmd:"" help:"Show one dead letter: its event, and why it was parked."`
	Retry   deadRetryCmd   `cmd:"" help:"Apply dead letters again, and remove each that succeeds."`
	Discard deadDiscardCmd `cmd:"" help:"Delete dead letters for good."`
}

func (c *deadCmd) Help() string {
	return `A dead letter is an event that cannot be applied as things are: its body cannot be
decoded, PostgreSQL refuses its content, or it is of another Clerk instance. It is kept
unchanged, with the reason, until it is retried, discarded, or older than
CLERKSYNC_DEAD_MAX_AGE. Dead letters have sequences that are not those of the log.`
}

// instance is the Clerk instance whose events are accepted.
type instance struct {
	InstanceID string `name:"instance-id" env:"CLERK_INSTANCE_ID" placeholder:"INS" help:"Accept only events of this Clerk instance, ins_…. Without it, that of the clerksync running here."`
}

// resolve refuses an id that cannot be one, and fills in that of the process running here
// when none is given.
func (i *instance) resolve(l *local) error {
	if err := config.CheckInstanceID(i.InstanceID); err != nil {
		return usageError("--instance-id is " + err.Error())
	}
	if i.InstanceID == "" {
		if running, err := l.running(); err == nil {
			i.InstanceID = running.InstanceID
		}
	}
	return nil
}

// letterSelection selects dead letters.
type letterSelection struct {
	Seqs      []uint64 `arg:"" optional:"" name:"seq" help:"Sequences of dead letters, from dead ls."`
	Reason    []string `name:"reason" placeholder:"REASON" help:"Those that were parked for this reason: ${reasons}."`
	All       bool     `name:"all" help:"All dead letters."`
	selection `embed:"" group:"Which dead letters"`
}

// read returns the filter that the server applies and the predicate that is checked here.
func (c *letterSelection) read() (eventlog.Filter, func(*eventlog.Message) bool, error) {
	f, err := c.filter()
	if err != nil {
		return f, nil, err
	}
	if err := checkReasons(c.Reason); err != nil {
		return f, nil, err
	}
	switch chosen := len(c.Seqs) > 0 || len(c.Reason) > 0 || !f.IsZero(); {
	case chosen && c.All:
		return f, nil, usageError("--all excludes sequences and filters")
	case !chosen && !c.All:
		return f, nil, withHint(usageError("no dead letters are selected"), "give their sequences (clerksync dead ls), filters, or --all")
	}
	if f.Limit > 0 || f.Last > 0 {
		return f, nil, withHint(usageError("--limit and --last are for dead ls"), "give sequences")
	}
	if n := len(c.Seqs); n > 0 && f.From == 0 && f.To == 0 {
		f.From, f.To = slices.Min(c.Seqs), slices.Max(c.Seqs)
	}
	return f, func(m *eventlog.Message) bool {
		return (len(c.Seqs) == 0 || slices.Contains(c.Seqs, m.Seq)) && (len(c.Reason) == 0 || slices.Contains(c.Reason, m.Letter().Reason))
	}, nil
}

// checkReasons refuses unknown reasons.
func checkReasons(given []string) error {
	for _, reason := range given {
		if _, ok := eventlog.Reasons[reason]; !ok {
			return usageError(fmt.Sprintf("--reason %q is not one of %s", reason, reasonNames()))
		}
	}
	return nil
}

// reasonNames lists the reasons, for texts.
func reasonNames() string { return strings.Join(slices.Sorted(maps.Keys(eventlog.Reasons)), ", ") }

func (s *session) eachLetter(log *eventlog.Log, f eventlog.Filter, do func(*eventlog.Message) error) error {
	scan, err := log.Letters(s.ctx, f)
	if err != nil {
		return err
	}
	return scan.Each(s.ctx, do)
}

var errNoLetters = withHint(errors.New("no dead letter is selected"), "clerksync dead ls lists them")
