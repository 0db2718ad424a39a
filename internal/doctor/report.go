package doctor

// Status is how a check ended.
type Status string

// The statuses. What could not be looked at is not ok.
const (
	OK        Status = "ok"
	Warning   Status = "warning"
	Failed    Status = "failed"
	Unchecked Status = "unchecked"
)

// Check is one thing that was looked at. The names of its JSON are a contract.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Seen   string `json:"seen"` // no secret
	Fix    string `json:"fix"`  // "" when there is nothing to do
}

// Report is all that was looked at, in the order of the way.
type Report struct {
	OK     bool    `json:"ok"` // nothing failed
	Checks []Check `json:"checks"`
}

func (r *Report) add(name string, status Status, seen, fix string) {
	r.Checks = append(r.Checks, Check{name, status, seen, fix})
}

func (r *Report) ok(name, seen string) { r.add(name, OK, seen, "") }

// unchecked says why things were not looked at.
func (r *Report) unchecked(why string, names ...string) {
	for _, name := range names {
		r.add(name, Unchecked, why, "")
	}
}

// Count is how many checks ended so.
func (r *Report) Count(s Status) int {
	n := 0
	for _, c := range r.Checks {
		if c.Status == s {
			n++
		}
	}
	return n
}
