package clerk

import "cmp"

// Version orders two states of one entity. Deliveries come in any order, so
// the order is taken from the data and never from the arrival.
//
// The zero Version is that of a stub, a parent that is known by its id only:
// the version of any event is greater.
type Version struct {
	Deleted   bool   // a delete is final: Clerk does not use an id again
	UpdatedAt int64  // data.updated_at, Unix milliseconds; 0 in a delete
	EventAt   int64  // the envelope's timestamp, Unix milliseconds
	EventID   string // svix-id: only there to make a tie deterministic
}

// Compare returns -1, 0 or +1 as v is less than, equal to or greater than w.
// The same order stands in queries/heads.sql; both must agree.
func (v Version) Compare(w Version) int {
	if v.Deleted != w.Deleted {
		if w.Deleted {
			return -1
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(v.UpdatedAt, w.UpdatedAt),
		cmp.Compare(v.EventAt, w.EventAt),
		cmp.Compare(v.EventID, w.EventID),
	)
}
