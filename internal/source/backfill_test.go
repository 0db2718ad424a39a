package source_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/archive"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/fakeclerk"
	"github.com/clerksync/clerksync/internal/source"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestBackfillMirrorsClerk: everything that Clerk has is in the tables afterwards, and a
// second run stores nothing.
func TestBackfillMirrorsClerk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeclerk.Options{Seed: 1})
	w.clerk.Populate(2300, 40)
	w.worker()
	report, err := w.backfill().Run(t.Context())
	require.NoError(t, err)
	want := source.Totals{Users: 2300, Organizations: 40, Memberships: int64(len(w.clerk.Memberships()))}
	require.Equal(t, want, report.Read)
	require.Equal(t, want, report.Clerk)
	require.True(t, report.Complete())
	require.False(t, report.Resumed)
	require.EqualValues(t, want.Sum(), report.Stored.Stored)
	w.drain()
	w.requireMirrored()
	require.Equal(t, map[string]int{"user.snapshot": 2300, "organization.snapshot": 40, "organizationMembership.snapshot": len(w.clerk.Memberships())}, w.snapshots())
	require.Empty(t, w.Letters())

	report, err = w.backfill().Run(t.Context())
	require.NoError(t, err)
	require.True(t, report.Complete())
	require.Equal(t, archive.Counts{Present: uint64(want.Sum())}, report.Stored)
}

// TestBackfillInSegments: each user is in one of them.
func TestBackfillInSegments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeclerk.Options{Seed: 1, Bulk: 9001})
	report, err := w.backfill().Run(t.Context())
	require.NoError(t, err)
	require.True(t, report.Complete())
	require.Equal(t, source.Totals{Users: 9001}, report.Read)
	require.Equal(t, archive.Counts{Stored: 9001}, report.Stored)
	require.Equal(t, 9001, w.snapshots()["user.snapshot"])
	require.Less(t, w.clerk.Stats().Requests, 50)
}

// TestBackfillOfNothing ends at once.
func TestBackfillOfNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeclerk.Options{Seed: 1})
	report, err := w.backfill().Run(t.Context())
	require.NoError(t, err)
	require.True(t, report.Complete())
	require.Equal(t, source.Totals{}, report.Read)
}

// TestBackfillReadsUsersOfOneMillisecond: more of them than a page has, as an import into
// Clerk makes them, also when the one that the next page follows is deleted meanwhile.
func TestBackfillReadsUsersOfOneMillisecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeclerk.Options{Seed: 1, Now: stopped})
	for range 1700 {
		w.clerk.CreateUser(fakeclerk.User{})
	}
	users := w.clerk.Users()
	require.Equal(t, users[0].CreatedAt, users[1699].CreatedAt)
	var deleted atomic.Int64
	w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, ForgetCursor: true, BeforeRead: func(r *http.Request) {
		if cursor := r.URL.Query().Get("starting_after"); cursor != "" && deleted.Add(1) == 2 {
			w.clerk.DeleteUser(cursor)
		}
	}})
	_, err := w.backfill().Run(t.Context())
	require.NoError(t, err)
	require.Greater(t, deleted.Load(), int64(2))
	require.Equal(t, 1700, w.snapshots()["user.snapshot"])
}

// TestBackfillWhileClerkChanges: whatever comes and goes between two pages, all that was
// there before and is there afterwards is in the log, and with the webhooks the tables are
// the same as Clerk.
func TestBackfillWhileClerkChanges(t *testing.T) {
	t.Parallel()
	var w *world
	w = newWorld(t, fakeclerk.Options{Seed: 3, CascadeEvents: false, Emit: func(e fakeclerk.Event) {
		if w != nil {
			w.Append(webhook(e))
		}
	}})
	w.clerk.Populate(3000, 120)
	w.worker()
	w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, BeforeRead: func(r *http.Request) {
		for range 20 {
			w.clerk.Step()
		}
	}, AfterRead: func(*http.Request) { w.clerk.Step() }})
	report, err := w.backfill().Run(t.Context())
	require.NoError(t, err)
	require.Empty(t, report.Incomplete)
	require.Equal(t, source.Totals{}, report.Missing)
	w.drain()
	w.requireMirrored()
}

// TestBackfillNoticesDeletesBetweenPages: more memberships go away before a page than the
// pages overlap, so that an offset alone would leave as many out.
func TestBackfillNoticesDeletesBetweenPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeclerk.Options{Seed: 1})
	w.clerk.Populate(1, 1)
	org := w.clerk.Organizations()[0]
	for range 1500 {
		_, err := w.clerk.Join(w.clerk.CreateUser(fakeclerk.User{}).ID, org.ID, "org:member")
		require.NoError(t, err)
	}
	var pages atomic.Int64
	w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, BeforeRead: func(r *http.Request) {
		if r.URL.Path == "/v1/organization_memberships" && r.URL.Query().Get("limit") == "500" && pages.Add(1) == 2 {
			for _, m := range w.clerk.Memberships()[:300] {
				w.clerk.Leave(m.ID)
			}
		}
	}})
	w.worker()
	report, err := w.backfill().Run(t.Context())
	require.NoError(t, err)
	require.True(t, report.Complete())
	require.Greater(t, w.snapshots()["organizationMembership.snapshot"], 1200)
	w.drain()
	stored := map[string]bool{}
	for _, m := range w.Events() {
		stored[m.Event.Envelope.EntityID] = true
	}
	for _, m := range w.clerk.Memberships() {
		require.True(t, stored[m.ID], m.ID)
	}
}

// TestBackfillReadsIncompleteOrganizations: where Clerk counts other members than were
// read, the list of the organization is read.
func TestBackfillReadsIncompleteOrganizations(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeclerk.Options{Seed: 1})
	w.clerk.Populate(30, 3)
	all := w.clerk.Memberships()
	hidden := all[len(all)/2]
	var left atomic.Bool
	// It is not in the list of all, and in that of its organization.
	w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, BeforeRead: func(r *http.Request) {
		if r.URL.Path == "/v1/organization_memberships" && r.URL.Query().Get("limit") == "500" && left.CompareAndSwap(false, true) {
			w.clerk.Leave(hidden.ID)
		}
	}, AfterRead: func(r *http.Request) {
		if r.URL.Path == "/v1/organization_memberships" && r.URL.Query().Get("limit") == "500" {
			w.clerk.Join(hidden.UserID, hidden.OrgID, "org:admin")
		}
	}})
	w.worker()
	report, err := w.backfill().Run(t.Context())
	require.NoError(t, err)
	require.True(t, report.Complete())
	require.EqualValues(t, len(all), report.Read.Memberships)
	w.drain()
	w.requireMirrored()
}

// TestBackfillGoesOn after an error of any kind, from its last checkpoint.
func TestBackfillGoesOn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault fakeclerk.Fault
		want  string
	}{
		"500": {fakeclerk.InternalError, "Clerk answered GET /users with 500 internal_clerk_error, 8 times"},
		"502": {fakeclerk.BadGateway, "Clerk answered GET /users with 502, 8 times"},
		"cut": {fakeclerk.Truncated, "GET /users: the answer is cut off, or not JSON, 8 times"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, fakeclerk.Options{Seed: 1, Now: stopped}) // one segment
			w.clerk.Populate(1900, 3)
			w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, Fault: failing("/v1/users", 3, 0, test.fault)})
			b := w.backfill()
			_, err := b.Run(t.Context())
			require.EqualError(t, err, test.want)
			before := b.Progress()
			require.EqualValues(t, 999, before.Read.Users, "two pages, which have one user in common")

			w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true})
			report, err := w.backfill().Run(t.Context())
			require.NoError(t, err)
			require.True(t, report.Resumed)
			require.True(t, report.Complete())
			require.EqualValues(t, 1900, report.Read.Users)
			left := 1900 + 3 + int64(len(w.clerk.Memberships())) - before.Read.Sum()
			require.EqualValues(t, left, report.Stored.Stored+report.Stored.Present, "nothing from before the checkpoints")
		})
	}
}

// TestBackfillSurvivesFaults that end: it retries.
func TestBackfillSurvivesFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeclerk.Options{Seed: 1})
	w.clerk.Populate(1900, 30)
	var n atomic.Int64
	faults := []fakeclerk.Fault{fakeclerk.InternalError, fakeclerk.BadGateway, fakeclerk.Truncated, fakeclerk.Cut}
	w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, Fault: func(*http.Request) fakeclerk.Fault {
		if i := n.Add(1); i%2 == 0 {
			return faults[i/2%int64(len(faults))]
		}
		return fakeclerk.NoFault
	}})
	report, err := w.backfill().Run(t.Context())
	require.NoError(t, err)
	require.True(t, report.Complete())
	require.EqualValues(t, 1900, report.Read.Users)
}

// TestBackfillDoesNotGoOnWithAnother: a checkpoint of another log, or of another instance,
// says nothing about this one.
func TestBackfillDoesNotGoOnWithAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeclerk.Options{Seed: 1})
	w.clerk.Populate(30, 2)
	for _, column := range []string{"log_id", "instance_id"} {
		stop, cancel := context.WithCancelCause(t.Context())
		w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, AfterRead: func(r *http.Request) {
			if r.URL.Query().Get("limit") == "500" {
				cancel(errors.New("stop"))
			}
		}})
		_, err := w.backfill().Run(stop)
		require.Error(t, err)
		require.Len(t, w.Rows("SELECT log_id FROM backfill_run"), 1)
		_, err = w.Store.Pool().Exec(t.Context(), "UPDATE backfill_run SET "+column+" = 'another'")
		require.NoError(t, err)
		w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true})
		report, err := w.backfill().Run(t.Context())
		require.NoError(t, err)
		require.False(t, report.Resumed)
		require.EqualValues(t, 30, report.Read.Users)
	}
}

// TestOneBackfillAtATime: the second is refused.
func TestOneBackfillAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeclerk.Options{Seed: 1})
	other, err := w.Store.OpenBackfill(t.Context())
	require.NoError(t, err)
	_, err = w.backfill().Run(t.Context())
	require.ErrorIs(t, err, store.ErrBackfillRuns)
	require.NoError(t, other.Close())
	for range 50 { // Close has given the lock back when it returns
		other, err = w.Store.OpenBackfill(t.Context())
		require.NoError(t, err)
		require.NoError(t, other.Close())
	}
	_, err = w.backfill().Run(t.Context())
	require.NoError(t, err)
}

// TestCheckpointsFollowTheDisk: none is written for a page that the disk may not have, and
// the next run reads it again.
func TestCheckpointsFollowTheDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeclerk.Options{Seed: 1, Bulk: 1200})
	owner, err := eventlog.Open(t.Context(), w.NC, eventlog.Options{Sync: func(string) error {
		if state, err := w.Log.State(t.Context()); err != nil || state.Events > 0 {
			return errors.New("disk on fire")
		}
		return nil
	}})
	require.NoError(t, err)
	t.Cleanup(owner.Close)
	command, err := eventlog.Attach(t.Context(), w.NC, "")
	require.NoError(t, err)
	t.Cleanup(command.Close)
	w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, BeforeRead: func(r *http.Request) {
		if r.URL.Path == "/v1/users" && r.URL.Query().Get("limit") == "500" {
			testkit.Eventually(t, "the empty lists are done", func() (bool, any) {
				done := w.Rows("SELECT kind FROM backfill_segments WHERE done")
				return len(done) == 2, done
			})
		}
	}})
	b := w.backfill(func(o *source.BackfillOptions) { o.Log = command })
	_, err = b.Run(t.Context())
	require.ErrorIs(t, err, eventlog.ErrUnavailable)
	require.ErrorContains(t, err, "disk on fire")
	state, err := command.State(t.Context())
	require.NoError(t, err)
	require.NotZero(t, state.Events)
	require.Equal(t, source.Totals{}, b.Progress().Read)
	require.Equal(t, []string{"0"}, w.Rows("SELECT sum(read)::text FROM backfill_segments"))

	owner.Close() // until a restart it refuses everything
	report, err := w.backfill().Run(t.Context())
	require.NoError(t, err)
	require.True(t, report.Complete())
	require.True(t, report.Resumed)
	require.Equal(t, 1200, w.snapshots()["user.snapshot"])
}
