package replay

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
)

// Planned is the change that a replay would make to the row of an entity.
type Planned struct {
	store.Planned
	Seq uint64 // of the event that would make the row
}

// Planner replaces the tables in a replay that only reports what it would do. It plans one
// batch at a time, so more than one applier is no use.
type Planner struct {
	store   *store.Store
	reapply bool

	mu      sync.Mutex
	planned map[entity]plan
}

type entity struct {
	kind clerk.Kind
	id   string
}

type plan struct {
	version clerk.Version
	planned Planned
}

// NewPlanner makes a planner. With reapply, equal versions win.
func NewPlanner(st *store.Store, reapply bool) *Planner {
	return &Planner{store: st, reapply: reapply, planned: map[entity]plan{}}
}

// Apply returns what store.Apply would do after all that was planned before. It records
// the change of each entity that would win.
func (p *Planner) Apply(ctx context.Context, entries []store.Entry) ([]store.Outcome, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	outcomes := make([]store.Outcome, len(entries))
	var open []store.Entry
	var at []int
	for i, e := range entries {
		before, ok := p.planned[entity{e.Change.Kind, e.Change.ID}]
		switch d := e.Change.Version.Compare(before.version); {
		case ok && d == 0:
			outcomes[i] = store.Duplicate
		case ok && d < 0:
			outcomes[i] = store.Stale
		default:
			open, at = append(open, e), append(at, i)
		}
	}
	decided, planned, err := p.store.Plan(ctx, open, p.reapply)
	if err != nil {
		return nil, err
	}
	rows := make(map[entity]store.Planned, len(planned))
	for _, row := range planned {
		rows[entity{row.Kind, row.ID}] = row
	}
	for i, outcome := range decided {
		outcomes[at[i]] = outcome
		if outcome == store.Applied {
			c := open[i].Change
			k := entity{c.Kind, c.ID}
			p.planned[k] = plan{c.Version, Planned{rows[k], open[i].Seq}}
		}
	}
	return outcomes, nil
}

// Planned returns the changes to the rows, by kind and id.
func (p *Planner) Planned() []Planned {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]Planned, 0, len(p.planned))
	for _, x := range p.planned {
		all = append(all, x.planned)
	}
	slices.SortFunc(all, func(a, b Planned) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID)) })
	return all
}
