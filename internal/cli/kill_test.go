package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/fakeclerk"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/testkit"
)

// kills is the number of processes that a test kills.
const kills = 20

// killer kills commands at random moments of their work with Clerk.
type killer struct {
	t       *testing.T
	clerk   *fakeclerk.Clerk
	url     string
	program string

	moment  time.Duration // of a run, between two of its kills
	left    atomic.Int64  // requests before the kill
	reached chan struct{}
}

func newKiller(t *testing.T, instance *fakeclerk.Clerk) *killer {
	k := &killer{t: t, clerk: instance, reached: make(chan struct{}, 1)}
	instance.SetTraps(fakeclerk.Traps{Unlimited: true, Delay: 5 * time.Millisecond, BeforeRead: func(*http.Request) {
		if k.left.Add(-1) == 0 {
			k.reached <- struct{}{}
		}
	}})
	api := httptest.NewServer(instance)
	t.Cleanup(api.Close)
	k.url = api.URL
	executable, err := os.Executable()
	require.NoError(t, err)
	k.program = filepath.Join(t.TempDir(), "clerksync")
	require.NoError(t, os.Symlink(executable, k.program))
	return k
}

// killed is a deployment whose commands are killed.
type killed struct {
	*testkit.World
	k   *killer
	env []string
}

func (k *killer) deploy() *killed {
	server, url := testkit.NATS(k.t), testkit.DatabaseURL(k.t)
	nc := testkit.Connect(k.t, server)
	return &killed{
		&testkit.World{T: k.t, NC: nc, Log: testkit.OpenLog(k.t, nc), Store: testkit.OpenStore(k.t, url)}, k,
		append(os.Environ(), "DATABASE_URL="+url, "NATS_URL="+server.URL(), "CLERK_API_URL="+k.url, "CLERK_SECRET_KEY="+k.clerk.SecretKey(), "CLERKSYNC_DATA_DIR="+k.t.TempDir()),
	}
}

// start starts a command.
func (d *killed) start(args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command(d.k.program, append(args, "--json", "--rate", "1000000")...)
	cmd.Args[0] = "clerksync"
	cmd.Env = d.env
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(d.k.t, cmd.Start())
	return cmd, out
}

// kill starts a command and kills it up to a moment after one of its first requests,
// unless it ends before.
func (d *killed) kill(requests int, args ...string) {
	t := d.k.t
	select {
	case <-d.k.reached: // by the one before, which ended meanwhile
	default:
	}
	d.k.left.Store(1 + rand.Int64N(int64(requests)))
	cmd, out := d.start(args...)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		require.NoError(t, err, out.String())
	case <-d.k.reached:
		<-time.After(time.Duration(rand.Int64N(int64(d.k.moment))))
		_ = cmd.Process.Kill() // it may have ended
		<-ended
	}
	// Its lock ends with its connection.
	testkit.Eventually(t, "PostgreSQL notices the kill", func() (bool, any) {
		held := d.Rows("SELECT pid::text FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
		return len(held) == 0, held
	})
}

// finish runs a command to its end and reads the last line of its output.
func (d *killed) finish(result any, args ...string) {
	d.k.t.Helper()
	started := time.Now()
	cmd, out := d.start(args...)
	require.NoError(d.k.t, cmd.Wait(), out.String())
	d.k.moment = 2 * time.Since(started) / kills
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.NoError(d.k.t, json.Unmarshal([]byte(lines[len(lines)-1]), result), out.String())
}

// worker applies the log until the test ends.
func (d *killed) worker() *projector.Projector {
	p := projector.New(projector.Options{Log: d.Log, Apply: d.Store.Apply, Registry: prometheus.NewRegistry(), Appliers: 2, Batch: 500})
	p.Start()
	d.k.t.Cleanup(func() { require.NoError(d.k.t, p.Stop(context.Background())) })
	return p
}

func (d *killed) tables() []string {
	d.worker()
	testkit.Eventually(d.k.t, "everything is applied", func() (bool, any) {
		backlog, err := d.Log.Backlog(context.Background())
		return err == nil && backlog.Pending == 0, backlog
	})
	return testkit.Tables(d.k.t, d.Store)
}

// TestBackfillKilledAtAnyMoment: a backfill that was killed goes on behind its last
// checkpoint, reads nothing again that was before it, and the tables are those of a
// backfill that nobody killed.
func TestBackfillKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	instance := fakeclerk.New(fakeclerk.Options{Seed: 7, Bulk: 9_000})
	instance.Populate(1200, 60)
	k := newKiller(t, instance)
	type result struct {
		Users, Organizations, Memberships int64
		Complete, Resumed                 bool
		Stored, Present                   int64
	}
	var want, got result
	undisturbed, d := k.deploy(), k.deploy()
	undisturbed.finish(&want, "backfill")
	require.True(t, want.Complete)
	require.EqualValues(t, 10_200, want.Users)
	all := want.Users + want.Organizations + want.Memberships

	for range kills {
		d.kill(10, "backfill") // it begins with four, or the first time six, of about 40
	}
	var before int64
	require.NoError(t, d.Store.Pool().QueryRow(t.Context(), "SELECT coalesce(sum(read), 0) FROM backfill_segments").Scan(&before))
	d.finish(&got, "backfill")
	require.True(t, got.Complete)
	require.True(t, got.Resumed || before == 0)
	require.Equal(t, [3]int64{want.Users, want.Organizations, want.Memberships}, [3]int64{got.Users, got.Organizations, got.Memberships})
	require.Equal(t, all-before, got.Stored+got.Present, "only what was behind the checkpoints")

	ids := map[string]bool{}
	for _, m := range d.Events() {
		require.False(t, ids[m.Event.ID], "%s twice", m.Event.ID)
		ids[m.Event.ID] = true
		require.NotContains(t, string(m.Event.Body), instance.SecretKey())
	}
	if diff := cmp.Diff(undisturbed.tables(), d.tables()); diff != "" {
		t.Fatalf("(-undisturbed +killed):\n%s", diff)
	}
	t.Logf("%d of %d were before the last checkpoint; %d stored and %d present after it", before, all, got.Stored, got.Present)
}

// TestReconcileKilledAtAnyMoment: a reconcile --fix that was killed has repaired something,
// or nothing, and never wrongly; the next finds the rest, and then nothing differs.
func TestReconcileKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	instance := fakeclerk.New(fakeclerk.Options{Seed: 7, Now: fixedClock})
	instance.Populate(2400, 40)
	k := newKiller(t, instance)
	d := k.deploy()
	d.worker()
	var got struct {
		Missing, Outdated, Deleted, Extra, Tombstoned json.RawMessage
		Complete                                      bool
		Undecided                                     int64
	}
	d.finish(&got, "backfill")
	testkit.Eventually(t, "everything is applied", func() (bool, any) {
		backlog, err := d.Log.Backlog(context.Background())
		return err == nil && backlog.Pending == 0, backlog
	})

	// Webhooks that never came.
	for i, u := range instance.Users() {
		if i%4 == 0 {
			_, err := instance.UpdateUser(u.ID, func(u *fakeclerk.User) { u.LastName = "Changed" })
			require.NoError(t, err)
		}
	}
	for i, m := range instance.Memberships() {
		if i%4 == 0 {
			_, err := instance.SetRole(m.ID, "org:other")
			require.NoError(t, err)
		}
	}
	for range 400 {
		instance.CreateUser(fakeclerk.User{LastName: "New"})
	}
	for range kills {
		d.kill(20, "reconcile", "--fix")
	}
	// Deletes come after the comparison, and ten seconds after Clerk has left them out.
	users := instance.Users()
	for _, u := range users[:8] {
		require.NoError(t, instance.DeleteUser(u.ID))
	}
	confirmed := atomic.Int64{}
	confirmations := 1 + rand.Int64N(9) // of eight users, and of the key
	instance.SetTraps(fakeclerk.Traps{Unlimited: true, BeforeRead: func(r *http.Request) {
		one := slices.ContainsFunc(users[:8], func(u fakeclerk.User) bool { return r.URL.Path == "/v1/users/"+u.ID })
		if (one || confirmed.Load() == 8) && confirmed.Add(1) == confirmations {
			k.reached <- struct{}{}
		}
	}})
	d.kill(1, "reconcile", "--fix")
	require.Len(t, k.reached, 0)
	instance.SetTraps(fakeclerk.Traps{Unlimited: true})

	d.finish(&got, "reconcile", "--fix")
	require.True(t, got.Complete)
	d.finish(&got, "reconcile")
	const none = `{"users":0,"organizations":0,"memberships":0}`
	for _, found := range []json.RawMessage{got.Missing, got.Outdated, got.Deleted, got.Extra, got.Tombstoned} {
		require.JSONEq(t, none, string(found))
	}
	require.Zero(t, got.Undecided)

	var want []string
	for _, u := range instance.Users() {
		want = append(want, fmt.Sprintf("%s %s %s", u.ID, u.Email, u.LastName))
	}
	for _, m := range instance.Memberships() {
		want = append(want, fmt.Sprintf("%s %s", m.ID, m.Role))
	}
	rows := d.Rows("SELECT concat_ws(' ', clerk_id, coalesce(primary_email, ''), last_name) FROM active_users UNION ALL SELECT clerk_id || ' ' || role FROM org_memberships")
	require.ElementsMatch(t, want, rows)
	repairs := 0
	for _, m := range d.Events() {
		if m.Event.Origin == clerk.OriginReconcile {
			repairs++
		}
	}
	t.Logf("%d repairs are in the log", repairs)
}
