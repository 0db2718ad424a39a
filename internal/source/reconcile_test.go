package source_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/fakeclerk"
	"github.com/clerksync/clerksync/internal/source"
	"github.com/clerksync/clerksync/internal/testkit"
)

// reconcile runs a comparison and returns what it found, sorted.
func (w *world) reconcile(change ...func(*source.ReconcileOptions)) (source.ReconcileReport, []string, error) {
	w.t.Helper()
	found := []string{}
	o := source.ReconcileOptions{Client: w.client(), Log: w.Log, Store: w.Store, Logger: slog.New(slog.DiscardHandler)}
	o.Found = func(d *source.Difference) {
		text := fmt.Sprintf("%s %s", d.Name, d.ID)
		if d.Fixed {
			text += " fixed"
		}
		found = append(found, text)
	}
	for _, f := range change {
		f(&o)
	}
	r := source.WithoutSettling(source.NewReconciler(o), 20*time.Second)
	err := r.Run(context.Background())
	slices.Sort(found)
	return r.Report(), found, err
}

func fix(o *source.ReconcileOptions)          { o.Fix = true }
func allowDeletes(o *source.ReconcileOptions) { o.AllowDeletes = true }

// repairs returns the types of the events that a reconcile stored.
func (w *world) repairs() []string {
	w.t.Helper()
	types := []string{}
	for _, m := range w.Events() {
		if m.Event.Origin == clerk.OriginReconcile {
			types = append(types, m.Event.Envelope.Type)
		}
	}
	slices.Sort(types)
	return types
}

// mirrored is a world whose tables have what Clerk has, and a worker.
func mirrored(t *testing.T, people, organizations int) *world {
	t.Helper()
	w := newWorld(t, fakeclerk.Options{Seed: 1})
	w.clerk.Populate(people, organizations)
	w.worker()
	_, err := w.backfill().Run(t.Context())
	require.NoError(t, err)
	w.drain()
	w.requireMirrored()
	return w
}

// TestReconcile: a difference of every kind is found, and with Fix fixed.
func TestReconcile(t *testing.T) {
	t.Parallel()
	w := mirrored(t, 620, 12)
	c := w.clerk
	report, found, err := w.reconcile()
	require.NoError(t, err)
	require.Empty(t, found)
	require.Equal(t, source.Totals{Users: 620, Organizations: 12, Memberships: int64(len(c.Memberships()))}, report.Read)
	require.Equal(t, report.Clerk, report.Read)

	// Webhooks that never came.
	users, orgs := c.Users(), c.Organizations()
	newUser := c.CreateUser(fakeclerk.User{Email: "new@example.com"})
	_, err = c.UpdateUser(users[0].ID, func(u *fakeclerk.User) { u.LastName = "Changed" })
	require.NoError(t, err)
	require.NoError(t, c.DeleteUser(users[1].ID))
	newOrg, err := c.CreateOrganization(fakeclerk.Organization{Name: "New", Slug: "new"})
	require.NoError(t, err)
	_, err = c.UpdateOrganization(orgs[0].ID, func(o *fakeclerk.Organization) { o.Name = "Changed" })
	require.NoError(t, err)
	require.NoError(t, c.DeleteOrganization(orgs[1].ID))
	joined, err := c.Join(newUser.ID, newOrg.ID, "org:member")
	require.NoError(t, err)
	all := c.Memberships()
	promoted, left, wrongly := all[0], all[1], all[2]
	_, err = c.SetRole(promoted.ID, "org:other")
	require.NoError(t, err)
	require.NoError(t, c.Leave(left.ID))
	member := all[len(all)-2].UserID
	require.NotContains(t, []string{users[0].ID, users[1].ID, promoted.UserID, left.UserID, wrongly.UserID, newUser.ID}, member)
	_, err = c.SetRole(all[len(all)-2].ID, "org:other") // goes with its user, which is the difference
	require.NoError(t, err)
	// A delete that is wrong.
	w.Append(testkit.Event("msg_wrong_1", "user.deleted", time.Now().UnixMilli(), testkit.DeletedData("user", member)))
	w.Append(testkit.Event("msg_wrong_2", "organizationMembership.deleted", time.Now().UnixMilli(),
		testkit.MembershipData(wrongly.ID, wrongly.UserID, wrongly.OrgID, wrongly.Role, wrongly.CreatedAt, wrongly.UpdatedAt)))
	w.drain()

	want := []string{
		"deleted " + users[1].ID, "deleted " + orgs[1].ID, "extra " + left.ID,
		"missing " + newUser.ID, "missing " + newOrg.ID, "missing " + joined.ID,
		"outdated " + users[0].ID, "outdated " + orgs[0].ID, "outdated " + promoted.ID,
		"tombstoned " + member, "tombstoned " + wrongly.ID,
	}
	slices.Sort(want)
	report, found, err = w.reconcile()
	require.NoError(t, err)
	require.Equal(t, want, found)
	one := source.Totals{Users: 1, Organizations: 1, Memberships: 1}
	require.Equal(t, one, report.Missing)
	require.Equal(t, one, report.Outdated)
	require.Equal(t, source.Totals{Users: 1, Organizations: 1}, report.Deleted)
	require.Equal(t, source.Totals{Memberships: 1}, report.Extra)
	require.Equal(t, source.Totals{Users: 1, Memberships: 1}, report.Tombstoned)
	require.EqualValues(t, 11, report.Differences())
	require.Zero(t, report.Fixed)
	require.Empty(t, w.repairs())

	for i, text := range want {
		if !strings.HasPrefix(text, "tombstoned") {
			want[i] += " fixed"
		}
	}
	report, found, err = w.reconcile(fix)
	require.NoError(t, err)
	require.Equal(t, want, found)
	require.Equal(t, source.Totals{Users: 3, Organizations: 3, Memberships: 3}, report.Fixed)
	require.Equal(t, []string{
		"organization.deleted", "organization.snapshot", "organization.snapshot",
		"organizationMembership.deleted", "organizationMembership.snapshot", "organizationMembership.snapshot",
		"user.deleted", "user.snapshot", "user.snapshot",
	}, w.repairs())
	_, found, err = w.reconcile()
	require.NoError(t, err)
	require.Equal(t, []string{"tombstoned " + wrongly.ID, "tombstoned " + member}, found)
	require.NoError(t, c.Leave(wrongly.ID))
	require.NoError(t, c.DeleteUser(member))
	w.requireMirrored()
}

// TestReconcileInventsNothing while Clerk changes between and within its answers, and the
// webhooks arrive.
func TestReconcileInventsNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		var w *world
		w = newWorld(t, fakeclerk.Options{Seed: seed, CascadeEvents: seed%2 == 0, Emit: func(e fakeclerk.Event) { w.Append(webhook(e)) }})
		w.worker()
		w.clerk.Populate(120, 8)
		_, err := w.backfill().Run(t.Context())
		require.NoError(t, err)
		var mu sync.Mutex
		rng := rand.New(rand.NewPCG(seed, 7))
		change := func(*http.Request) {
			mu.Lock()
			defer mu.Unlock()
			for range rng.IntN(8) {
				w.clerk.Step()
			}
			if orgs := w.clerk.Organizations(); rng.IntN(6) == 0 && len(orgs) > 2 {
				_ = w.clerk.DeleteOrganization(orgs[rng.IntN(len(orgs))].ID)
			}
			if users := w.clerk.Users(); rng.IntN(4) == 0 {
				_, err := w.clerk.CreateOrganization(fakeclerk.Organization{Name: "New", CreatedBy: users[rng.IntN(len(users))].ID})
				require.NoError(t, err)
			}
		}
		w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, BeforeRead: change, AfterRead: change})
		for range 3 {
			report, found, err := w.reconcile(fix, allowDeletes)
			require.NoError(t, err)
			require.Empty(t, found)
			require.Zero(t, report.Fixed)
		}
		require.Empty(t, w.repairs())
		w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true})
		w.drain()
		w.requireMirrored()
	}
}

// TestReconcileOfAMembershipThatComesAndGoes after the list was read.
func TestReconcileOfAMembershipThatComesAndGoes(t *testing.T) {
	t.Parallel()
	var w *world
	w = newWorld(t, fakeclerk.Options{Seed: 1, Emit: func(e fakeclerk.Event) { w.Append(webhook(e)) }})
	w.worker()
	user := w.clerk.CreateUser(fakeclerk.User{Email: "one@example.com"})
	org, err := w.clerk.CreateOrganization(fakeclerk.Organization{Name: "One"})
	require.NoError(t, err)
	w.drain()
	var requests, asked int
	var joined fakeclerk.Membership
	var mu sync.Mutex
	w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, BeforeRead: func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/v1/users/"+user.ID+"/organization_memberships" {
			asked++
			_ = w.clerk.Leave(joined.ID)
		}
	}, AfterRead: func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/v1/organization_memberships" && r.URL.Query().Get("limit") == "500" {
			if requests++; requests == 1 {
				joined, _ = w.clerk.Join(user.ID, org.ID, "org:member")
				w.drain()
			}
		}
	}})
	_, found, err := w.reconcile(fix)
	require.NoError(t, err)
	require.Empty(t, found)
	require.Equal(t, 1, requests)
	require.Equal(t, 1, asked)
}

// TestReconcileOfWhatIsDeletedMeanwhile: a list showed it, and by the time of the comparison
// the tombstone is right.
func TestReconcileOfWhatIsDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	var w *world
	w = newWorld(t, fakeclerk.Options{Seed: 1, Emit: func(e fakeclerk.Event) { w.Append(webhook(e)) }})
	w.worker()
	user, member := w.clerk.CreateUser(fakeclerk.User{}), w.clerk.CreateUser(fakeclerk.User{})
	org, err := w.clerk.CreateOrganization(fakeclerk.Organization{Name: "One"})
	require.NoError(t, err)
	other, err := w.clerk.CreateOrganization(fakeclerk.Organization{Name: "Other"})
	require.NoError(t, err)
	membership, err := w.clerk.Join(member.ID, other.ID, "org:member")
	require.NoError(t, err)
	w.drain()
	deleted := 0
	var mu sync.Mutex
	w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, AfterRead: func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		remove := map[string]func() error{
			"/v1/users":                    func() error { return w.clerk.DeleteUser(user.ID) },
			"/v1/organizations":            func() error { return w.clerk.DeleteOrganization(org.ID) },
			"/v1/organization_memberships": func() error { return w.clerk.Leave(membership.ID) },
		}[r.URL.Path]
		if remove != nil && r.URL.Query().Get("limit") == "500" && remove() == nil {
			deleted++
			w.drain()
		}
	}})
	_, found, err := w.reconcile(fix)
	require.NoError(t, err)
	require.Equal(t, 3, deleted)
	require.Empty(t, found)
	w.requireMirrored()
}

// TestReconcileAfterTheDatabaseWasRestored from a backup: the log holds the snapshots that
// the tables lack, and the repairs are stored all the same.
func TestReconcileAfterTheDatabaseWasRestored(t *testing.T) {
	t.Parallel()
	w := mirrored(t, 20, 2)
	user := w.clerk.CreateUser(fakeclerk.User{Email: "new@example.com"})
	_, err := w.backfill().Run(t.Context())
	require.NoError(t, err)
	w.drain()
	for _, statement := range []string{"DELETE FROM users WHERE clerk_id = $1", "DELETE FROM entity_heads WHERE clerk_id = $1"} {
		_, err := w.Store.Pool().Exec(t.Context(), statement, user.ID)
		require.NoError(t, err)
	}
	_, found, err := w.reconcile(fix)
	require.NoError(t, err)
	require.Equal(t, []string{"missing " + user.ID + " fixed"}, found)
	w.requireMirrored()
}

// TestReconcileOfASeatThatIsTaken: the row of a membership that is gone went to a newer one
// before Clerk confirmed it.
func TestReconcileOfASeatThatIsTaken(t *testing.T) {
	t.Parallel()
	w := mirrored(t, 20, 2)
	left := w.clerk.Memberships()[0]
	require.NoError(t, w.clerk.Leave(left.ID))
	var back fakeclerk.Membership
	w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, AfterRead: func(r *http.Request) {
		if r.URL.Path == "/v1/users/"+left.UserID+"/organization_memberships" && back.ID == "" {
			back, _ = w.clerk.Join(left.UserID, left.OrgID, "org:member")
			w.Append(testkit.Event("msg_back", "organizationMembership.created", back.UpdatedAt,
				testkit.MembershipData(back.ID, back.UserID, back.OrgID, back.Role, back.CreatedAt, back.UpdatedAt)))
			w.drain()
		}
	}})
	_, found, err := w.reconcile(fix)
	require.NoError(t, err)
	require.NotEmpty(t, back.ID)
	require.Empty(t, found)
	w.requireMirrored()
}

// TestReconcileStopsAtManyDeletes unless they are allowed.
func TestReconcileStopsAtManyDeletes(t *testing.T) {
	t.Parallel()
	w := mirrored(t, 40, 2)
	for _, u := range w.clerk.Users()[:11] {
		require.NoError(t, w.clerk.DeleteUser(u.ID))
	}
	for _, change := range [][]func(*source.ReconcileOptions){{}, {fix}} {
		report, found, err := w.reconcile(change...)
		var many *source.ManyDeletesError
		require.ErrorAs(t, err, &many)
		require.EqualError(t, err, "Clerk does not have 11 of 40 live rows of kind user, and more than 10 need a confirmation")
		require.Equal(t, source.Totals{Users: 11}, report.Deleted)
		require.Empty(t, found)
	}
	require.Empty(t, w.repairs())
	report, _, err := w.reconcile(fix, allowDeletes)
	require.NoError(t, err)
	require.Equal(t, source.Totals{Users: 11}, report.Fixed)
	w.requireMirrored()
}

// TestReconcileOfAnInstanceThatIsGone in the middle of it deletes nothing.
func TestReconcileOfAnInstanceThatIsGone(t *testing.T) {
	t.Parallel()
	w := mirrored(t, 20, 2)
	gone := w.clerk.Users()[3].ID
	require.NoError(t, w.clerk.DeleteUser(gone))
	w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, BeforeRead: func(r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/users/"+gone) {
			w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, Unresolved: true})
		}
	}})
	_, found, err := w.reconcile(fix)
	require.ErrorIs(t, err, source.ErrKey)
	require.Empty(t, found)
	require.Empty(t, w.repairs())
}

// TestReconcileWithoutAWorker says that the repairs are not applied, and the next run
// neither counts nor stores them again.
func TestReconcileWithoutAWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeclerk.Options{Seed: 1})
	w.clerk.CreateUser(fakeclerk.User{Email: "new@example.com"})
	o := source.ReconcileOptions{Client: w.client(), Log: w.Log, Store: w.Store, Logger: slog.New(slog.DiscardHandler), Fix: true}
	r := source.WithoutSettling(source.NewReconciler(o), 50*time.Millisecond)
	require.ErrorIs(t, r.Run(t.Context()), source.ErrNotApplied)
	require.Equal(t, source.Totals{Users: 1}, r.Report().Missing)
	require.Zero(t, r.Report().Fixed)
	report, found, err := w.reconcile(fix)
	require.NoError(t, err)
	require.Empty(t, found)
	require.EqualValues(t, 1, report.Undecided)
	require.Len(t, w.repairs(), 1)
	w.worker()
	w.drain()
	w.requireMirrored()
}

// TestReconcileCountsNoDeletesOnTheirWay: webhooks that come just now are not too many
// deletes.
func TestReconcileCountsNoDeletesOnTheirWay(t *testing.T) {
	t.Parallel()
	w := mirrored(t, 40, 2)
	gone := w.clerk.Users()[:15]
	for _, u := range gone {
		require.NoError(t, w.clerk.DeleteUser(u.ID))
	}
	came := false
	w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, AfterRead: func(r *http.Request) {
		if len(r.URL.Query()["user_id"]) == len(gone) {
			came = true
			for _, u := range gone {
				w.Append(testkit.Event("msg_"+u.ID, "user.deleted", time.Now().UnixMilli(), testkit.DeletedData("user", u.ID)))
			}
			w.drain()
		}
	}})
	_, found, err := w.reconcile()
	require.NoError(t, err)
	require.True(t, came)
	require.Empty(t, found)
}

// TestReconcileOfUsersWhoSignUpMeanwhile: after the list was read, more than deletes are
// allowed.
func TestReconcileOfUsersWhoSignUpMeanwhile(t *testing.T) {
	t.Parallel()
	w := mirrored(t, 20, 2)
	pages := 0
	w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, AfterRead: func(r *http.Request) {
		if r.URL.Path != "/v1/users" || r.URL.Query().Get("limit") != "500" {
			return
		}
		if pages++; pages == 2 { // the end of the list
			for range 15 {
				u := w.clerk.CreateUser(fakeclerk.User{LastName: "New"})
				w.Append(testkit.Event("msg_"+u.ID, "user.created", u.CreatedAt, testkit.UserData(u.ID, "", "New", u.CreatedAt, u.UpdatedAt)))
			}
			w.drain()
		}
	}})
	_, found, err := w.reconcile(fix)
	require.NoError(t, err)
	require.Equal(t, 2, pages)
	require.Empty(t, found)
}

// TestReconcileKeepsWhatWasRestored by an operator.
func TestReconcileKeepsWhatWasRestored(t *testing.T) {
	t.Parallel()
	w := mirrored(t, 20, 2)
	m := w.clerk.Memberships()[0]
	_, err := w.Store.Pool().Exec(t.Context(), `UPDATE entity_heads SET restored_at = now() WHERE clerk_id = $1`, m.UserID)
	require.NoError(t, err)
	require.NoError(t, w.clerk.DeleteUser(m.UserID))
	_, found, err := w.reconcile(fix)
	require.NoError(t, err)
	require.Empty(t, found)
}

// TestReconcileSince compares only users that were updated since, and asks for no others.
func TestReconcileSince(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeclerk.Options{Seed: 1, Bulk: 3000})
	created := w.clerk.CreateUser(fakeclerk.User{Email: "new@example.com"})
	report, found, err := w.reconcile(func(o *source.ReconcileOptions) { o.Since = time.UnixMilli(created.UpdatedAt) })
	require.NoError(t, err)
	require.Equal(t, []string{"missing " + created.ID}, found)
	require.EqualValues(t, 1, report.Read.Users)
	require.Less(t, w.clerk.Stats().Requests, 12)
}
