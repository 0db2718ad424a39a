package store_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// longAddress is too long for an index, and cannot be compressed.
func longAddress() string {
	noise := make([]byte, 5000)
	rand.Read(noise)
	return base64.RawURLEncoding.EncodeToString(noise) + "@example.com"
}

// userWith is a user with metadata as it is, without a look at it.
func userWith(id, address, metadata string) store.Entry {
	e := entry(userAt(1, id, address))
	e.Change.User.PublicMetadata = jsontext.Value(metadata)
	return e
}

func nested(depth int) string {
	return strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
}

// TestContentThatPostgreSQLRefuses makes the batch fail with ErrRefused, changes
// nothing, and the error tells nothing of the content.
func TestContentThatPostgreSQLRefuses(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	batch(t, s, userAt(0, "user_1", addressA))
	before := testkit.Tables(t, s)
	long := longAddress()
	for name, bad := range map[string]store.Entry{
		"an address too long for an index": userWith("user_secret", long, "{}"),
		"a number out of range":            userWith("user_secret", "hidden@example.com", `{"hidden": 1e400000}`),
		"nested too deep":                  userWith("user_secret", "hidden@example.com", nested(20_000)),
		"nested deep in an organization": {Change: &clerk.Change{
			Kind: clerk.KindOrganization, ID: "org_secret", Version: clerk.Version{UpdatedAt: base, EventID: "msg"},
			Organization: &clerk.Organization{PublicMetadata: jsontext.Value(nested(20_000))},
		}},
	} {
		outcomes, err := s.Apply(t.Context(), []store.Entry{entry(userAt(5, "user_2", addressB)), bad, entry(joinedAt(1, "orgmem_1"))})
		require.ErrorIs(t, err, store.ErrRefused, name)
		require.Nil(t, outcomes)
		require.Regexp(t, `^apply batch: refused by PostgreSQL with SQLSTATE [0-9A-Z]{5}( by constraint [a-z_]+)?$`, err.Error(), name)
		require.Equal(t, before, testkit.Tables(t, s), name)
	}
	require.Equal(t, []store.Outcome{store.Applied}, batch(t, s, userAt(5, "user_2", addressB)), "the rest of the batch, by itself")
}

// TestDeepestJSONThatCanBeDecoded: what gets past the decoder is applied or
// refused, and is never an error to be tried again without end.
func TestDeepestJSONThatCanBeDecoded(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	for _, depth := range []int{100, 3000, 9900, 9990, 9996} {
		data := testkit.UserData("user_1", "", "n", base, base+int64(depth))
		data["public_metadata"] = "DEEP"
		e := testkit.Event(msg(depth), "user.updated", base, data)
		e.Body = []byte(strings.Replace(string(e.Body), `"DEEP"`, nested(depth), 1))
		c, err := clerk.ParseChange(e)
		if err != nil {
			require.Equal(t, "undecodable", clerk.Reason(err))
			continue
		}
		if _, err := s.Apply(t.Context(), []store.Entry{{Change: c}}); err != nil {
			require.ErrorIs(t, err, store.ErrRefused)
		}
	}
}

// TestConstraintOfTheApplication: a constraint that an operator added to our tables
// refuses the content, and is named.
func TestConstraintOfTheApplication(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	_, err := s.Pool().Exec(t.Context(), `ALTER TABLE users ADD CONSTRAINT only_us CHECK (primary_email LIKE '%@example.com');
		CREATE UNIQUE INDEX one_slug ON organizations (slug)`)
	require.NoError(t, err)

	_, err = s.Apply(t.Context(), []store.Entry{entry(userAt(1, "user_1", "hidden@elsewhere.test"))})
	require.ErrorIs(t, err, store.ErrRefused)
	require.EqualError(t, err, "apply batch: refused by PostgreSQL with SQLSTATE 23514 by constraint only_us")

	batch(t, s, orgAt(1, "org_1"))
	_, err = s.Apply(t.Context(), []store.Entry{entry(orgAt(1, "org_2"))})
	require.ErrorIs(t, err, store.ErrRefused)
	require.EqualError(t, err, "apply batch: refused by PostgreSQL with SQLSTATE 23505 by constraint one_slug")
}

// TestForeignKeyOfTheApplication: an application may refer to our rows, and deletes
// in Clerk do not fail because of it.
func TestForeignKeyOfTheApplication(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	batch(t, s, userAt(1, "user_1", addressA), orgAt(1, "org_1"))
	_, err := s.Pool().Exec(t.Context(), `CREATE TABLE orders (
		buyer uuid REFERENCES users (id), organization text REFERENCES organizations (clerk_id));
		INSERT INTO orders SELECT u.id, o.clerk_id FROM users u, organizations o`)
	require.NoError(t, err)
	require.Equal(t, []store.Outcome{store.Applied, store.Applied}, batch(t, s, userDeletedAt(2, "user_1"), orgDeletedAt(2, "org_1")))
}

// held locks the head of a user until it is let go.
func held(t *testing.T, s *store.Store, user string) (letGo func()) {
	t.Helper()
	tx, err := s.Pool().Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "SELECT FROM entity_heads WHERE kind = 'user' AND clerk_id = $1 FOR UPDATE", user)
	require.NoError(t, err)
	return func() { require.NoError(t, tx.Rollback(context.Background())) }
}

// TestLostConnectionIsNoRefusal: the server ends the connection in the middle of a
// batch; the error is one to try again after, nothing was changed, and it then works.
func TestLostConnectionIsNoRefusal(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	batch(t, s, userAt(0, "user_1", addressA))
	before := testkit.Tables(t, s)
	letGo := held(t, s, "user_1")

	failed := make(chan error, 1)
	entries := entriesOf([]*clerk.Event{userAt(1, "user_0", addressB), userAt(5, "user_1", addressB)})
	go func() {
		_, err := s.Apply(context.Background(), entries)
		failed <- err
	}()
	testkit.Eventually(t, "the waiting batch is ended", func() (bool, any) {
		var ended int
		err := s.Pool().QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&ended)
		require.NoError(t, err)
		return ended == 1, ended
	})
	err := <-failed
	require.Error(t, err)
	require.False(t, errors.Is(err, store.ErrRefused), err)
	letGo()
	require.Equal(t, before, testkit.Tables(t, s))

	outcomes, err := s.Apply(t.Context(), entries)
	require.NoError(t, err)
	require.Equal(t, []store.Outcome{store.Applied, store.Applied}, outcomes)
}

// TestTimeoutsAreNoRefusal: neither of the server's, nor the caller's.
func TestTimeoutsAreNoRefusal(t *testing.T) {
	t.Parallel()
	url := testkit.DatabaseURL(t)
	s := testkit.OpenStore(t, url)
	batch(t, s, userAt(0, "user_1", addressA))
	letGo := held(t, s, "user_1")
	defer letGo()

	impatient := testkit.OpenStore(t, url+"&statement_timeout=50ms")
	_, err := impatient.Apply(t.Context(), []store.Entry{entry(userAt(1, "user_1", addressB))})
	require.EqualError(t, err, "apply batch: canceling statement due to statement timeout (SQLSTATE 57014)")
	require.False(t, errors.Is(err, store.ErrRefused))

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = s.Apply(ctx, []store.Entry{entry(userAt(1, "user_1", addressB))})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, errors.Is(err, store.ErrRefused))
}

// TestURLIsNotInErrors: it has the password in it.
func TestURLIsNotInErrors(t *testing.T) {
	t.Parallel()
	_, err := store.Open(t.Context(), store.Options{URL: "postgres://u:hunter2@host:notaport/db", Schema: "clerk"})
	require.EqualError(t, err, "parse DATABASE_URL: it is not of the form postgres://user:password@host:port/database")
	s := testkit.OpenStore(t, "postgres://u:hunter2@127.0.0.1:1/db")
	err = s.Ping(t.Context())
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2")
	_, err = s.Apply(t.Context(), []store.Entry{entry(userAt(1, "user_1", addressB))})
	require.Error(t, err)
	require.False(t, errors.Is(err, store.ErrRefused))
	require.NotContains(t, err.Error(), "hunter2")
}
