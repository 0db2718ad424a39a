package doctor

// Status is the result of a check.
type Status string

// The statuses. A check that could not run is not ok.
const (
	OK        Status = "ok"
	Warning   Status = "warning"
	Failed    Status = "failed"
	Unchecked Status = "unchecked"
)

// Check is one check. Its JSON names are a contract.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Seen   string `json:"seen"` // no secret
	Fix    string `json:"fix"`  // "" when there is nothing to do; can have a link that logs in once
}

// Report lists all checks in the order of an event's way.
type Report struct {
	OK     bool    `json:"ok"` // nothing failed
	Checks []Check `json:"checks"`
}

func (r *Report) add(name string, status Status, seen, fix string) {
	r.Checks = append(r.Checks, Check{name, status, seen, fix})
}

func (r *Report) ok(name, seen string) { r.add(name, OK, seen, "") }

// unchecked records checks that could not run.
func (r *Report) unchecked(why string, names ...string) {
	for _, name := range names {
		r.add(name, Unchecked, why, "")
	}
}

// Count returns the number of checks with a status.
func (r *Report) Count(s Status) int {
	n := 0
	for _, c := range r.Checks {
		if c.Status == s {
			n++
		}
	}
	return n
}
