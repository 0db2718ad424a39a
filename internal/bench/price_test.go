package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	svix "github.com/svix/svix-webhooks/go"
)

// BenchmarkPrice: what an event costs with clerksync serve and with a bare handler that
// verifies and upserts one thin row per request, each a process of its own beside the same
// PostgreSQL. The processor time is that of the process and of PostgreSQL.
func BenchmarkPrice(b *testing.B) {
	b.Run("full-load", func(b *testing.B) { newPrice(b).fullLoad(20_000) })
	b.Run("1000-per-second", func(b *testing.B) { newPrice(b).steady(1000, 10_000) })
	b.Run("20-per-second", func(b *testing.B) { newPrice(b).steady(20, 200) })
}

// thinHandler is the environment variable that makes this test binary the bare handler, and
// names its database.
const thinHandler = "CLERKSYNC_BENCH_THIN_HANDLER"

const thinTable = `CREATE TABLE clerk.thin (
	id text PRIMARY KEY, email text, email_verified boolean, name text, first_name text, last_name text, image_url text, username text,
	created_at timestamptz, updated_at timestamptz)`

// serveThin is the usual handler, in its leanest form, until its input ends.
func serveThin(database string) error {
	webhook, err := svix.NewWebhook(secret)
	if err != nil {
		return err
	}
	config, err := pgxpool.ParseConfig(database)
	if err != nil {
		return err
	}
	config.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return err
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil || webhook.Verify(data, r.Header) != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var e struct {
			Data struct {
				ID             string
				FirstName      string `json:"first_name"`
				LastName       string `json:"last_name"`
				Username       *string
				ImageURL       string `json:"image_url"`
				EmailAddresses []struct {
					EmailAddress string `json:"email_address"`
				} `json:"email_addresses"`
				CreatedAt int64 `json:"created_at"`
				UpdatedAt int64 `json:"updated_at"`
			}
		}
		if err := json.Unmarshal(data, &e); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		u := e.Data
		if _, err = pool.Exec(r.Context(), `
			INSERT INTO clerk.thin VALUES ($1, $2, true, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (id) DO UPDATE SET email = excluded.email, name = excluded.name, first_name = excluded.first_name,
				last_name = excluded.last_name, image_url = excluded.image_url, username = excluded.username, updated_at = excluded.updated_at`,
			u.ID, u.EmailAddresses[0].EmailAddress, u.FirstName+" "+u.LastName, u.FirstName, u.LastName, u.ImageURL, u.Username,
			time.UnixMilli(u.CreatedAt), time.UnixMilli(u.UpdatedAt)); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	fmt.Println(server.URL)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// price compares two ways from a webhook to a row.
type price struct {
	*testing.B
	pool  *pgxpool.Pool
	sides [2]way

	postmaster int
	poller     *pgx.Conn // its processor time does not count
}

type way struct {
	name, addr string
	pid        int
	count      string // of rows
	committed  string // when each row was
}

func newPrice(b *testing.B) *price {
	st := startPostgres(b, "track_commit_timestamp")
	database := st.Pool().Config().ConnConfig.ConnString()
	p := &price{B: b, pool: st.Pool()}
	if _, err := p.pool.Exec(b.Context(), thinTable); err != nil {
		b.Fatal(err)
	}
	var dir string
	if err := p.pool.QueryRow(b.Context(), "SHOW data_directory").Scan(&dir); err != nil {
		b.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := fmt.Sscan(string(file), &p.postmaster); err != nil {
		b.Fatal(err)
	}
	if p.poller, err = pgx.ConnectConfig(b.Context(), st.Pool().Config().ConnConfig.Copy()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.poller.Close(context.Background()) })
	p.sides[0] = serveProgram(b, database)

	thin, pid := startPeer(b, thinHandler+"="+database)
	p.sides[1] = way{
		"bare", strings.TrimPrefix(thin, "http://"), pid,
		"SELECT count(*) FROM clerk.thin", "SELECT id, pg_xact_commit_timestamp(xmin) FROM clerk.thin",
	}
	return p
}

// serveProgram starts clerksync serve with the embedded event log.
func serveProgram(b *testing.B, database string) way {
	dir := b.TempDir()
	data := filepath.Join(dir, "data")
	serve := exec.Command(build(b, dir), "serve", "--migrate")
	serve.Env = append(os.Environ(), "CLERK_WEBHOOK_SIGNING_SECRET="+secret, "CLERKSYNC_ADDR=127.0.0.1:0", "CLERKSYNC_ADMIN_ADDR=127.0.0.1:0",
		"CLERKSYNC_DATA_DIR="+data, "DATABASE_URL="+database)
	serve.Stderr = os.Stderr
	if err := serve.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- serve.Wait() }()
	b.Cleanup(func() {
		serve.Process.Signal(syscall.SIGTERM)
		<-ended
	})
	var running struct{ Endpoint string }
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	for running.Endpoint == "" {
		file, err := os.ReadFile(filepath.Join(data, "running.json"))
		if err == nil {
			err = json.Unmarshal(file, &running)
		}
		select {
		case e := <-ended:
			b.Fatalf("serve ended: %v", e)
		case <-ctx.Done():
			b.Fatalf("serve is not ready: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	endpoint, err := url.Parse(running.Endpoint)
	if err != nil {
		b.Fatal(err)
	}
	return way{"clerksync", endpoint.Host, serve.Process.Pid, "SELECT count(*) FROM clerk.users", "SELECT clerk_id, pg_xact_commit_timestamp(xmin) FROM clerk.users"}
}

// cost is the processor time of a side's process, and of PostgreSQL.
func (p *price) cost(s way) (process, postgres time.Duration) {
	return timeOf(p, s.pid), treeTime(p, p.postmaster) - timeOf(p, int(p.poller.PgConn().PID()))
}

// each runs f for both sides in turns, five rounds, and reports the processor time.
func (p *price) each(n int, f func(s way, prefix string, all [][]byte)) {
	st := p.pool
	var process, postgres [2][]float64
	for round := range max(p.N, 5) {
		for k := range 2 {
			i := (round + k) % 2
			if _, err := st.Exec(p.Context(), "TRUNCATE clerk.users, clerk.organizations, clerk.org_memberships, clerk.seats, clerk.entity_heads, clerk.thin"); err != nil {
				p.Fatal(err)
			}
			if _, err := st.Exec(p.Context(), "CHECKPOINT"); err != nil {
				p.Fatal(err)
			}
			prefix := fmt.Sprintf("P%d%d", i, round)
			all := requests(p, prefix, n)
			process0, postgres0 := p.cost(p.sides[i])
			f(p.sides[i], prefix, all)
			process1, postgres1 := p.cost(p.sides[i])
			process[i] = append(process[i], (process1-process0).Seconds()*1e6/float64(n))
			postgres[i] = append(postgres[i], (postgres1-postgres0).Seconds()*1e6/float64(n))
		}
	}
	var all [2]float64
	for i, s := range p.sides {
		all[i] = median(process[i]) + median(postgres[i])
		p.ReportMetric(median(process[i]), s.name+"-process-cpu-µs")
		p.ReportMetric(median(postgres[i]), s.name+"-postgres-cpu-µs")
		peak, err := resident(s.pid)
		if err != nil {
			p.Fatal(err)
		}
		p.ReportMetric(peak, s.name+"-peak-MB")
	}
	p.ReportMetric(all[0]/all[1], "cpu-ratio")
	p.ReportMetric(0, "ns/op")
}

// fullLoad posts n events as fast as 64 connections take them, until every row is visible.
func (p *price) fullLoad(n int) {
	rates := map[string][]float64{}
	p.each(n, func(s way, _ string, all [][]byte) {
		started := time.Now()
		post(p, s.addr, all)
		p.await(s, n)
		rates[s.name] = append(rates[s.name], float64(n)/time.Since(started).Seconds())
	})
	for _, s := range p.sides {
		p.ReportMetric(median(rates[s.name]), s.name+"/s")
	}
	p.ReportMetric(median(rates[p.sides[0].name])/median(rates[p.sides[1].name]), "ratio")
}

// steady sends n events at a rate, whatever the answers take, and measures from the moment
// at which each was to be sent until the commit of its row, by PostgreSQL's clock, which is
// this machine's. Nobody polls, which would take more of the two cores than either side. The
// flush of the commit, which follows, is not in it.
func (p *price) steady(rate, n int) {
	var took [2][2][]float64 // p50 and p99 by side
	p.each(n, func(s way, prefix string, all [][]byte) {
		var taken atomic.Int64
		began := time.Now().Add(10 * time.Millisecond)
		due := func(i int) time.Time { return began.Add(time.Duration(i) * time.Second / time.Duration(rate)) }
		var senders sync.WaitGroup
		for range connections {
			senders.Go(func() {
				if err := p.sendDue(s.addr, all, &taken, due); err != nil {
					p.Error(err)
				}
			})
		}
		senders.Wait()
		if p.Failed() {
			p.FailNow()
		}
		p.await(s, n)
		rows, err := p.poller.Query(p.Context(), s.committed)
		if err != nil {
			p.Fatal(err)
		}
		var id string
		var at time.Time
		var lags []float64
		if _, err := pgx.ForEachRow(rows, []any{&id, &at}, func() error {
			i, err := strconv.Atoi(strings.TrimPrefix(id, "user_"+prefix))
			lags = append(lags, at.Sub(due(i)).Seconds()*1000)
			return err
		}); err != nil {
			p.Fatal(err)
		}
		slices.Sort(lags)
		i := 0
		if s.name != p.sides[0].name {
			i = 1
		}
		took[i][0] = append(took[i][0], lags[n/2])
		took[i][1] = append(took[i][1], lags[n*99/100])
	})
	for i, s := range p.sides {
		p.ReportMetric(median(took[i][0]), s.name+"-p50-ms")
		p.ReportMetric(median(took[i][1]), s.name+"-p99-ms")
	}
}

// await waits until n rows are there.
func (p *price) await(s way, n int) {
	for count := 0; count < n; {
		if err := p.poller.QueryRow(p.Context(), s.count).Scan(&count); err != nil {
			p.Fatal(err)
		}
	}
}

// sendDue sends requests when they are due, over one connection. Each connection takes the
// next one from the same counter.
func (p *price) sendDue(addr string, all [][]byte, taken *atomic.Int64, due func(int) time.Time) error {
	conn, err := dial(addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	for {
		i := int(taken.Add(1)) - 1
		if i >= len(all) {
			return nil
		}
		time.Sleep(time.Until(due(i)))
		if err := conn.post(all[i]); err != nil {
			return err
		}
	}
}
