package lag

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/clerksync/clerksync/internal/eventlog"
)

// rollCallSubject is where processes answer roll calls. No stream covers it.
const rollCallSubject = "clerk.workers"

const (
	// A roll call waits rollCallTimeout for the first answer and rollCallPause for each
	// further one: the number of processes is unknown. With no subscriber at all, the
	// server answers at once.
	rollCallTimeout = 500 * time.Millisecond
	rollCallPause   = 100 * time.Millisecond

	// maxProcesses bounds the answers read.
	maxProcesses = 256
)

// Process is what a process tells about itself, by its roles.
type Process struct {
	Worker   *Worker   `json:"worker"`   // null without the worker role
	Receiver *Receiver `json:"receiver"` // null without the receiver role
}

// Worker is what a process that applies events reports about itself.
type Worker struct {
	Name      string    `json:"name"` // host and process
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	Appliers  int       `json:"appliers"`
	Busy      int       `json:"appliers_busy"`
	Applied   uint64    `json:"applied"` // events settled since it started
	Failing   *Failure  `json:"failing"` // it cannot commit a batch; null when the last one committed
	Outage    *Failure  `json:"outage"`  // PostgreSQL does not answer it, even if there is nothing to apply
	Lost      *Loss     `json:"lost"`    // as in Reading
}

// Failure is a worker's trouble with PostgreSQL.
type Failure struct {
	Reason string    `json:"reason"` // fixed words, no address and no secret
	Cause  string    `json:"cause"`  // one of [Causes]
	Since  time.Time `json:"since"`
}

// Receiver is what a process that receives webhooks reports about itself.
type Receiver struct {
	Name        string    `json:"name"` // host and process
	Version     string    `json:"version"`
	StartedAt   time.Time `json:"started_at"`
	InstanceID  string    `json:"instance_id"`          // the Clerk instance whose events it takes; "" for all
	SilentAfter *float64  `json:"silent_after_seconds"` // CLERKSYNC_SILENT_AFTER; null: the limit is learned
	Refused     *Refused  `json:"refused"`              // null when the last delivery was taken
	Disk        *Disk     `json:"disk"`                 // of the embedded event log; null with an external one
	Probe       *Probe    `json:"probe"`                // the last scheduled probe; null when none was sent
}

// Refused counts the deliveries that were refused since the last one that was taken.
type Refused struct {
	Count    int       `json:"count"`
	Reason   string    `json:"reason"` // of the last one, as clerksync_refused_total counts it
	Since    time.Time `json:"since"`
	LastAt   time.Time `json:"last_at"`
	Fix      string    `json:"fix"`
	ClockOff float64   `json:"clock_off_seconds"` // how far this clock was ahead of the last one's timestamp, when that is the reason
}

// Disk is the disk of the embedded event log.
type Disk struct {
	Free    uint64 `json:"free_bytes"`
	Reserve uint64 `json:"reserve_bytes"` // with less free, every delivery is refused
}

// Probe is the result of the last scheduled probe.
type Probe struct {
	OK        bool      `json:"ok"`
	StoppedAt string    `json:"stopped_at"` // the hop, "" when ok
	Cause     string    `json:"cause"`
	Fix       string    `json:"fix"`
	Since     time.Time `json:"since"` // the first of the probes with this result
	At        time.Time `json:"at"`
}

// Roll is the answer to a roll call, sorted by name. A process that does not answer in
// time is missing.
type Roll struct {
	Workers   []Worker
	Receivers []Receiver
}

// Attend answers each [RollCall] with the result of self, until it is stopped or the log's
// connection is closed.
func Attend(log *eventlog.Log, self func() Process) (stop func(), err error) {
	sub, err := log.Conn().Subscribe(rollCallSubject, func(msg *nats.Msg) {
		if answer, err := json.Marshal(self()); err == nil && msg.Reply != "" {
			_ = msg.Respond(answer) // a lost answer leaves one process out of the roll
		}
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", rollCallSubject, err)
	}
	return func() { _ = sub.Unsubscribe() }, nil
}

// RollCall asks all processes.
func RollCall(log *eventlog.Log) (*Roll, error) {
	nc := log.Conn()
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("ask for workers: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.PublishRequest(rollCallSubject, inbox, nil); err != nil {
		return nil, fmt.Errorf("ask for workers: %w", err)
	}
	roll := &Roll{Workers: []Worker{}, Receivers: []Receiver{}}
	patience := rollCallTimeout
	for range maxProcesses {
		msg, err := sub.NextMsg(patience)
		if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrTimeout) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("ask for workers: %w", err)
		}
		patience = rollCallPause
		var p Process
		if json.Unmarshal(msg.Data, &p) != nil {
			continue
		}
		if p.Worker != nil {
			roll.Workers = append(roll.Workers, *p.Worker)
		}
		if p.Receiver != nil {
			roll.Receivers = append(roll.Receivers, *p.Receiver)
		}
	}
	slices.SortFunc(roll.Workers, func(a, b Worker) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(roll.Receivers, func(a, b Receiver) int { return strings.Compare(a.Name, b.Name) })
	return roll, nil
}

// Workers returns the workers of a [RollCall].
func Workers(log *eventlog.Log) ([]Worker, error) {
	roll, err := RollCall(log)
	if err != nil {
		return nil, err
	}
	return roll.Workers, nil
}
