package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestInspect: a database with the tables, one without, and a schema of another name.
func TestInspect(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	i, err := s.Inspect(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, int(i.VersionNumber), store.OldestVersion*10000)
	require.NotEmpty(t, i.Version)
	require.NotEmpty(t, i.Role)
	require.Equal(t, "clerk", i.Schema)
	require.True(t, i.SchemaExists)
	require.True(t, i.SchemaUsable)
	require.False(t, i.Standby)
	require.Equal(t, "off", i.Fsync, "as testkit starts it")
	require.Less(t, i.ClockOff.Abs(), time.Second)
	require.Empty(t, i.Missing)

	i, err = testkit.OpenStore(t, testkit.EmptyDatabaseURL(t)).Inspect(t.Context())
	require.NoError(t, err)
	require.False(t, i.SchemaExists)
	require.False(t, i.SchemaUsable)
	require.Empty(t, i.Missing, "of tables that are not there nothing is missing")

	url := testkit.EmptyDatabaseURL(t)
	other := openSchema(t, url, "My-Schema")
	_, err = other.Migrate(t.Context())
	require.NoError(t, err)
	i, err = other.Inspect(t.Context())
	require.NoError(t, err)
	require.Equal(t, `"My-Schema"`, i.Schema)
	require.True(t, i.SchemaExists)
	require.True(t, i.SchemaUsable)
}

// TestInspectWithoutAServer does not show the password.
func TestInspectWithoutAServer(t *testing.T) {
	t.Parallel()
	s := openSchema(t, "postgres://someone:hidden@127.0.0.1:1/db", "clerk")
	_, err := s.Inspect(t.Context())
	require.ErrorContains(t, err, "ping PostgreSQL: ")
	require.NotContains(t, err.Error(), "hidden")
}
