package source

import (
	"fmt"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
)

// DifferenceName is how an entity differs between Clerk and the tables.
type DifferenceName string

// The differences.
const (
	Missing    DifferenceName = "missing"    // at Clerk, and not here
	Outdated   DifferenceName = "outdated"   // an older version is here
	Deleted    DifferenceName = "deleted"    // a user or organization that is live here, and not at Clerk
	Extra      DifferenceName = "extra"      // a membership that is live here, and not at Clerk
	Tombstoned DifferenceName = "tombstoned" // at Clerk, and deleted here
)

// Difference is an entity that differs.
type Difference struct {
	Name   DifferenceName
	Kind   clerk.Kind
	ID     string
	UserID string // of a membership, as OrgID
	OrgID  string
	Fixed  bool

	snapshot    *clerk.Snapshot // of what Clerk has, nil when it has none
	firstSeenAt time.Time       // since when Clerk shows that state, as far as is known
}

// ids returns the Clerk ids of the entity and of those that it binds.
func (d *Difference) ids() []string {
	if d.Kind == clerk.KindMembership {
		return []string{d.ID, d.UserID, d.OrgID}
	}
	return []string{d.ID}
}

// ReconcileReport is the outcome of a comparison.
type ReconcileReport struct {
	Read  Totals // compared
	Clerk Totals // as Clerk counts them

	Missing, Outdated, Deleted, Extra, Tombstoned, Fixed Totals

	// Undecided are the suspects that have events in the log that are not applied yet.
	Undecided int64
}

// Differences returns the number of all.
func (r *ReconcileReport) Differences() int64 {
	return r.Missing.Sum() + r.Outdated.Sum() + r.Deleted.Sum() + r.Extra.Sum() + r.Tombstoned.Sum()
}

func (r *ReconcileReport) of(name DifferenceName) *Totals {
	switch name {
	case Missing:
		return &r.Missing
	case Outdated:
		return &r.Outdated
	case Deleted:
		return &r.Deleted
	case Extra:
		return &r.Extra
	}
	return &r.Tombstoned
}

// ManyDeletesError means that Clerk has fewer of the live rows than seems right. Of this
// kind, nothing was deleted.
type ManyDeletesError struct {
	Kind           clerk.Kind
	Deletes, Of    int
	AllowedDeletes int
}

func (e *ManyDeletesError) Error() string {
	return fmt.Sprintf("Clerk does not have %d of %d live rows of kind %s, and more than %d need a confirmation", e.Deletes, e.Of, e.Kind, e.AllowedDeletes)
}
