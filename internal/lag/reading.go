package lag

import "time"

// State is the verdict in a word.
type State string

// The states, the worst last.
const (
	InStep  State = "in_step" // what was received is in the tables, but for what is on its way
	Silent  State = "silent"  // nothing was received for longer than is usual: the endpoint may be disabled
	Behind  State = "behind"  // events wait, and workers work
	Stuck   State = "stuck"   // events wait, and nobody applies them
	Unknown State = "unknown" // the event log cannot be read
)

// Reading is how far the rows are behind Clerk at one moment: the answer of GET /lag
// and of clerksync lag --json, whose names are a contract. What is not known is null,
// and never 0.
type Reading struct {
	InStep     bool      `json:"in_step"`
	State      State     `json:"state"`
	Verdict    string    `json:"verdict"` // for a person: the state, why, and since when
	MeasuredAt time.Time `json:"measured_at"`
	Why        string    `json:"why"` // the verdict without the state; "" when there is no more to say

	// Pending events are stored and not yet applied; of those, InWork are delivered to a
	// worker. OldestPendingAge is how long the oldest of them has waited in the log, in
	// seconds, 0 when nothing waits.
	Pending          *uint64  `json:"pending"`
	InWork           *uint64  `json:"in_work"`
	OldestPendingAge *float64 `json:"oldest_pending_age_seconds"`

	StoredPerSecond  *float64 `json:"stored_per_second"`
	AppliedPerSecond *float64 `json:"applied_per_second"`
	SecondsLeft      *float64 `json:"seconds_left"` // until nothing waits, at these rates; null when they do not lead there

	LastEventReceivedAt *time.Time `json:"last_event_received_at"` // the last that Svix delivered
	Silence             *Silence   `json:"silence"`

	// The lags, by the events that were applied last: emitted by Clerk to received,
	// stored to applied, emitted to applied. Null when there is no such event or no
	// database to ask.
	Delivery *Quantiles `json:"delivery_seconds"`
	Queue    *Quantiles `json:"queue_seconds"`
	EndToEnd *Quantiles `json:"end_to_end_seconds"`

	DeadLetters *uint64    `json:"dead_letters"`
	Workers     []Worker   `json:"workers"` // that answered; null when they could not be asked
	EventLog    Neighbour  `json:"event_log"`
	PostgreSQL  *Neighbour `json:"postgresql"` // null when this process does not use it

	Warnings []string `json:"warnings"` // what is odd and does not change the verdict

	instances int // Clerk instances that the last events are of
}

// Quantiles are of a lag, in seconds.
type Quantiles struct {
	P50    float64 `json:"p50"`
	P99    float64 `json:"p99"`
	Events int     `json:"events"` // of how many
}

// Silence is how long nothing was received, against what is usual.
type Silence struct {
	Seconds float64 `json:"seconds"` // since the last event that Svix delivered

	// UsualGap is the median time between the last events, LongestGap the second
	// longest of the last two weeks (the longest may have been an outage), and Limit
	// the time after which it is called silent. Null until enough events are known.
	UsualGap   *float64 `json:"usual_gap_seconds"`
	LongestGap *float64 `json:"longest_gap_seconds"`
	Limit      *float64 `json:"limit_seconds"`
}

// Neighbour is how something that is needed is doing.
type Neighbour struct {
	OK    bool       `json:"ok"`
	Error string     `json:"error,omitempty"` // fixed words, no address and no secret
	Since *time.Time `json:"since,omitempty"` // it was not OK, as far as was seen; of PostgreSQL
	// Of the event log.
	Events   uint64 `json:"events,omitempty"`
	Bytes    uint64 `json:"bytes,omitempty"`
	MaxBytes uint64 `json:"max_bytes,omitempty"` // 0: no limit but the disk
}
