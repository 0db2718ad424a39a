package lag

import "time"

// State is the verdict as one word.
type State string

// The states, the worst last.
const (
	InStep   State = "in_step"  // every event received is in the tables, but for those on their way
	Silent   State = "silent"   // no event for longer than the limit: the endpoint may be disabled
	Behind   State = "behind"   // events wait and are being applied
	Refusing State = "refusing" // deliveries arrive and are refused, or would be
	Stuck    State = "stuck"    // events wait and none is applied, or the next ones would
	Lost     State = "lost"     // acknowledged events went missing before they were applied
	Unknown  State = "unknown"  // the event log cannot be read
)

// States lists them all.
var States = []State{InStep, Silent, Behind, Refusing, Stuck, Lost, Unknown}

// Reading tells how far the rows are behind Clerk at one moment. It is the answer of
// GET /lag and of clerksync lag --json; its field names are a contract. An unknown value
// is null, never 0.
type Reading struct {
	InStep     bool       `json:"in_step"`
	State      State      `json:"state"`
	Cause      string     `json:"cause"`   // one of [Causes]; "" when in step
	Why        string     `json:"why"`     // the reason for the state, for people; "" when there is nothing to add
	Since      *time.Time `json:"since"`   // of the cause, as far as it is known
	Fix        string     `json:"fix"`     // the next step; "" when there is nothing to do
	Verdict    string     `json:"verdict"` // state and reason as one sentence
	Silent     bool       `json:"silent"`  // no event for longer than the limit, whatever the state
	MeasuredAt time.Time  `json:"measured_at"`

	// Pending events are stored and not yet applied; InWork of them are delivered to a
	// worker. OldestPendingAge is the age in the log of the oldest, in seconds; 0 when
	// none is pending.
	Pending          *uint64  `json:"pending"`
	InWork           *uint64  `json:"in_work"`
	OldestPendingAge *float64 `json:"oldest_pending_age_seconds"`

	StoredPerSecond  *float64 `json:"stored_per_second"`
	AppliedPerSecond *float64 `json:"applied_per_second"`
	SecondsLeft      *float64 `json:"seconds_left"` // until none is pending, at these rates; null when the backlog does not shrink

	LastEventReceivedAt *time.Time `json:"last_event_received_at"` // the last delivery of Svix, stored or parked
	Silence             *Silence   `json:"silence"`

	// The lags of the last events applied: from emitted by Clerk to received, from stored
	// to applied, from emitted to applied. Null without such an event or a database.
	Delivery *Quantiles `json:"delivery_seconds"`
	Queue    *Quantiles `json:"queue_seconds"`
	EndToEnd *Quantiles `json:"end_to_end_seconds"`

	Lost        *Loss      `json:"lost"` // events that left the log before they were applied; null when none did
	DeadLetters *uint64    `json:"dead_letters"`
	Workers     []Worker   `json:"workers"`   // that answered; null when the request failed
	Receivers   []Receiver `json:"receivers"` // as Workers
	Probe       *Probe     `json:"probe"`     // the last scheduled probe, a failed one first; null without
	EventLog    Neighbour  `json:"event_log"`
	PostgreSQL  *Neighbour `json:"postgresql"` // null when this process does not use it

	Warnings []Warning `json:"warnings"` // do not change the verdict

	instances int // Clerk instances among the last events
}

// Warning is a fault that does not decide the state: another is worse, or the rows are in
// step in spite of it.
type Warning struct {
	Cause string `json:"cause"` // one of [Causes]
	Text  string `json:"text"`
	Fix   string `json:"fix"`
}

// Quantiles of a lag, in seconds.
type Quantiles struct {
	P50    float64 `json:"p50"`
	P99    float64 `json:"p99"`
	Events int     `json:"events"` // sample size
}

// Silence compares the time without an event with its limit.
type Silence struct {
	Seconds   float64   `json:"seconds"`       // since the last event that Svix delivered, or else since the log was made
	Limit     float64   `json:"limit_seconds"` // beyond it, the state is silent
	ReachedAt time.Time `json:"reached_at"`    // when it is, or was

	// UsualGap is the median time between the last events, null until there are 20.
	// LongestGap is the second longest of the last two weeks, null when no two are longer
	// than 7.5 minutes; the longest may have been an outage.
	UsualGap   *float64 `json:"usual_gap_seconds"`
	LongestGap *float64 `json:"longest_gap_seconds"`
}

// Neighbour is the health of the event log or PostgreSQL.
type Neighbour struct {
	OK    bool       `json:"ok"`
	Error string     `json:"error,omitempty"` // fixed words, no address and no secret
	Since *time.Time `json:"since,omitempty"` // of the outage, as far as this process has seen it; PostgreSQL only
	Cause string     `json:"cause,omitempty"` // one of [Causes]; PostgreSQL only
	// Event log only.
	ID       string  `json:"log_id,omitempty"`
	Events   uint64  `json:"events,omitempty"`
	Bytes    uint64  `json:"bytes,omitempty"`
	MaxBytes uint64  `json:"max_bytes,omitempty"`  // 0: no limit but the disk
	Free     *uint64 `json:"free_bytes,omitempty"` // on the disk of an embedded log
}
