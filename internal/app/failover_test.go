package app_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/embedded/postgres"
	"github.com/clerksync/clerksync/internal/testkit"
)

// pair is a primary and a streaming standby.
type pair struct {
	t               *testing.T
	dir             string
	primary         *postgres.Server
	standby         *postgres.Server
	replication     *testkit.Proxy // between the two
	password, hosts string
}

func newPair(t *testing.T) *pair {
	t.Helper()
	dir, err := os.MkdirTemp("", "clerksync-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o777)) // PostgreSQL does not run as root
	p := &pair{t: t, dir: dir}
	p.primary = p.start("primary")
	u, err := url.Parse(p.primary.URL("postgres"))
	require.NoError(t, err)
	p.password, _ = u.User.Password()
	p.replication = testkit.NewProxy(t, u.Host)
	host, port, _ := strings.Cut(p.replication.Addr(), ":")
	p.run("pg_basebackup", "-D", filepath.Join(dir, "standby"), "-R", "-X", "stream", "-c", "fast",
		"-d", fmt.Sprintf("host=%s port=%s user=postgres password=%s application_name=standby", host, port, p.password))
	p.standby = p.start("standby")
	standby, err := url.Parse(p.standby.URL("postgres"))
	require.NoError(t, err)
	p.hosts = u.Host + "," + standby.Host
	p.exec(p.primary, "CREATE DATABASE clerksync")
	return p
}

func (p *pair) start(name string) *postgres.Server {
	p.t.Helper()
	server, err := postgres.Start(p.t.Context(), postgres.Options{
		Dir: filepath.Join(p.dir, name), BinDir: os.Getenv("CLERKSYNC_PG_BIN"), Settings: map[string]string{"fsync": "off"},
	})
	require.NoError(p.t, err)
	p.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(p.t, server.Stop(ctx))
	})
	return server
}

// run runs one of PostgreSQL's programs as the user of the servers.
func (p *pair) run(program string, args ...string) {
	p.t.Helper()
	folders, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	require.NoError(p.t, err)
	cmd := exec.Command(program, args...)
	for _, folder := range append(folders, os.Getenv("CLERKSYNC_PG_BIN")) {
		if path := filepath.Join(folder, program); cmd.Err != nil {
			cmd = exec.Command(path, args...)
		}
	}
	cmd.Dir = p.dir
	info, err := os.Stat(filepath.Join(p.dir, "primary"))
	require.NoError(p.t, err)
	owner := info.Sys().(*syscall.Stat_t)
	u, err := user.LookupId(strconv.Itoa(int(owner.Uid)))
	require.NoError(p.t, err)
	gid, err := strconv.Atoi(u.Gid)
	require.NoError(p.t, err)
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: uint32(gid)}}
	}
	out, err := cmd.CombinedOutput()
	require.NoError(p.t, err, "%s: %s", program, out)
}

// url names both servers.
func (p *pair) url() string {
	return fmt.Sprintf("postgres://postgres:%s@%s/clerksync?sslmode=disable&target_session_attrs=read-write", p.password, p.hosts)
}

func (p *pair) exec(on *postgres.Server, statement string) {
	p.t.Helper()
	conn, err := pgx.Connect(p.t.Context(), on.URL("postgres"))
	require.NoError(p.t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(p.t.Context(), statement)
	require.NoError(p.t, err)
}

// ask returns what a query on a server returns.
func (p *pair) ask(on *postgres.Server, query string) string {
	conn, err := pgx.Connect(p.t.Context(), on.URL("clerksync"))
	if err != nil {
		return err.Error()
	}
	defer conn.Close(context.Background())
	var answer string
	if err := conn.QueryRow(p.t.Context(), query).Scan(&answer); err != nil {
		return err.Error()
	}
	return answer
}

func (p *pair) await(on *postgres.Server, query, want string) {
	p.t.Helper()
	testkit.Eventually(p.t, query+" is "+want, func() (bool, any) {
		got := p.ask(on, query)
		return got == want, got
	})
}

// kill is kill -9 of the primary's postmaster.
func (p *pair) kill() {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "primary", "postmaster.pid"))
	require.NoError(p.t, err)
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	require.NoError(p.t, err)
	require.NoError(p.t, syscall.Kill(pid, syscall.SIGKILL))
	<-p.primary.Done()
}

func (p *pair) promote() { p.run("pg_ctl", "promote", "-D", filepath.Join(p.dir, "standby")) }

// users delivers new users to a process, and counts the acknowledged ones.
type users struct {
	t        *testing.T
	s        *server
	webhook  *svix.Webhook
	answered atomic.Int64
}

func (u *users) post() {
	now := time.Now().UnixMilli()
	id := fmt.Sprint("user_", u.answered.Load()+1)
	e := testkit.Event("msg_"+id, "user.created", now, testkit.UserData(id, id+"@example.com", "Ada", now, now))
	if deliver(u.t.Context(), http.DefaultClient, u.webhook, u.s.running.Endpoint, e) == http.StatusNoContent {
		u.answered.Add(1)
	}
}

func serveOn(t *testing.T, database string) (*server, *users, *app.App) {
	t.Helper()
	s := newServer(t)
	s.database = database
	s.start()
	webhook, err := svix.NewWebhook(secret)
	require.NoError(t, err)
	return s, &users{t: t, s: s, webhook: webhook}, &app.App{AdminURL: s.running.AdminURL}
}

// TestFailoverWhileEventsFlow: the primary is killed, the standby promoted, and the process
// goes on by itself. With a synchronous standby nothing is missing.
func TestFailoverWhileEventsFlow(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.exec(p.primary, "ALTER SYSTEM SET synchronous_standby_names = 'standby'")
	p.exec(p.primary, "SELECT pg_reload_conf()")
	p.await(p.primary, "SELECT string_agg(sync_state, ',') FROM pg_stat_replication", "sync")
	s, u, a := serveOn(t, p.url())

	stop := make(chan struct{})
	var posting sync.WaitGroup
	posting.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				u.post()
			}
		}
	})
	enough := func(n int64) {
		t.Helper()
		testkit.Eventually(t, "events are acknowledged", func() (bool, any) {
			got := u.answered.Load()
			return got >= n, fmt.Sprint(got, s.tail())
		})
	}
	enough(50)
	awaitLag(t, a, "some are applied", func(l lag) bool { return l.EndToEnd != nil })
	p.kill()
	enough(u.answered.Load() + 20) // deliveries are stored meanwhile
	l := awaitLag(t, a, "red", func(l lag) bool { return l.State == "stuck" })
	require.Equal(t, "postgresql", l.Cause)
	require.Contains(t, l.Verdict, "PostgreSQL")

	p.promote()
	enough(u.answered.Load() + 20)
	close(stop)
	posting.Wait()
	awaitLag(t, a, "green", func(l lag) bool { return l.InStep && *l.Pending == 0 })
	s.awaitDrained()
	require.Equal(t, fmt.Sprint(u.answered.Load()), p.ask(p.standby, "SELECT count(*)::text FROM clerk.users"))
	require.Equal(t, "0", p.ask(p.standby, "SELECT count(*)::text FROM clerk.users WHERE email IS NULL"))
}

// TestReplayAfterAFailoverThatLostCommits: an asynchronous standby misses the last commits.
// Their events count as applied, verify finds their rows missing, and a replay brings back
// exactly these.
func TestReplayAfterAFailoverThatLostCommits(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	s, u, a := serveOn(t, p.url())
	post := func(n int) {
		for range n {
			u.post()
		}
		awaitLag(t, a, "applied", func(l lag) bool { return l.InStep && *l.Pending == 0 && l.EndToEnd != nil })
	}
	post(30)
	p.await(p.primary, "SELECT count(*)::text FROM clerk.users", "30")
	p.await(p.standby, "SELECT count(*)::text FROM clerk.users", "30")
	p.replication.Cut()
	post(12)
	p.await(p.primary, "SELECT count(*)::text FROM clerk.users", "42")
	p.kill()
	p.promote()
	post(5)
	p.await(p.standby, "SELECT count(*)::text FROM clerk.users", "35")

	out, err := s.command("", "verify", "--json")
	require.Error(t, err, out)
	out, err = s.command("", "replay", "--since", "1h", "--json")
	require.NoError(t, err, out)
	require.Contains(t, out, `"applied":12`, out)
	require.Contains(t, out, `"duplicate":35`, out)
	require.Equal(t, "47", p.ask(p.standby, "SELECT count(*)::text FROM clerk.users"))
	out, err = s.command("", "verify")
	require.NoError(t, err, out)
}

// TestStandbyIsRefused to a worker, unless the URL also names the primary and asks for it.
func TestStandbyIsRefused(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	_, err := testkit.OpenStore(t, p.primary.URL("clerksync")).Migrate(t.Context())
	require.NoError(t, err)
	p.await(p.standby, "SELECT count(*)::text FROM clerk.users", "0")
	primary, standby, _ := strings.Cut(p.hosts, ",")
	turned := fmt.Sprintf("postgres://postgres:%s@%s,%s/clerksync?sslmode=disable", p.password, standby, primary)
	for _, u := range []string{p.standby.URL("clerksync"), turned} {
		for _, migrate := range []bool{false, true} {
			_, err := app.Start(t.Context(), options(t, database(u), func(o *app.Options) { o.Migrate = migrate }))
			require.EqualError(t, err, "DATABASE_URL leads to a standby, which is read-only; name the primary in it, or all servers and target_session_attrs=read-write")
		}
	}
	o := options(t, database(turned+"&target_session_attrs=read-write"))
	a := start(t, o)
	post(t, a, "msg_1")
	awaitLag(t, a, "applied", func(l lag) bool { return l.InStep && *l.Pending == 0 && l.EndToEnd != nil })

	// An API alone reads there.
	issuer := testkit.NewTokenIssuer(t)
	api := start(t, options(t, database(p.standby.URL("clerksync")), withTokens(issuer), func(o *app.Options) {
		o.Roles, o.Config.SigningSecrets = config.RoleAPI, nil
	}))
	status, checks := readiness(t, api)
	require.Equal(t, 200, status, checks)

	// Without a primary it waits for one.
	require.NoError(t, a.Stop())
	p.await(p.standby, "SELECT count(*)::text FROM clerk.users", "1")
	database(p.standby.URL("clerksync") + "&target_session_attrs=read-write")(&o)
	a = start(t, o)
	l := awaitLag(t, a, "it waits", func(l lag) bool { return l.State == "stuck" })
	require.Equal(t, "postgresql", l.Cause)
	require.Contains(t, l.Verdict, "PostgreSQL has no primary among the servers of DATABASE_URL")
	p.kill()
	p.promote()
	post(t, a, "msg_2")
	awaitLag(t, a, "applied", func(l lag) bool { return l.InStep && *l.Pending == 0 && l.EndToEnd != nil })
}
