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

// workersSubject is where workers answer roll calls. No stream covers it.
const workersSubject = "clerk.workers"

const (
	// A roll call waits rollCallTimeout for the first answer and rollCallPause for each
	// further one: the number of workers is unknown. With no subscriber at all, the
	// server answers at once.
	rollCallTimeout = 500 * time.Millisecond
	rollCallPause   = 100 * time.Millisecond

	// maxWorkers bounds the answers read.
	maxWorkers = 256
)

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
}

// Failure is a worker's trouble with PostgreSQL.
type Failure struct {
	Reason string    `json:"reason"` // fixed words, no address and no secret
	Since  time.Time `json:"since"`
}

// Attend answers each roll call of [Workers] with the result of self, until it is stopped
// or the log's connection is closed.
func Attend(log *eventlog.Log, self func() Worker) (stop func(), err error) {
	sub, err := log.Conn().Subscribe(workersSubject, func(msg *nats.Msg) {
		if answer, err := json.Marshal(self()); err == nil && msg.Reply != "" {
			_ = msg.Respond(answer) // a lost answer leaves one worker out of the list
		}
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", workersSubject, err)
	}
	return func() { _ = sub.Unsubscribe() }, nil
}

// Workers returns all workers, of every process, sorted by name. A worker that does not
// answer in time is missing.
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
