package directory_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/directory"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
	"github.com/clerksync/clerksync/internal/token"
)

// loginURL makes a login that is there for the test, and returns the URL of a database for
// it. In grants, %[1]s is its name.
func loginURL(t *testing.T, st *store.Store, databaseURL, name, grants string) string {
	t.Helper()
	role := name + "_" + st.Pool().Config().ConnConfig.Database
	run := func(statements string) {
		_, err := st.Pool().Exec(t.Context(), fmt.Sprintf(statements, role))
		require.NoError(t, err)
	}
	run("CREATE ROLE %[1]s LOGIN PASSWORD 'secret';" + grants)
	t.Cleanup(func() {
		_, err := st.Pool().Exec(context.Background(), fmt.Sprintf("DROP OWNED BY %[1]s; DROP ROLE %[1]s", role))
		require.NoError(t, err)
	})
	u, err := url.Parse(databaseURL)
	require.NoError(t, err)
	u.User = url.UserPassword(role, "secret")
	return u.String()
}

// TestReaderLogins: a login with nothing but clerk_reader is enough; one that inherits
// nothing needs the schema too. What a login lacks, the log and the check of /readyz say.
func TestReaderLogins(t *testing.T) {
	t.Parallel()
	const missing = "the tables are missing, or the user of DATABASE_URL may not use the schema clerk: clerksync migrate up, or GRANT USAGE ON SCHEMA clerk TO that user"
	const refused = "PostgreSQL refuses access: a privilege is missing: GRANT clerk_reader TO the user of DATABASE_URL where the tables have row-level security, or else SELECT on them"
	for name, tt := range map[string]struct {
		database func(testing.TB) string
		grants   string
		fault    string
	}{
		"only_reader": {testkit.RLSDatabaseURL, "GRANT clerk_reader TO %[1]s", ""},
		"no_inherit":  {testkit.RLSDatabaseURL, "ALTER ROLE %[1]s NOINHERIT; GRANT clerk_reader TO %[1]s; GRANT USAGE ON SCHEMA clerk TO %[1]s", ""},
		"no_usage":    {testkit.RLSDatabaseURL, "ALTER ROLE %[1]s NOINHERIT; GRANT clerk_reader TO %[1]s", missing},
		"no_reader":   {testkit.RLSDatabaseURL, "GRANT USAGE ON SCHEMA clerk TO %[1]s", refused},
		"no_schema":   {testkit.DatabaseURL, "GRANT SELECT ON ALL TABLES IN SCHEMA clerk TO %[1]s", missing},
		"no_select":   {testkit.DatabaseURL, "GRANT USAGE ON SCHEMA clerk TO %[1]s", refused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			owner := tt.database(t)
			st := testkit.OpenStore(t, owner)
			var log bytes.Buffer
			a := newAPIOn(t, loginURL(t, st, owner, name, tt.grants), st, func(_ *token.Options, o *directory.Options) {
				o.Logger = slog.New(slog.NewTextHandler(&log, nil))
			})
			a.populate()
			r := a.get("/api/organization", a.issuer.Session("user_ada", "org_1", "admin"))
			err := a.reader.Check(t.Context())
			if tt.fault == "" {
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, r.StatusCode, string(r.body))
				requireProblem(t, a.get("/api/profile", a.issuer.Session("user_new")), http.StatusServiceUnavailable, "not_synced_yet")
				require.Empty(t, log.String())
				return
			}
			p := requireProblem(t, r, http.StatusServiceUnavailable, "unavailable")
			require.Equal(t, "The database cannot be read", p.Title)
			require.Equal(t, "the database cannot be read now; send the request again after the time in Retry-After", p.Detail)
			require.Equal(t, tt.fault, a.reader.Outage(err))
			require.Contains(t, log.String(), fmt.Sprintf("cause=%q", tt.fault))
		})
	}
}
