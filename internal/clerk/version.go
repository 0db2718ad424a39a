package clerk

import "cmp"

// Version orders the events of one entity. Deliveries arrive in any order, so the order
// is taken from the data and never from the arrival.
//
// The zero Version is that of a stub: the version of any event is greater.
type Version struct {
	Deleted   bool   // a delete is final: Clerk never reuses an id
	UpdatedAt int64  // data.updated_at, Unix milliseconds; 0 in a delete
	EventAt   int64  // the envelope's timestamp, Unix milliseconds
	EventID   string // svix-id, to break ties deterministically
}

// Compare returns -1, 0 or +1 as v is less than, equal to or greater than w.
// users.email_rank sorts in the same order.
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
