package replay_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/replay"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// columnsOf are the rows of users, organizations and memberships, by kind and id.
func columnsOf(t testkit.T, s *store.Store) map[string]map[string]string {
	t.Helper()
	rows := map[string]map[string]string{}
	for kind, table := range map[clerk.Kind]string{
		clerk.KindUser: "users", clerk.KindOrganization: "organizations", clerk.KindMembership: "org_memberships",
	} {
		found, err := s.Pool().Query(context.Background(), "SELECT to_jsonb(r) FROM "+table+" r")
		if err != nil {
			t.Fatal(err)
		}
		for found.Next() {
			var row map[string]json.RawMessage
			if err := found.Scan(&row); err != nil {
				t.Fatal(err)
			}
			delete(row, "email_rank") // no column of a plan: it matters to the store alone
			texts := map[string]string{}
			for name, value := range row {
				texts[name] = string(value)
			}
			var id string
			_ = json.Unmarshal(row["clerk_id"], &id)
			rows[string(kind)+" "+id] = texts
		}
		if found.Err() != nil {
			t.Fatal(found.Err())
		}
	}
	return rows
}

// whatBecame tells what happened to a row, as a plan would.
func whatBecame(before, after map[string]string) (store.Action, []string) {
	var columns []string
	for name := range after {
		if before[name] != after[name] {
			columns = append(columns, name)
		}
	}
	slices.Sort(columns)
	deleted := func(row map[string]string) bool { return row["deleted_at"] != "" && row["deleted_at"] != "null" }
	switch {
	case deleted(after) && !deleted(before):
		if before == nil {
			return store.Deleted, nil
		}
		return store.Deleted, columns
	case before == nil && after == nil, before != nil && after != nil && columns == nil:
		return store.Unchanged, nil
	case before == nil:
		return store.Created, nil
	case after == nil:
		return store.Removed, nil
	}
	return store.Updated, columns
}

// TestWhatIsPlannedHappens: of a replay that is one batch, the outcomes and every row,
// column by column; and the plan itself changes nothing.
func TestWhatIsPlannedHappens(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	rapid.Check(t, func(r *rapid.T) {
		testkit.Truncate(r, s)
		var entries []store.Entry
		for i, e := range rapid.Permutation(testkit.Histories().Draw(r, "history")).Draw(r, "order") {
			entries = append(entries, store.Entry{Change: testkit.Change(e), Seq: uint64(i + 1)})
		}
		if len(entries) == 0 {
			return
		}
		there := rapid.IntRange(0, len(entries)).Draw(r, "applied before")
		_, err := s.Apply(context.Background(), entries[:there])
		require.NoError(r, err)
		replayed := entries[rapid.IntRange(0, len(entries)-1).Draw(r, "replayed from"):]
		reapply := rapid.Bool().Draw(r, "reapply")

		before, tables := columnsOf(r, s), testkit.Tables(r, s)
		planner := replay.NewPlanner(s, reapply)
		want, err := planner.Apply(context.Background(), replayed)
		require.NoError(r, err)
		require.Equal(r, tables, testkit.Tables(r, s), "a plan writes nothing")

		apply := s.Apply
		if reapply {
			apply = s.Reapply
		}
		got, err := apply(context.Background(), replayed)
		require.NoError(r, err)
		require.Equal(r, want, got)
		after := columnsOf(r, s)
		applied := 0
		for _, outcome := range got {
			if outcome == store.Applied {
				applied++
			}
		}
		require.Len(r, planner.Planned(), applied)
		for _, p := range planner.Planned() {
			key := string(p.Kind) + " " + p.ID
			action, columns := whatBecame(before[key], after[key])
			slices.Sort(p.Columns)
			require.Equal(r, action, p.Action, key)
			require.Equal(r, columns, p.Columns, key)
			i := slices.IndexFunc(replayed, func(e store.Entry) bool { return e.Seq == p.Seq })
			require.Equal(r, p.ID, replayed[i].Change.ID)
			require.Equal(r, store.Applied, got[i])
		}
	})
}

// TestPlannedWhoMoves: also of a replay of several batches it is told of exactly the
// entities that get a newer version, and of the event that makes it.
func TestPlannedWhoMoves(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	heads := func(r *rapid.T) map[string]uint64 {
		moved := map[string]uint64{}
		rows, err := s.Pool().Query(context.Background(), "SELECT kind || ' ' || clerk_id, event_seq FROM entity_heads WHERE event_id <> ''")
		require.NoError(r, err)
		defer rows.Close()
		for rows.Next() {
			var name string
			var seq int64
			require.NoError(r, rows.Scan(&name, &seq))
			moved[name] = uint64(seq)
		}
		require.NoError(r, rows.Err())
		return moved
	}
	rapid.Check(t, func(r *rapid.T) {
		testkit.Truncate(r, s)
		var entries []store.Entry
		for i, e := range rapid.Permutation(testkit.Histories().Draw(r, "history")).Draw(r, "order") {
			entries = append(entries, store.Entry{Change: testkit.Change(e), Seq: uint64(i + 1)})
		}
		if len(entries) == 0 {
			return
		}
		there := rapid.IntRange(0, len(entries)).Draw(r, "applied before")
		_, err := s.Apply(context.Background(), entries[:there])
		require.NoError(r, err)
		before := heads(r)
		planner := replay.NewPlanner(s, false)
		var want, got []store.Outcome
		var sizes []int
		for left := entries; len(left) > 0; {
			n := rapid.IntRange(1, len(left)).Draw(r, "batch")
			outcomes, err := planner.Apply(context.Background(), left[:n])
			require.NoError(r, err)
			want, sizes, left = append(want, outcomes...), append(sizes, n), left[n:]
		}
		for left := entries; len(left) > 0; sizes = sizes[1:] {
			outcomes, err := s.Apply(context.Background(), left[:sizes[0]])
			require.NoError(r, err)
			got, left = append(got, outcomes...), left[sizes[0]:]
		}
		require.Equal(r, got, want)
		moved := map[string]uint64{}
		for name, seq := range heads(r) {
			if before[name] != seq {
				moved[name] = seq
			}
		}
		planned := map[string]uint64{}
		for _, p := range planner.Planned() {
			planned[string(p.Kind)+" "+p.ID] = p.Seq
		}
		require.Equal(r, moved, planned)
	})
}

// TestPlannedReplay: through the replay itself, with what cannot be applied only
// counted.
func TestPlannedReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bad := user(9)
	bad.Body = []byte("{")
	w.Append(user(1), user(2), bad, userAt(1, 9, "new@example.com"), org(1, 1), joined(1, 1, 2), userDeleted(2, 5))
	w.replay(eventlog.Filter{To: 1})
	tables := testkit.Tables(t, w.Store)
	planner := replay.NewPlanner(w.Store, false)
	r := replay.NewEvents(w.scan(eventlog.Filter{}), nil, replay.Options{Apply: planner.Apply, Appliers: 1})
	require.NoError(t, r.Run(t.Context()))
	require.EqualValues(t, 1, r.Counts().Dead)
	require.Empty(t, w.Letters())
	require.Equal(t, tables, testkit.Tables(t, w.Store))
	var got []string
	for _, p := range planner.Planned() {
		got = append(got, string(p.Kind)+" "+p.ID+" "+string(p.Action))
	}
	require.Equal(t, []string{
		"membership orgmem_11 created", "organization org_1 created", "user user_1 updated", "user user_2 deleted",
	}, got)
}
