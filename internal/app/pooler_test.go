//go:build pgbouncer

package app_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestServeBehindAPooler: all roles and the commands beside them, with PgBouncer in
// transaction mode and two sessions of PostgreSQL. What needs a session says so, and takes
// PostgreSQL's own address.
func TestServeBehindAPooler(t *testing.T) {
	t.Parallel()
	direct := testkit.EmptyDatabaseURL(t)
	pooled := testkit.PgBouncer(t, direct, "")
	_, err := app.Start(t.Context(), options(t, database(pooled), func(o *app.Options) { o.Migrate = true }))
	require.ErrorIs(t, err, store.ErrPooler)
	require.EqualError(t, err, "migrate: DATABASE_URL leads to a pooler, and this needs a session: name PostgreSQL's own address for it (of Supabase's, port 5432 in place of 6543)")
	_, err = app.Start(t.Context(), options(t, database(pooled)))
	require.ErrorIs(t, err, store.ErrPending)

	s := newServer(t)
	out, err := s.command(pooled, "migrate", "up")
	require.Error(t, err)
	require.Contains(t, out, "DATABASE_URL leads to a pooler")
	out, err = s.command(direct, "migrate", "up", "--with", "rls")
	require.NoError(t, err, out)

	issuer := testkit.NewTokenIssuer(t)
	s.database = pooled
	s.env = []string{"CLERK_JWT_KEY=" + issuer.PEM, "CLERK_FRONTEND_API_URL=" + issuer.Issuer}
	s.start() // with --migrate, and nothing to do
	webhook, err := svix.NewWebhook(secret)
	require.NoError(t, err)
	for _, e := range testkit.ManyHistories(4) {
		require.Equal(t, http.StatusNoContent, deliver(t.Context(), http.DefaultClient, webhook, s.running.Endpoint, e))
	}
	user := testkit.Event("msg_ada", "user.created", 1768208400000, testkit.UserData("user_ada", "", "Ada", 1, 1))
	require.Equal(t, http.StatusNoContent, deliver(t.Context(), http.DefaultClient, webhook, s.running.Endpoint, user))
	s.awaitDrained()
	awaitLag(t, &app.App{AdminURL: s.running.AdminURL}, "applied", func(l lag) bool { return l.InStep && *l.Pending == 0 })

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.TrimSuffix(s.running.Endpoint, "/webhooks/clerk")+"/profile", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+issuer.Session("user_ada"))
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)

	for _, args := range [][]string{
		{"lag"},
		{"show", "user_ada"},
		{"replay", "--since", "7300d"},
		{"replay", "--since", "7300d", "--dry-run", "--reapply"},
		{"replay", "--since", "7300d", "--reapply"},
		{"migrate", "status"},
		{"dead", "ls"},
		{"doctor"},
	} {
		out, err := s.command("", args...)
		require.NoError(t, err, "%v: %s", args, out)
	}
	out, err = s.command("", "doctor")
	require.NoError(t, err, out)
	require.Contains(t, out, ", behind a pooler\n")
	out, err = s.command("", "verify")
	require.Error(t, err)
	require.Contains(t, out, "DATABASE_URL leads to a pooler")
	out, err = s.command(direct, "verify", "--json")
	require.NoError(t, err, out)
	require.Contains(t, out, `"differences": 0,`)
}
