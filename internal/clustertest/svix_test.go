package clustertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/signing"
	"github.com/clerksync/clerksync/internal/testkit"
)

const (
	senders        = 8
	usersPerSender = 5

	// sendEvery is the pace of a sender, and retryAfter when it sends a refused webhook again.
	// Svix waits 5 s, which would hide how long the service was away.
	sendEvery  = 30 * time.Millisecond
	retryAfter = 50 * time.Millisecond
)

// svix sends webhooks about changing users to several receivers, as Svix does through a load
// balancer: signed, and again until a receiver answers with 2xx.
type svix struct {
	t      testing.TB
	signer *signing.Signer
	began  int64 // ms
	stop   chan struct{}
	all    sync.WaitGroup

	mu        sync.Mutex
	receivers []*receiver
	newest    map[string]int64 // by user, the last version that was acknowledged
	ids       map[string]bool  // of all that were acknowledged
	busy      int              // answers 503
	refused   int              // connections
	broken    int              // connections that ended without an answer
	last      time.Time        // an acknowledgement
	gap       time.Duration    // the longest time without one
}

// receiver counts what one receiver acknowledged to the senders.
type receiver struct {
	endpoint     string
	acknowledged int
	tried        time.Time // the first attempt since the last acknowledgement; zero when there is none
	gap          time.Duration
}

// newSvix starts sending.
func newSvix(ctx context.Context, t testing.TB, endpoints ...string) *svix {
	t.Helper()
	signer, err := signing.NewSigner(secret)
	require.NoError(t, err)
	s := &svix{
		t: t, signer: signer, began: time.Now().UnixMilli(), stop: make(chan struct{}),
		newest: map[string]int64{}, ids: map[string]bool{}, last: time.Now(),
	}
	for _, e := range endpoints {
		s.receivers = append(s.receivers, &receiver{endpoint: e})
	}
	for n := range senders {
		s.all.Go(func() { s.send(ctx, n) })
	}
	t.Cleanup(s.finish)
	return s
}

// finish lets every webhook that was begun be acknowledged, and sends no more.
func (s *svix) finish() {
	s.mu.Lock()
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.mu.Unlock()
	s.all.Wait()
}

func (s *svix) send(ctx context.Context, n int) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: signing.Timeout}
	defer client.CloseIdleConnections()
	pace := time.NewTicker(sendEvery)
	defer pace.Stop()
	for version := int64(1); ; version++ {
		select {
		case <-s.stop:
			return
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		user := fmt.Sprintf("user_%dx%d", n, version%usersPerSender)
		id := fmt.Sprintf("msg_%dx%d", n, version)
		at := s.began + version
		body, err := json.Marshal(testkit.Object{
			"object": "event", "type": "user.updated", "timestamp": time.Now().UnixMilli(), "instance_id": "ins_test",
			"data": testkit.UserData(user, "", fmt.Sprint("version ", version), s.began, at),
		})
		if err != nil {
			s.t.Error(err)
			return
		}
		for attempt := n; !s.attempt(ctx, client, attempt, id, body); attempt++ {
			select {
			case <-ctx.Done():
				s.t.Errorf("%s was never acknowledged", id)
				return
			case <-time.After(retryAfter):
			}
		}
		s.mu.Lock()
		s.newest[user], s.ids[id] = at, true
		s.mu.Unlock()
	}
}

// attempt sends a webhook once and reports whether it was acknowledged.
func (s *svix) attempt(ctx context.Context, client *http.Client, attempt int, id string, body []byte) bool {
	began := time.Now()
	s.mu.Lock()
	r := s.receivers[(attempt+len(s.ids))%len(s.receivers)]
	endpoint := r.endpoint
	if r.tried.IsZero() {
		r.tried = began
	}
	s.mu.Unlock()
	req, err := s.signer.Request(ctx, endpoint, id, began, body)
	if err != nil {
		s.t.Error(err)
		return false
	}
	resp, err := client.Do(req)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			s.t.Errorf("no answer within %s", signing.Timeout)
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			s.refused++
		} else {
			s.broken++
		}
		return false
	}
	resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusNoContent:
		now := time.Now()
		if !r.tried.IsZero() { // otherwise another webhook was acknowledged meanwhile
			r.gap = max(r.gap, now.Sub(r.tried))
		}
		s.gap = max(s.gap, now.Sub(s.last))
		r.acknowledged++
		r.tried, s.last = time.Time{}, now
		return true
	case http.StatusServiceUnavailable:
		s.busy++
	default:
		s.t.Errorf("answered with %s", resp.Status)
	}
	return false
}

// replace has the webhooks go to another receiver.
func (s *svix) replace(endpoint, with string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range s.receivers {
		if r.endpoint == endpoint {
			s.receivers[i] = &receiver{endpoint: with}
		}
	}
}

// begin starts the measurement of a fault.
func (s *svix) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gap, s.last = 0, time.Now()
	for _, r := range s.receivers {
		r.gap, r.tried = 0, time.Time{}
	}
}

// gaps returns the longest time without an acknowledgement since begin: of all receivers
// together, and of the worst one.
func (s *svix) gaps() (all, worst time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.receivers {
		worst = max(worst, r.gap)
	}
	return s.gap, worst
}

// awaitService waits until every receiver has acknowledged some webhooks from now on.
func (s *svix) awaitService(ctx context.Context) {
	s.t.Helper()
	goals := map[*receiver]int{}
	s.mu.Lock()
	for _, r := range s.receivers {
		goals[r] = r.acknowledged + 50
	}
	s.mu.Unlock()
	await(ctx, s.t, "every receiver acknowledges webhooks", func() (bool, any) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, r := range s.receivers {
			if r.acknowledged < goals[r] {
				return false, fmt.Sprintf("%s: %d of %d, %d answers 503, %d refused, %d broken", r.endpoint, r.acknowledged, goals[r], s.busy, s.refused, s.broken)
			}
		}
		return true, nil
	})
}

// applied makes the database write down every version of a user that it gets.
func applied(ctx context.Context, t testing.TB, databaseURL string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(ctx, databaseURL)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	_, err = conn.Exec(ctx, `
		CREATE TABLE clerk.applied (clerk_id text, updated_at timestamptz, at timestamptz);
		CREATE FUNCTION clerk.note_applied() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			INSERT INTO clerk.applied VALUES (NEW.clerk_id, NEW.updated_at, clock_timestamp());
			RETURN NULL;
		END $$;
		CREATE TRIGGER note_applied AFTER INSERT OR UPDATE ON clerk.users FOR EACH ROW EXECUTE FUNCTION clerk.note_applied();`)
	require.NoError(t, err)
	return conn
}

// check waits until the tables have the newest acknowledged state of every user, and checks
// that no state was written twice, and that the log has every acknowledged webhook once.
func (s *svix) check(ctx context.Context, conn *pgx.Conn, natsURL string) {
	s.t.Helper()
	s.finish()
	require.False(s.t, s.t.Failed())
	finished := time.Now()
	await(ctx, s.t, "every user is up to date", func() (bool, any) {
		rows, _ := conn.Query(ctx, "SELECT clerk_id, (extract(epoch FROM updated_at) * 1000)::bigint FROM clerk.users WHERE clerk_id = ANY ($1)", slices.Collect(maps.Keys(s.newest)))
		found := map[string]int64{}
		var user string
		var at int64
		_, err := pgx.ForEachRow(rows, []any{&user, &at}, func() error { found[user] = at; return nil })
		if err != nil {
			return false, err
		}
		for user, at := range s.newest {
			if found[user] != at {
				return false, fmt.Sprintf("%s has %d, want %d", user, found[user], at)
			}
		}
		return true, nil
	})
	s.t.Logf("every user is up to date %s after the last webhook", time.Since(finished).Round(time.Millisecond))
	var twice int
	require.NoError(s.t, conn.QueryRow(ctx, "SELECT count(*) FROM (SELECT FROM clerk.applied GROUP BY clerk_id, updated_at HAVING count(*) > 1) AS twice").Scan(&twice))
	require.Zero(s.t, twice, "states that were written twice")
	var pause float64 // seconds
	require.NoError(s.t, conn.QueryRow(ctx, "SELECT extract(epoch FROM max(pause)) FROM (SELECT at - lag(at) OVER (ORDER BY at) AS pause FROM clerk.applied) AS pauses").Scan(&pause))

	nc, err := nats.Connect(natsURL)
	require.NoError(s.t, err)
	defer nc.Close()
	var log *eventlog.Log
	await(ctx, s.t, "the log is open", func() (bool, any) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		log, err = eventlog.Attach(ctx, nc, "")
		return err == nil, err
	})
	defer log.Close()
	stored := map[string]int{}
	// A node that has just come back can leave a reader without an answer, which it reports.
	await(ctx, s.t, "the log is read", func() (bool, any) {
		clear(stored)
		scan, err := log.Events(ctx, eventlog.Filter{}, false)
		if err == nil {
			err = scan.Each(ctx, func(m *eventlog.Message) error {
				if m.Event.Origin == clerk.OriginWebhook {
					stored[m.Event.ID]++
				}
				return nil
			})
		}
		return err == nil, err
	})
	for id, n := range stored {
		require.Equal(s.t, 1, n, id)
	}
	for id := range s.ids {
		require.Contains(s.t, stored, id)
	}
	s.t.Logf("%d webhooks acknowledged; %d answers 503, %d connections refused, %d broken; the longest time without a row written %.1f s",
		len(s.ids), s.busy, s.refused, s.broken, pause)
}
