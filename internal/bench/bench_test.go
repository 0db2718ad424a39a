package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/config"
	embeddednats "github.com/clerksync/clerksync/internal/embedded/nats"
	"github.com/clerksync/clerksync/internal/embedded/postgres"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/receiver"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/store/db"
)

// startNATS starts an embedded server and connects to it as serve does.
func startNATS(tb testing.TB, unsafe bool) (*embeddednats.Server, *eventlog.Log) {
	return startNATSIn(tb, tb.TempDir(), unsafe)
}

func startNATSIn(tb testing.TB, dir string, unsafe bool) (*embeddednats.Server, *eventlog.Log) {
	n, err := embeddednats.Start(tb.Context(), embeddednats.Options{Dir: dir})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(n.Stop)
	nc, err := n.Connect()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	o := eventlog.Options{Exclusive: true, StoreEvents: clerk.SyncedTypes()}
	if !unsafe {
		o.Sync = n.Sync
	}
	log, err := eventlog.Open(tb.Context(), nc, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(log.Close)
	return n, log
}

// startPostgres starts a server that writes with fsync, and makes the tables. The settings
// are switched on.
func startPostgres(tb testing.TB, settings ...string) *store.Store {
	dir, err := os.MkdirTemp("", "clerksync-bench-")
	if err != nil {
		tb.Fatal(err)
	}
	os.Chmod(dir, 0o755)
	tb.Cleanup(func() { os.RemoveAll(dir) })
	// Checkpoints fall into one side of a comparison or the other.
	all := map[string]string{"max_wal_size": "8GB", "checkpoint_timeout": "1h"}
	for _, name := range settings {
		all[name] = "on"
	}
	pg, err := postgres.Start(tb.Context(), postgres.Options{
		Dir: filepath.Join(dir, "pg"), Install: true, BinDir: os.Getenv("CLERKSYNC_PG_BIN"), Settings: all,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { pg.Stop(context.Background()) })
	st, err := store.Open(tb.Context(), store.Options{URL: pg.URL("postgres"), Schema: config.Default().Schema, MaxConns: 8})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(st.Close)
	if _, err := st.Migrate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return st
}

func newReceiver(tb testing.TB, log receiver.Log) *receiver.Receiver {
	r, err := receiver.New(receiver.Options{Secrets: []string{secret}, Log: log})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// singleLog publishes each event on its own.
type singleLog struct{ js jetstream.JetStream }

func (l singleLog) Append(ctx context.Context, e *clerk.Event) (eventlog.Stored, error) {
	ack, err := l.js.PublishMsg(ctx, &nats.Msg{
		Subject: e.Envelope.Subject(eventlog.Subject),
		Header: nats.Header{
			jetstream.MsgIDHeader: {e.ID}, "Svix-Id": {e.ID}, "Svix-Timestamp": {e.Timestamp}, "Svix-Signature": {e.Signature},
			"Clerksync-Received-At": {e.ReceivedAt.Format(time.RFC3339Nano)}, "Clerksync-Event-At": {time.UnixMilli(e.Envelope.EventAt).Format(time.RFC3339Nano)},
			"Clerksync-Origin": {string(e.Origin)},
		},
		Data: e.Body,
	})
	if err != nil {
		return eventlog.Stored{}, err
	}
	return eventlog.Stored{Seq: ack.Sequence}, nil
}

func (l singleLog) Park(context.Context, *clerk.Event, eventlog.Death) error { panic("not expected") }

// rounds measures a and b alternately, against drift of the machine, and reports the
// medians and their ratio.
func rounds(b *testing.B, n int, names [2]string, f [2]func(round int) time.Duration) {
	var rates [2][]float64
	for round := range max(b.N, 5) {
		for side := range 2 {
			rates[side] = append(rates[side], float64(n)/f[side](round).Seconds())
		}
	}
	for side := range 2 {
		slices.Sort(rates[side])
		b.ReportMetric(rates[side][len(rates[side])/2], names[side]+"/s")
	}
	b.ReportMetric(rates[0][len(rates[0])/2]/rates[1][len(rates[1])/2], "ratio")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkReceiver: fsync before every answer, against the same handler that
// publishes singly to a server that leaves writing to the system.
func BenchmarkReceiver(b *testing.B) {
	const n = 12800
	_, log := startNATS(b, false)
	safe := serve(b, newReceiver(b, log))
	server, _ := startNATS(b, true)
	nc, err := server.Connect()
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	bare := serve(b, newReceiver(b, singleLog{js}))
	rounds(b, n, [2]string{"fsync", "no-fsync"}, [2]func(int) time.Duration{
		func(round int) time.Duration { return post(b, safe, requests(b, fmt.Sprintf("A%d", round), n)) },
		func(round int) time.Duration { return post(b, bare, requests(b, fmt.Sprintf("B%d", round), n)) },
	})
}

// BenchmarkDrain: the projector on a backlog, against a bare bulk upsert of the same rows.
func BenchmarkDrain(b *testing.B) {
	const n = 100_000
	st := startPostgres(b)
	rounds(b, n, [2]string{"projector", "bare"}, [2]func(int) time.Duration{
		func(int) time.Duration {
			truncate(b, st)
			_, log := startNATS(b, true)
			for start := 0; start < n; start += 5000 {
				fill(b, log, start, 5000)
			}
			return drain(b, log, st, n, prometheus.NewRegistry())
		},
		func(int) time.Duration {
			truncate(b, st)
			took, _ := bareUpsert(b, st, n, generated(b))
			return took
		},
	})
}

// fill stores events i..i+n.
func fill(b *testing.B, log *eventlog.Log, i, n int) {
	errs := make(chan error, n)
	for k := range n {
		go func() {
			data := body("D", i+k)
			e := &clerk.Event{ID: fmt.Sprintf("msg_%09d", i+k), ReceivedAt: time.Now(), Origin: clerk.OriginWebhook, Body: data}
			e.Envelope, _ = clerk.ParseEnvelope(data)
			_, err := log.Append(context.Background(), e)
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
}

func newProjector(log *eventlog.Log, st *store.Store, registry prometheus.Registerer) *projector.Projector {
	c := config.Default()
	return projector.New(projector.Options{Log: log, Apply: st.Apply, Registry: registry, Appliers: c.Appliers, Batch: c.Batch})
}

func drain(b *testing.B, log *eventlog.Log, st *store.Store, n int, registry prometheus.Registerer) time.Duration {
	p := newProjector(log, st, registry)
	started := time.Now()
	p.Start()
	awaitApplied(b, log, st.Pool(), n)
	took := time.Since(started)
	if err := p.Stop(context.Background()); err != nil {
		b.Fatal(err)
	}
	return took
}

// awaitApplied waits until nothing is pending and checks that there are n users. It polls
// the log: counting rows would be most of the work.
func awaitApplied(b *testing.B, log *eventlog.Log, pool *pgxpool.Pool, n int) {
	limit := max(2*time.Minute, time.Duration(n)*3*time.Millisecond)
	deadline := time.After(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		backlog, err := log.Backlog(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		var count int
		if backlog.Pending == 0 { // the server counts after it acknowledges
			if err := pool.QueryRow(context.Background(), "SELECT count(*) FROM users").Scan(&count); err != nil {
				b.Fatal(err)
			}
		}
		if count == n {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			b.Fatalf("%d events pending, %d rows of %d after %s", backlog.Pending, count, n, limit)
		}
	}
}

func truncate(b *testing.B, st *store.Store) {
	if _, err := st.Pool().Exec(context.Background(), "TRUNCATE users, organizations, org_memberships, seats, entity_heads"); err != nil {
		b.Fatal(err)
	}
	if _, err := st.Pool().Exec(context.Background(), "CHECKPOINT"); err != nil {
		b.Fatal(err)
	}
}

// rows returns the states of the users from..to, from 0.
type rows func(from, to int) []*clerk.Change

// generated are the users of fill.
func generated(b *testing.B) rows {
	return func(from, to int) (all []*clerk.Change) {
		for i := from; i < to; i++ {
			c, err := clerk.ParseChange(&clerk.Event{ID: "msg_1", Body: body("D", i)})
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, c)
		}
		return all
	}
}

// bareUpsert writes the rows of n users with the statement that the store uses,
// 500 a statement, one connection, and nothing else: no heads, no claims to
// addresses, nothing read, decoded or acknowledged. It returns how long that took, and the
// processor time, with that of PostgreSQL.
//
// The rows are built in chunks to bound memory, outside of the measured time.
func bareUpsert(b *testing.B, st *store.Store, n int, of rows) (took, used time.Duration) {
	const stretch, batch = 50_000, 500
	for from := 0; from < n; from += stretch {
		var batches []*db.UserUpsertManyParams
		for i := from; i < min(from+stretch, n); i += batch {
			batches = append(batches, bareParams(of(i, i+batch)))
		}
		before, started := processorTime(b), time.Now()
		for _, p := range batches {
			if err := db.New().UserUpsertMany(context.Background(), st.Pool(), p); err != nil {
				b.Fatal(err)
			}
		}
		took += time.Since(started)
		used += processorTime(b) - before
	}
	return took, used
}

func bareParams(users []*clerk.Change) *db.UserUpsertManyParams {
	p := &db.UserUpsertManyParams{}
	for _, c := range users {
		u := c.User
		p.ID = append(p.ID, clerk.UUID(c.ID))
		p.ClerkID = append(p.ClerkID, c.ID)
		p.Email, p.EmailRank = append(p.Email, u.PrimaryEmail), append(p.EmailRank, "")
		p.PrimaryEmail = append(p.PrimaryEmail, u.PrimaryEmail)
		p.EmailVerified = append(p.EmailVerified, u.EmailVerified)
		p.FirstName = append(p.FirstName, u.FirstName)
		p.LastName = append(p.LastName, u.LastName)
		p.Username = append(p.Username, u.Username)
		p.PhoneNumber = append(p.PhoneNumber, u.PhoneNumber)
		p.ImageUrl = append(p.ImageUrl, u.ImageURL)
		p.ExternalID = append(p.ExternalID, u.ExternalID)
		p.PublicMetadata = append(p.PublicMetadata, json.RawMessage(u.PublicMetadata))
		p.Banned = append(p.Banned, u.Banned)
		p.Locked = append(p.Locked, u.Locked)
		p.Deprovisioned = append(p.Deprovisioned, u.Deprovisioned)
		p.LastSignInAt = append(p.LastSignInAt, time.UnixMilli(u.LastSignInAt))
		p.Raw = append(p.Raw, json.RawMessage(u.Raw))
		p.CreatedAt = append(p.CreatedAt, time.UnixMilli(u.CreatedAt))
		p.UpdatedAt = append(p.UpdatedAt, time.UnixMilli(u.UpdatedAt))
		p.DeletedAt = append(p.DeletedAt, time.UnixMilli(0))
	}
	return p
}

// bareHandler is the usual handler: verify, upsert one row, answer.
type bareHandler struct {
	webhook *svix.Webhook
	pool    *pgxpool.Pool
}

func (h bareHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil || h.webhook.Verify(data, r.Header) != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var e struct {
		Data struct {
			ID                    string `json:"id"`
			FirstName             string `json:"first_name"`
			LastName              string `json:"last_name"`
			ImageURL              string `json:"image_url"`
			PrimaryEmailAddressID string `json:"primary_email_address_id"`
			EmailAddresses        []struct {
				ID           string `json:"id"`
				EmailAddress string `json:"email_address"`
			} `json:"email_addresses"`
			CreatedAt int64 `json:"created_at"`
			UpdatedAt int64 `json:"updated_at"`
		} `json:"data"`
		Raw json.RawMessage `json:"-"`
	}
	if err := json.Unmarshal(data, &e); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	u := e.Data
	_, err = h.pool.Exec(r.Context(), `
		INSERT INTO users (id, clerk_id, email, primary_email, email_verified, name, first_name, last_name, image_url, raw, created_at, updated_at)
		VALUES ($1, $2, $3, $3, true, $4, $5, $6, $7, $8::jsonb -> 'data', $9, $10)
		ON CONFLICT (clerk_id) DO UPDATE SET email = excluded.email, primary_email = excluded.primary_email, name = excluded.name,
			first_name = excluded.first_name, last_name = excluded.last_name, image_url = excluded.image_url, raw = excluded.raw,
			updated_at = excluded.updated_at`,
		clerk.UUID(u.ID), u.ID, u.EmailAddresses[0].EmailAddress, u.FirstName+" "+u.LastName, u.FirstName, u.LastName, u.ImageURL,
		string(data), time.UnixMilli(u.CreatedAt), time.UnixMilli(u.UpdatedAt))
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// BenchmarkEndToEnd: webhooks at full load until the last row is visible, against
// the bare handler. PostgreSQL and the load are part of both.
func BenchmarkEndToEnd(b *testing.B) {
	const n = 12800
	st := startPostgres(b)
	_, log := startNATS(b, false)
	addr := serve(b, newReceiver(b, log))
	p := newProjector(log, st, prometheus.NewRegistry())
	p.Start()
	defer p.Stop(context.Background())

	webhook, err := svix.NewWebhook(secret)
	if err != nil {
		b.Fatal(err)
	}
	config := st.Pool().Config()
	config.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	bare := serve(b, bareHandler{webhook, pool})

	var used [2]time.Duration
	runs := 0
	rounds(b, n, [2]string{"clerksync", "bare"}, [2]func(int) time.Duration{
		func(round int) time.Duration {
			truncate(b, st)
			all := requests(b, fmt.Sprintf("C%d", round), n)
			before := processorTime(b)
			started := time.Now()
			post(b, addr, all)
			awaitApplied(b, log, st.Pool(), n)
			took := time.Since(started)
			used[0] += processorTime(b) - before
			runs++
			return took
		},
		func(round int) time.Duration {
			truncate(b, st)
			all := requests(b, fmt.Sprintf("E%d", round), n)
			before := processorTime(b)
			took := post(b, bare, all)
			used[1] += processorTime(b) - before
			return took
		},
	})
	events := float64(runs * n)
	b.ReportMetric(used[0].Seconds()*1e6/events, "clerksync-cpu-µs/event")
	b.ReportMetric(used[1].Seconds()*1e6/events, "bare-cpu-µs/event")
	b.ReportMetric(used[0].Seconds()/used[1].Seconds(), "cpu-ratio")
}

// BenchmarkLoneEvent: from sending a webhook until the row is visible, on an idle system.
func BenchmarkLoneEvent(b *testing.B) {
	st := startPostgres(b)
	_, log := startNATS(b, false)
	addr := serve(b, newReceiver(b, log))
	p := newProjector(log, st, prometheus.NewRegistry())
	p.Start()
	defer p.Stop(context.Background())
	n := max(b.N, 300)
	all := requests(b, "L", n)
	took := make([]time.Duration, n)
	for i := range all {
		started := time.Now()
		if err := postAll(addr, all[i:i+1]); err != nil {
			b.Fatal(err)
		}
		awaitUser(b, st, fmt.Sprintf("user_L%09d", i))
		took[i] = time.Since(started)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[n/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[n*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(0, "ns/op")
}
