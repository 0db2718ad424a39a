package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/fakeclerk"
	"github.com/clerksync/clerksync/internal/store"
)

// BenchmarkBackfill: see backfilling.measure.
func BenchmarkBackfill(b *testing.B) { newBackfilling(b, 50_000).measure(max(b.N, 3)) }

// BenchmarkMillionUsers is BenchmarkBackfill with a million users, once.
func BenchmarkMillionUsers(b *testing.B) { newBackfilling(b, million).measure(1) }

// clerkUsers is the environment variable that makes this test binary a Clerk with so many
// users.
const clerkUsers = "CLERKSYNC_BENCH_CLERK_USERS"

func TestMain(m *testing.M) {
	if n, err := strconv.Atoi(os.Getenv(clerkUsers)); err == nil {
		serveClerk(n)
		return
	}
	if database := os.Getenv(thinHandler); database != "" {
		if err := serveThin(database); err != nil {
			log.Fatal(err)
		}
		return
	}
	os.Exit(m.Run())
}

func newClerk(users int) *fakeclerk.Clerk {
	c := fakeclerk.New(fakeclerk.Options{Seed: 1, Bulk: users})
	c.SetTraps(fakeclerk.Traps{Unlimited: true})
	return c
}

// serveClerk serves the Backend API until its input ends.
func serveClerk(users int) {
	api := httptest.NewServer(newClerk(users))
	fmt.Println(api.URL)
	io.Copy(io.Discard, os.Stdin)
}

// backfilling is a Clerk in a process of its own, and the program.
type backfilling struct {
	*testing.B
	n         int
	st        *store.Store
	program   string
	clerk     *fakeclerk.Clerk // the same as in the process
	url       string
	clerkTime func() time.Duration // the processor time of that process

	rates, used map[string][]float64 // of each round, users per second and µs per user
	peak        float64
}

func newBackfilling(b *testing.B, n int) *backfilling {
	f := &backfilling{
		B: b, n: n, st: startPostgres(b), program: build(b, b.TempDir()), clerk: newClerk(n),
		rates: map[string][]float64{}, used: map[string][]float64{},
	}
	url, pid := startPeer(b, clerkUsers+"="+strconv.Itoa(n))
	f.url, f.clerkTime = url, func() time.Duration { return timeOf(b, pid) }
	return f
}

// startPeer starts this test binary as what env makes it, a server that prints its URL and
// runs until its input ends.
func startPeer(b *testing.B, env string) (url string, pid int) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line), cmd.Process.Pid
}

// measure measures, in each round:
//
//   - backfill: a clerksync backfill process beside a worker, from its start until the last
//     row is there; published: until it ended, while the worker was at it;
//   - drain: the worker on the log that the backfill filled, with empty tables again;
//   - bare: a bare bulk upsert of the same rows.
//
// Everything shares the cores of one machine, which are busy all the time, and Clerk has a
// part of them, that in production is somewhere else. So the rate of the drain, which has
// the cores for itself, cannot be reached: the processor time of a user says what bounds
// it. drain-cpu-share is that of the drain, as a part of that of the backfill without
// Clerk: without Clerk on the same cores, so much of the drain's rate would be reached.
func (f *backfilling) measure(rounds int) {
	for range rounds {
		truncate(f.B, f.st)
		dir := filepath.Join(f.TempDir(), "nats")
		server, log := startNATSIn(f.B, dir, false)
		f.together(server.URL(), log)
		truncate(f.B, f.st)
		f.drainAgain(log)
		log.Close()
		server.Stop()
		if err := os.RemoveAll(dir); err != nil {
			f.Fatal(err)
		}
		truncate(f.B, f.st)
		took, used := bareUpsert(f.B, f.st, f.n, f.users)
		f.rate("bare", took)
		f.cpu("bare", used)
	}
	for name, rates := range f.rates {
		f.ReportMetric(median(rates), name+"/s")
	}
	for name, used := range f.used {
		f.ReportMetric(median(used), name+"-cpu-µs")
	}
	f.ReportMetric(median(f.rates["backfill"])/median(f.rates["bare"]), "ratio")
	f.ReportMetric(median(f.rates["backfill"])/median(f.rates["drain"]), "drain-ratio")
	f.ReportMetric(median(f.used["drain"])/median(f.used["all"]), "drain-cpu-share")
	f.ReportMetric(f.peak, "peak-MB")
	f.ReportMetric(0, "ns/op")
}

func (f *backfilling) rate(name string, took time.Duration) {
	f.rates[name] = append(f.rates[name], float64(f.n)/took.Seconds())
}

func (f *backfilling) cpu(name string, used time.Duration) {
	f.used[name] = append(f.used[name], float64(used.Microseconds())/float64(f.n))
}

func (f *backfilling) together(url string, log *eventlog.Log) {
	p := newProjector(log, f.st, prometheus.NewRegistry())
	p.Start()
	all, clerk, own, started := processorTime(f.B), f.clerkTime(), timeOf(f.B, os.Getpid()), time.Now()
	process := f.backfill(url)
	f.rate("published", time.Since(started))
	awaitApplied(f.B, log, f.st.Pool(), f.n)
	f.rate("backfill", time.Since(started))
	all, clerk, own = processorTime(f.B)-all, f.clerkTime()-clerk, timeOf(f.B, os.Getpid())-own
	f.cpu("process", process)
	f.cpu("clerk", clerk)
	f.cpu("worker", own) // with the embedded NATS server
	f.cpu("postgres", all-own-clerk)
	f.cpu("all", all-clerk+process)
	if err := p.Stop(context.Background()); err != nil {
		f.Fatal(err)
	}
}

// drainAgain applies the events of a log once more, from the first on.
func (f *backfilling) drainAgain(log *eventlog.Log) {
	js, err := jetstream.New(log.Conn())
	if err != nil {
		f.Fatal(err)
	}
	if err := js.DeleteConsumer(f.Context(), eventlog.Stream, eventlog.ConsumerName); err != nil {
		f.Fatal(err)
	}
	before := processorTime(f.B)
	f.rate("drain", drain(f.B, log, f.st, f.n, prometheus.NewRegistry()))
	f.cpu("drain", processorTime(f.B)-before)
}

// backfill runs the program, and returns its processor time.
func (f *backfilling) backfill(url string) time.Duration {
	cmd := exec.Command(f.program, "backfill", "--json", "--rate", "1000000")
	cmd.Env = append(os.Environ(), "NATS_URL="+url, "DATABASE_URL="+f.st.Pool().Config().ConnString(),
		"CLERK_API_URL="+f.url, "CLERK_SECRET_KEY="+f.clerk.SecretKey())
	out, mb := watched(f.B, cmd)
	f.peak = max(f.peak, mb)
	var result struct {
		Users    int  `json:"users"`
		Complete bool `json:"complete"`
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil || !result.Complete || result.Users != f.n {
		f.Fatalf("%s: %v", out, err)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// users returns the rows of users, from their snapshots.
func (f *backfilling) users(from, to int) (all []*clerk.Change) {
	page := httptest.NewRequest(http.MethodGet, "/v1/users?"+url.Values{
		"order_by": {"+created_at"}, "offset": {strconv.Itoa(from)}, "limit": {strconv.Itoa(to - from)},
	}.Encode(), nil)
	page.Header.Set("Authorization", "Bearer "+f.clerk.SecretKey())
	answer := httptest.NewRecorder()
	f.clerk.ServeHTTP(answer, page)
	var users []json.RawMessage
	if err := json.Unmarshal(answer.Body.Bytes(), &users); err != nil {
		f.Fatal(err)
	}
	for _, data := range users {
		s, err := clerk.NewSnapshot(clerk.KindUser, data, f.clerk.InstanceID(), clerk.OriginBackfill, time.Now())
		if err != nil {
			f.Fatal(err)
		}
		c, err := clerk.ParseChange(s.Event)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}
