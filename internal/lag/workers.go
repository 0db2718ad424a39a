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

// workersSubject is where those who apply events answer for themselves. It is beside
// the subjects of the streams, and nothing on it is stored.
const workersSubject = "clerk.workers"

const (
	// rollCallTimeout is how long the first answer is waited for, and rollCallPause every
	// further one: nobody says how many there will be. When nobody listens, the server
	// says so at once.
	rollCallTimeout = 500 * time.Millisecond
	rollCallPause   = 100 * time.Millisecond

	// maxWorkers bounds what is read of the answers.
	maxWorkers = 256
)

// Worker is a process that applies events, as it says of itself.
type Worker struct {
	Name      string    `json:"name"` // host and process
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	Appliers  int       `json:"appliers"`
	Busy      int       `json:"appliers_busy"`
	Applied   uint64    `json:"applied"` // events settled since its start
	Failing   *Failure  `json:"failing"` // it gets no batch in; null when the last one got in
	Outage    *Failure  `json:"outage"`  // PostgreSQL does not answer it, whether or not there is something to apply
}

// Failure is what is wrong with PostgreSQL for a worker.
type Failure struct {
	Reason string    `json:"reason"` // fixed words, no address and no secret
	Since  time.Time `json:"since"`
}

// Attend answers every call of [Workers] with what self returns, until it is stopped or
// the connection of the log is closed.
func Attend(log *eventlog.Log, self func() Worker) (stop func(), err error) {
	sub, err := log.Conn().Subscribe(workersSubject, func(msg *nats.Msg) {
		if answer, err := json.Marshal(self()); err == nil && msg.Reply != "" {
			_ = msg.Respond(answer) // without it, one worker is missing in the list
		}
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", workersSubject, err)
	}
	return func() { _ = sub.Unsubscribe() }, nil
}

// Workers asks all workers how they are, of this and of other processes, in the order
// of their names. One that does not answer in time is missing.
func Workers(log *eventlog.Log) ([]Worker, error) {
	nc := log.Conn()
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("ask for workers: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.PublishRequest(workersSubject, inbox, nil); err != nil {
		return nil, fmt.Errorf("ask for workers: %w", err)
	}
	workers := []Worker{}
	for patience := rollCallTimeout; len(workers) < maxWorkers; patience = rollCallPause {
		msg, err := sub.NextMsg(patience)
		if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrTimeout) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("ask for workers: %w", err)
		}
		var w Worker
		if json.Unmarshal(msg.Data, &w) == nil {
			workers = append(workers, w)
		}
	}
	slices.SortFunc(workers, func(a, b Worker) int { return strings.Compare(a.Name, b.Name) })
	return workers, nil
}
