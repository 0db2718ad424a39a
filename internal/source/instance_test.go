package source_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/fakeclerk"
	"github.com/clerksync/clerksync/internal/source"
)

// TestKeysThatAreRefused: nothing is published with a key that is wrong, of another
// instance than the pinned one, or of one that has no user of the tables, whoever asks.
func TestKeysThatAreRefused(t *testing.T) {
	t.Parallel()
	w := mirrored(t, 120, 4)
	other := newWorld(t, fakeclerk.Options{Seed: 2})
	other.clerk.Populate(20, 2)
	gone := newWorld(t, fakeclerk.Options{Seed: 1})
	gone.clerk.SetTraps(fakeclerk.Traps{Unresolved: true})
	before := len(w.Events())

	for name, test := range map[string]struct {
		clerk  *world
		key    string
		pinned string
		want   string
	}{
		"wrong key": {
			w, "sk_test_wrong", "",
			"the secret key is not taken by Clerk: Clerk answered GET /instance with 401 clerk_key_invalid",
		},
		"wrong key of the pinned instance": {
			w, "sk_test_wrong", w.clerk.InstanceID(),
			"the secret key is not taken by Clerk: Clerk answered GET /instance with 401 clerk_key_invalid",
		},
		"instance is gone": {
			gone, gone.clerk.SecretKey(), "",
			"the secret key is not taken by Clerk: Clerk answered GET /instance with 404 resource_not_found",
		},
		"not the pinned instance": {
			w, w.clerk.SecretKey(), "ins_other",
			"the secret key is of another Clerk instance: " + w.clerk.InstanceID() + ", wanted ins_other",
		},
		"not the instance of the tables": {
			other, other.clerk.SecretKey(), "",
			"the secret key is of instance " + other.clerk.InstanceID() + ", which has none of 100 users of this database",
		},
	} {
		client := func() *source.Client {
			c := source.WithoutPauses(source.NewClient(source.Options{SecretKey: test.key, URL: test.clerk.url, Rate: 1_000_000}))
			t.Cleanup(c.Close)
			return c
		}
		for command, run := range map[string]func() error{
			"backfill": func() error {
				_, err := w.backfill(func(o *source.BackfillOptions) { o.Client, o.InstanceID = client(), test.pinned }).Run(t.Context())
				return err
			},
			"reconcile": func() error {
				_, _, err := w.reconcile(fix, allowDeletes, func(o *source.ReconcileOptions) { o.Client, o.InstanceID = client(), test.pinned })
				return err
			},
			"pull": func() error {
				p := source.NewPuller(source.PullerOptions{Client: client(), Log: w.Log, Store: w.Store, InstanceID: test.pinned, Logger: slog.New(slog.DiscardHandler)})
				defer p.Close()
				_, err := p.Pull(t.Context(), test.clerk.userID())
				return err
			},
		} {
			require.EqualError(t, run(), test.want, "%s, %s", command, name)
		}
		registry := prometheus.NewRegistry()
		s := source.NewSchedule(source.ScheduleOptions{
			SecretKey: test.key, URL: test.clerk.url, InstanceID: test.pinned, Every: time.Hour,
			Log: w.Log, Store: w.Store, Registry: registry, Logger: slog.New(slog.DiscardHandler),
		})
		source.RunNow(t.Context(), s)
		require.NoError(t, s.Stop(context.Background()))
		require.EqualValues(t, 1, value(t, registry, "clerksync_reconcile_runs_total", "failed"), name)
	}
	require.Len(t, w.Events(), before)
	require.Empty(t, w.Rows("SELECT kind FROM backfill_segments"))
	w.requireMirrored()

	// With the instance pinned, the operator has said which one it is.
	report, err := w.backfill(func(o *source.BackfillOptions) { o.Client, o.InstanceID = other.client(), other.clerk.InstanceID() }).Run(t.Context())
	require.NoError(t, err)
	require.True(t, report.Complete())
}

// TestKeyOfTheTables: one user that Clerk has is enough, and tables without a user can be
// of any instance.
func TestKeyOfTheTables(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeclerk.Options{Seed: 1})
	w.clerk.Populate(30, 2)
	w.worker()
	_, err := w.backfill().Run(t.Context())
	require.NoError(t, err)
	w.drain()
	for _, u := range w.clerk.Users()[1:] {
		require.NoError(t, w.clerk.DeleteUser(u.ID))
	}
	_, err = w.backfill().Run(t.Context())
	require.NoError(t, err)
	require.NoError(t, w.clerk.DeleteUser(w.clerk.Users()[0].ID))
	_, err = w.backfill().Run(t.Context())
	require.ErrorAs(t, err, new(*source.StrangersError))
}

// userID returns the id of a user.
func (w *world) userID() string {
	if users := w.clerk.Users(); len(users) > 0 {
		return users[0].ID
	}
	return "user_1"
}
