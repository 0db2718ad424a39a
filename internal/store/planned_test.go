package store_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestPlan tells of every row that winning events are about what would become of it.
func TestPlan(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	batch(t, s, userAt(1, "user_1", addressA), orgAt(1, "org_1"), orgAt(1, "org_2"), joinedAt(1, "orgmem_1"), joinedAt(2, "orgmem_2"), userAt(9, "user_4", ""))
	role := testkit.Event("msg_role", "organizationMembership.updated", base+3,
		testkit.MembershipData("orgmem_2", "user_1", "org_1", "org:admin", base+2, base+3))
	plan := func(reapply bool, events ...*clerk.Event) ([]store.Outcome, []store.Planned) {
		before := wholeTables(t, s)
		outcomes, planned, err := s.Plan(t.Context(), entriesOf(events), reapply)
		require.NoError(t, err)
		require.Equal(t, before, wholeTables(t, s))
		return outcomes, planned
	}
	const applied, stale, duplicate = store.Applied, store.Stale, store.Duplicate

	outcomes, planned := plan(false, userAt(2, "user_1", addressB), userAt(1, "user_4", ""), orgDeletedAt(2, "org_2"), role,
		userAt(1, "user_2", ""), userDeletedAt(1, "user_3"), joinedAt(1, "orgmem_1"))
	require.Equal(t, []store.Outcome{applied, stale, applied, applied, applied, applied, duplicate}, outcomes)
	require.Equal(t, []store.Planned{
		{Kind: clerk.KindMembership, ID: "orgmem_2", Action: store.Updated, Columns: []string{"role", "updated_at"}},
		{
			Kind: clerk.KindOrganization, ID: "org_2", Action: store.Deleted,
			Columns: []string{"name", "slug", "raw", "created_at", "updated_at", "deleted_at"},
		},
		{
			Kind: clerk.KindUser, ID: "user_1", Action: store.Updated,
			Columns: []string{"email", "primary_email", "name", "first_name", "raw", "updated_at"},
		},
		{Kind: clerk.KindUser, ID: "user_2", Action: store.Created},
		{Kind: clerk.KindUser, ID: "user_3", Action: store.Deleted},
	}, planned)

	outcomes, planned = plan(false, leftAt(4, "orgmem_2", 2))
	require.Equal(t, []store.Outcome{applied}, outcomes)
	require.Equal(t, []store.Planned{{Kind: clerk.KindMembership, ID: "orgmem_2", Action: store.Removed}}, planned)

	outcomes, planned = plan(true, joinedAt(1, "orgmem_1"), orgAt(1, "org_1"))
	require.Equal(t, []store.Outcome{applied, applied}, outcomes)
	require.Equal(t, []store.Planned{
		{Kind: clerk.KindMembership, ID: "orgmem_1", Action: store.Unchanged},
		{Kind: clerk.KindOrganization, ID: "org_1", Action: store.Unchanged},
	}, planned)

	outcomes, planned = plan(false)
	require.Empty(t, outcomes)
	require.Empty(t, planned)
}

// wholeTables are all rows with all columns, those of time too.
func wholeTables(t require.TestingT, s *store.Store) []map[string]row {
	var all []map[string]row
	for _, table := range []string{"users", "organizations", "org_memberships"} {
		all = append(all, rowsOf(t, s, "SELECT to_jsonb(r) FROM "+table+" r"))
	}
	return append(all, rowsOf(t, s, "SELECT to_jsonb(r) || jsonb_build_object('clerk_id', kind || ' ' || clerk_id) FROM entity_heads r"))
}

// TestPlanWritesNothingAndTellsTheOutcomes that applying has then.
func TestPlanWritesNothingAndTellsTheOutcomes(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	rapid.Check(t, func(r *rapid.T) {
		empty(t, s)
		entries := entriesOf(rapid.OneOf(testkit.Histories(), anything()).Draw(r, "events"))
		for len(entries) > 0 {
			n := rapid.IntRange(1, len(entries)).Draw(r, "batch")
			reapply, do := false, s.Apply
			if rapid.Bool().Draw(r, "reapply") {
				reapply, do = true, s.Reapply
			}
			before, rows := wholeTables(r, s), testkit.Tables(r, s)
			want, planned, err := s.Plan(context.Background(), entries[:n], reapply)
			require.NoError(r, err)
			require.Equal(r, before, wholeTables(r, s))
			got, err := do(context.Background(), entries[:n])
			require.NoError(r, err)
			require.Equal(r, want, got)
			changed := false
			for _, p := range planned {
				changed = changed || p.Action != store.Unchanged
			}
			if changed {
				require.NotEqual(r, rows, testkit.Tables(r, s))
			}
			entries = entries[n:]
		}
	})
}

// TestPlanOfWhatPostgreSQLRefuses fails like Apply.
func TestPlanOfWhatPostgreSQLRefuses(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	_, _, err := s.Plan(t.Context(), []store.Entry{userWith("user_1", longAddress(), "{}")}, false)
	require.ErrorIs(t, err, store.ErrRefused)
}
