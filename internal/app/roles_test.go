package app_test

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/embedded/postgres"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestRolesAreEnough: every role and command with exactly what deploy/postgres/roles.sql
// grants. What is missing is refused at the start, with the GRANT.
func TestRolesAreEnough(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "clerksync-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755)) // PostgreSQL does not run as root
	pg, err := postgres.Start(t.Context(), postgres.Options{Dir: filepath.Join(dir, "postgres"), BinDir: os.Getenv("CLERKSYNC_PG_BIN"), Unsafe: true})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(t, pg.Stop(ctx))
	})
	as := func(role string) string {
		u, err := url.Parse(pg.URL("postgres"))
		require.NoError(t, err)
		u.User = url.UserPassword(role, "secret")
		return u.String()
	}
	admin, err := pgx.Connect(t.Context(), pg.URL("postgres"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, admin.Close(context.Background())) })
	sql := func(statement string) {
		t.Helper()
		_, err := admin.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	roles := func() {
		out, err := exec.Command("psql", "--no-psqlrc", "-q", "-v", "ON_ERROR_STOP=1", "-d", pg.URL("postgres"), "-f", "../../deploy/postgres/roles.sql").CombinedOutput()
		require.NoError(t, err, string(out))
	}
	roles()
	sql("ALTER ROLE clerksync PASSWORD 'secret'; ALTER ROLE clerksync_owner PASSWORD 'secret'")
	s := newServer(t)
	s.database, s.args = as("clerksync"), nil
	issuer := testkit.NewTokenIssuer(t)
	s.env = []string{"CLERK_JWT_KEY=" + issuer.PEM, "CLERK_FRONTEND_API_URL=" + issuer.Issuer, "CLERKSYNC_ROLE=all"}
	out, err := s.command(as("clerksync_owner"), "migrate", "up", "--with", "rls")
	require.NoError(t, err, out)
	roles()

	for _, tt := range []struct{ revoke, grant, want string }{
		{"REVOKE SELECT ON clerk.users FROM clerksync", "GRANT SELECT ON clerk.users TO clerksync", "clerksync lacks SELECT on users; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA clerk TO clerksync"},
		{"REVOKE INSERT, DELETE ON clerk.seats FROM clerksync", "GRANT INSERT, DELETE ON clerk.seats TO clerksync", "clerksync lacks INSERT on seats, DELETE on seats; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA clerk TO clerksync"},
		{"REVOKE SELECT ON clerk.clerksync_migrations FROM clerksync", "GRANT SELECT ON clerk.clerksync_migrations TO clerksync", "clerksync lacks SELECT on clerksync_migrations; GRANT SELECT ON clerk.clerksync_migrations TO clerksync"},
		{"REVOKE USAGE ON SCHEMA clerk FROM clerksync", "GRANT USAGE ON SCHEMA clerk TO clerksync", "clerksync may not use schema clerk; GRANT USAGE ON SCHEMA clerk TO clerksync"},
		{"ALTER ROLE clerksync SET default_transaction_read_only = on", "ALTER ROLE clerksync RESET default_transaction_read_only", "PostgreSQL is read-only for clerksync: default_transaction_read_only is on; lift it, or name the primary in DATABASE_URL"},
	} {
		sql(tt.revoke)
		_, err := app.Start(t.Context(), options(t, database(s.database)))
		require.EqualError(t, err, tt.want)
		sql(tt.grant)
	}

	s.start()
	webhook, err := svix.NewWebhook(secret)
	require.NoError(t, err)
	now := time.Now().UnixMilli()
	for _, e := range []struct {
		name string
		data testkit.Object
	}{
		{"user.created", testkit.UserData("user_1", "ada@example.com", "Ada", now, now)},
		{"organization.created", testkit.OrganizationData("org_1", "Org", now, now)},
		{"organizationMembership.created", testkit.MembershipData("orgmem_1", "user_1", "org_1", "org:admin", now, now)},
		{"user.created", testkit.UserData("user_2", "", "Bob", now, now)},
		{"user.deleted", testkit.DeletedData("user", "user_2")},
	} {
		require.Equal(t, http.StatusNoContent, deliver(t.Context(), http.DefaultClient, webhook, s.running.Endpoint, testkit.Event("msg_"+e.name+e.data["id"].(string), e.name, now, e.data)))
	}
	s.awaitDrained()

	// The directory API, as clerk_reader.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.TrimSuffix(s.running.Endpoint, "/webhooks/clerk")+"/organization", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+issuer.Session("user_1", "org_1", "admin"))
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)

	for _, args := range [][]string{
		{"lag"},
		{"show", "user_1"},
		{"show", "orgmem_1"},
		{"replay", "--since", "1h"},
		{"replay", "--since", "1h", "--dry-run"},
		{"replay", "--since", "1h", "--reapply"},
		{"migrate", "status"},
		{"dead", "ls"},
		{"events", "ls"},
		{"doctor", "--role", "receiver,worker"},
		{"erase", "user_2", "--yes"},
	} {
		out, err := s.command("", args...)
		require.NoError(t, err, "%v: %s", args, out)
	}
	out, err = s.command("", "verify")
	require.Error(t, err)
	require.Contains(t, out, "the role in DATABASE_URL may not make a schema: GRANT CREATE ON DATABASE to it, or name another that may")
	sql("GRANT CREATE ON DATABASE postgres TO clerksync_owner")
	out, err = s.command(as("clerksync_owner"), "verify")
	require.NoError(t, err, out)
}
