package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/fakeclerk"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/source"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestReconcileCommand prints the differences, ends with status 1 while there are any, and
// with --fix repairs them.
func TestReconcileCommand(t *testing.T) {
	t.Parallel()
	instance := fakeclerk.New(fakeclerk.Options{Seed: 1, Now: fixedClock})
	instance.SetTraps(fakeclerk.Traps{Unlimited: true})
	api := httptest.NewServer(instance)
	t.Cleanup(api.Close)
	server, url := testkit.NATS(t), testkit.DatabaseURL(t)
	nc := testkit.Connect(t, server)
	w := &testkit.World{T: t, NC: nc, Log: testkit.OpenLog(t, nc), Store: testkit.OpenStore(t, url)}
	p := projector.New(projector.Options{Log: w.Log, Apply: w.Store.Apply, Registry: prometheus.NewRegistry(), Appliers: 2, Batch: 100})
	p.Start()
	t.Cleanup(func() { require.NoError(t, p.Stop(context.Background())) })

	executable, err := os.Executable()
	require.NoError(t, err)
	program := filepath.Join(t.TempDir(), "clerksync")
	require.NoError(t, os.Symlink(executable, program))
	run := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		cmd := exec.Command(program, append([]string{"reconcile"}, args...)...)
		cmd.Args[0] = "clerksync"
		cmd.Env = append(os.Environ(), "DATABASE_URL="+url, "NATS_URL="+server.URL(), "CLERK_API_URL="+api.URL, "CLERK_SECRET_KEY="+instance.SecretKey(), "CLERKSYNC_DATA_DIR="+t.TempDir())
		var out, failed bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &failed
		status := 0
		if err := cmd.Run(); err != nil {
			ended, ok := errors.AsType[*exec.ExitError](err)
			require.True(t, ok, "%v", err)
			status = ended.ExitCode()
		}
		require.Equal(t, want, status, "%s%s", out.String(), failed.String())
		require.NotContains(t, out.String()+failed.String(), instance.SecretKey())
		return out.String(), failed.String()
	}

	stdout, _ := run(0)
	require.Equal(t, "compared 0 users, 0 organizations and 0 memberships with the tables\nno difference\n", stdout)

	user := instance.CreateUser(fakeclerk.User{Email: "one@example.com"})
	org, err := instance.CreateOrganization(fakeclerk.Organization{Name: "One", CreatedBy: user.ID})
	require.NoError(t, err)
	membership := instance.Memberships()[0]
	stdout, stderr := run(1)
	lines := strings.Split(stdout, "\n")
	require.ElementsMatch(t, []string{
		"missing     " + user.ID, "missing     " + org.ID, "missing     " + membership.ID + "  (" + user.ID + " in " + org.ID + ")",
	}, lines[:3])
	require.Equal(t, []string{
		"compared 1 user, 1 organization and 1 membership with the tables",
		"missing here: 1 user, 1 organization and 1 membership", "",
	}, lines[3:])
	require.Equal(t, "clerksync: the tables differ from Clerk in 3 entities\n  → clerksync reconcile --fix repairs what is not tombstoned\n", stderr)

	stdout, stderr = run(0, "--fix", "--json")
	require.Empty(t, stderr)
	lines = strings.Split(strings.TrimSpace(stdout), "\n")
	require.Len(t, lines, 4)
	require.Equal(t, `{"missing":{"users":1,"organizations":1,"memberships":1},"outdated":{"users":0,"organizations":0,"memberships":0},`+
		`"deleted":{"users":0,"organizations":0,"memberships":0},"extra":{"users":0,"organizations":0,"memberships":0},`+
		`"tombstoned":{"users":0,"organizations":0,"memberships":0},"fixed":{"users":1,"organizations":1,"memberships":1},"undecided":0,"complete":true}`, lines[3])
	var line map[string]any
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &line))
	require.Equal(t, "missing", line["difference"])
	require.Equal(t, true, line["fixed"])

	w.Emit(testkit.Event("msg_wrong", "user.deleted", user.CreatedAt, testkit.DeletedData("user", user.ID)))
	stdout, stderr = run(1, "--fix")
	require.Equal(t, "tombstoned  "+user.ID+"  → clerksync restore "+user.ID+"\n"+
		"compared 1 user, 1 organization and 1 membership with the tables\n"+
		"deleted here, and live at Clerk: 1 user, 0 organizations and 0 memberships\n", stdout)
	require.Equal(t, "clerksync: the tables differ from Clerk in 1 entity\n  → if the delete was wrong, clerksync restore lifts the tombstone\n", stderr)

	instance.SetTraps(fakeclerk.Traps{Unlimited: true, Unresolved: true})
	stdout, stderr = run(1, "--json")
	require.Empty(t, stdout)
	require.Equal(t, "clerksync: nothing was compared: "+source.ErrKey.Error()+": Clerk answered GET /instance with 404 resource_not_found\n"+
		"  → copy CLERK_SECRET_KEY again from the Clerk dashboard → API keys\n", stderr)
}

// fixedClock is long ago: no webhook is on its way any more.
func fixedClock() time.Time { return time.UnixMilli(1768208400000) }
