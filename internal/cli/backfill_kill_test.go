package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/fakeclerk"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestBackfillKilledAtAnyMoment: a backfill that was killed goes on behind its last
// checkpoint, reads nothing again that was before it, and the tables are those of a
// backfill that nobody killed.
func TestBackfillKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	const kills = 8
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	instance := fakeclerk.New(fakeclerk.Options{Seed: 7, Bulk: 9_000})
	instance.Populate(1200, 60)
	instance.SetTraps(fakeclerk.Traps{Unlimited: true, Delay: 10 * time.Millisecond})
	api := httptest.NewServer(instance)
	t.Cleanup(api.Close)
	executable, err := os.Executable()
	require.NoError(t, err)
	program := filepath.Join(t.TempDir(), "clerksync")
	require.NoError(t, os.Symlink(executable, program))

	type deployment struct {
		*testkit.World
		env []string
	}
	deploy := func() deployment {
		server, url := testkit.NATS(t), testkit.DatabaseURL(t)
		nc := testkit.Connect(t, server)
		return deployment{
			&testkit.World{T: t, NC: nc, Log: testkit.OpenLog(t, nc), Store: testkit.OpenStore(t, url)},
			append(os.Environ(), "DATABASE_URL="+url, "NATS_URL="+server.URL(), "CLERK_API_URL="+api.URL, "CLERK_SECRET_KEY="+instance.SecretKey(), "CLERKSYNC_DATA_DIR="+t.TempDir()),
		}
	}
	start := func(d deployment) (*exec.Cmd, *bytes.Buffer) {
		cmd := exec.Command(program, "backfill", "--json", "--rate", "1000000")
		cmd.Args[0] = "clerksync"
		cmd.Env = d.env
		out := &bytes.Buffer{}
		cmd.Stdout, cmd.Stderr = out, out
		require.NoError(t, cmd.Start())
		return cmd, out
	}
	tables := func(d deployment) []string {
		p := projector.New(projector.Options{Log: d.Log, Apply: d.Store.Apply, Registry: prometheus.NewRegistry(), Appliers: 2, Batch: 500})
		p.Start()
		testkit.Eventually(t, "everything is applied", func() (bool, any) {
			backlog, err := d.Log.Backlog(context.Background())
			return err == nil && backlog.Pending == 0, backlog
		})
		require.NoError(t, p.Stop(context.Background()))
		return testkit.Tables(t, d.Store)
	}
	type result struct {
		Users, Organizations, Memberships int64
		Complete, Resumed                 bool
		Stored, Present                   int64
	}
	finish := func(d deployment) (r result) {
		cmd, out := start(d)
		require.NoError(t, cmd.Wait(), out.String())
		require.NoError(t, json.Unmarshal(out.Bytes(), &r), out.String())
		require.True(t, r.Complete)
		return r
	}

	undisturbed, killed := deploy(), deploy()
	started := time.Now()
	want := finish(undisturbed)
	took := time.Since(started)
	require.EqualValues(t, 10_200, want.Users)

	// All of them together last about as long as one that nobody kills: some begin nothing.
	for range kills {
		cmd, out := start(killed)
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			require.NoError(t, err, out.String())
		case <-time.After(time.Duration(random.Int64N(2 * int64(took) / kills))):
			require.NoError(t, cmd.Process.Kill())
			<-ended
		}
	}
	// The lock of the killed one ends with its connection.
	testkit.Eventually(t, "PostgreSQL notices the kill", func() (bool, any) {
		held := killed.Rows("SELECT pid::text FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
		return len(held) == 0, held
	})
	var before int64
	require.NoError(t, killed.Store.Pool().QueryRow(t.Context(), "SELECT coalesce(sum(read), 0) FROM backfill_segments").Scan(&before))
	got := finish(killed)
	require.True(t, got.Resumed || before == 0)
	require.Equal(t, [3]int64{want.Users, want.Organizations, want.Memberships}, [3]int64{got.Users, got.Organizations, got.Memberships})
	require.Equal(t, want.Users+want.Organizations+want.Memberships-before, got.Stored+got.Present, "only what was behind the checkpoints")

	ids := map[string]bool{}
	for _, m := range killed.Events() {
		require.False(t, ids[m.Event.ID], "%s twice", m.Event.ID)
		ids[m.Event.ID] = true
		require.NotContains(t, strings.ToLower(string(m.Event.Body)), instance.SecretKey())
	}
	if diff := cmp.Diff(tables(undisturbed), tables(killed)); diff != "" {
		t.Fatalf("(-undisturbed +killed):\n%s", diff)
	}
	t.Logf("a run takes %s; %d of %d were before the last checkpoint; %d stored and %d present after it", took, before, want.Users+want.Organizations+want.Memberships, got.Stored, got.Present)
}
