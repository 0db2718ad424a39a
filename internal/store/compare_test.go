package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

func scratchOf(t *testing.T, s *store.Store) *store.Store {
	t.Helper()
	scratch, drop, err := s.CreateScratch(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, drop(context.Background())) })
	return scratch
}

func differences(t *testing.T, s, scratch *store.Store) []*store.Difference {
	t.Helper()
	var all []*store.Difference
	require.NoError(t, s.Compare(t.Context(), scratch, func(d *store.Difference) error {
		all = append(all, d)
		return nil
	}))
	return all
}

// TestEqualTablesDoNotDiffer: whatever the order of the events, and whatever columns
// an operator added.
func TestEqualTablesDoNotDiffer(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	scratch := scratchOf(t, s)
	require.Empty(t, differences(t, s, scratch))
	_, err := s.Pool().Exec(t.Context(), "ALTER TABLE users ADD note text DEFAULT 'ours'; ALTER TABLE entity_heads ADD note text")
	require.NoError(t, err)
	entries := mixedBatch(0, 300, 1)
	entries = append(entries, entry(joinedAt(1, "orgmem_1")), entry(userDeletedAt(1, "user_gone")))
	apply(t, s, entries)
	erase(t, s, "user_gone")
	slices.Reverse(entries)
	for i := range entries {
		entries[i].Seq += 1000
	}
	for part := range slices.Chunk(entries, 70) {
		apply(t, scratch, part)
	}
	require.Empty(t, differences(t, s, scratch))
}

// TestEveryDifferenceIsTold, and what explains it.
func TestEveryDifferenceIsTold(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	scratch := scratchOf(t, s)
	joined, gone := joinedAt(1, "orgmem_1"), userDeletedAt(5, "user_gone")
	batch(t, s, userAt(1, "user_1", addressA), orgAt(1, "org_1"), joined, userAt(1, "user_gone", ""), gone)
	erase(t, s, "user_gone")
	batch(t, scratch, userAt(1, "user_1", addressA), userAt(2, "user_1", addressB), joined, userAt(1, "user_lost", ""))
	_, err := s.Pool().Exec(t.Context(), "DELETE FROM org_memberships")
	require.NoError(t, err)

	all := differences(t, s, scratch)
	var told []string
	for _, d := range all {
		names := []string{}
		for _, c := range d.Columns {
			names = append(names, c.Name)
		}
		told = append(told, fmt.Sprintf("%s %s %s %q %s", d.Table, d.Kind, d.ClerkID, d.OnlyIn, strings.Join(names, ",")))
	}
	require.Equal(t, []string{
		`users user user_1 "" email,primary_email,name,first_name,raw,updated_at`,
		`users user user_gone "tables" `,
		`users user user_lost "log" `,
		`organizations organization org_1 "" name,slug,raw,created_at,updated_at`,
		`org_memberships membership orgmem_1 "log" `,
		`entity_heads organization org_1 "" updated_at,event_at,event_id`,
		`entity_heads user user_1 "" updated_at,event_at,event_id`,
		`entity_heads user user_gone "tables" `,
		`entity_heads user user_lost "log" `,
	}, told)

	require.Equal(t, store.ColumnDifference{
		Name: "email", InTables: json.RawMessage(`"a@example.com"`), InLog: json.RawMessage(`"b@example.com"`),
	}, all[0].Columns[0])
	require.Equal(t, msg("user_1", 1), all[0].HeadInTables.EventID)
	require.Equal(t, msg("user_1", 2), all[0].HeadInLog.EventID)
	require.Equal(t, int64(2), all[0].HeadInLog.EventSeq)
	require.True(t, all[1].HeadInTables.Deleted)
	require.WithinDuration(t, time.Now(), *all[1].HeadInTables.ErasedAt, time.Minute)
	require.Nil(t, all[1].HeadInLog)
	require.Nil(t, all[2].HeadInTables)
	require.NotNil(t, all[4].HeadInTables, "the row of a membership is gone, not its head")
	require.Equal(t, `null`, string(all[3].Columns[0].InLog), "a stub has no name")
	require.Equal(t, all[1].HeadInTables, all[7].HeadInTables)
}

// TestRestoredDifferenceIsExplained: the log says that the user is deleted.
func TestRestoredDifferenceIsExplained(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	scratch := scratchOf(t, s)
	restoreUser(t, s)
	batch(t, scratch, userAt(1, "user_1", addressA), orgAt(1, "org_1"), joinedAt(1, "orgmem_1"), userDeletedAt(5, "user_1"), leftAt(6, "orgmem_1", 1))
	for _, d := range differences(t, s, scratch) {
		require.NotNil(t, d.HeadInTables.RestoredAt)
		require.True(t, d.HeadInLog.Deleted)
		require.Nil(t, d.HeadInLog.RestoredAt)
	}
}

// TestSeatThatDiffers is told by the membership that was created last, which explains it.
func TestSeatThatDiffers(t *testing.T) {
	t.Parallel()
	for name, inTables := range map[string]bool{"the tables have the later one": true, "the log has it": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testkit.Store(t)
			scratch := scratchOf(t, s)
			batch(t, s, joinedAt(1, "orgmem_1"))
			batch(t, scratch, joinedAt(1, "orgmem_1"))
			has, lacks := scratch, s
			if inTables {
				has, lacks = s, scratch
			}
			batch(t, has, joinedAt(2, "orgmem_2"))
			var seats []*store.Difference
			for _, d := range differences(t, s, scratch) {
				if d.Table == "seats" {
					seats = append(seats, d)
				}
			}
			require.Len(t, seats, 1)
			require.Equal(t, "orgmem_2", seats[0].ClerkID)
			require.Empty(t, seats[0].OnlyIn)
			require.Equal(t, []bool{inTables, !inTables}, []bool{seats[0].HeadInTables != nil, seats[0].HeadInLog != nil})

			_, err := lacks.Pool().Exec(t.Context(), "DELETE FROM seats")
			require.NoError(t, err)
			for _, d := range differences(t, s, scratch) {
				if d.Table == "seats" {
					require.Equal(t, map[bool]string{true: "tables", false: "log"}[inTables], d.OnlyIn)
				}
			}
		})
	}
}

// TestCompareEndsWithTheCallersError.
func TestCompareEndsWithTheCallersError(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	scratch := scratchOf(t, s)
	batch(t, s, userAt(1, "user_1", ""), userAt(1, "user_2", ""))
	enough := errors.New("enough")
	calls := 0
	require.Equal(t, enough, s.Compare(t.Context(), scratch, func(*store.Difference) error {
		calls++
		return enough
	}))
	require.Equal(t, 1, calls)
	require.Equal(t, []store.Outcome{store.Applied}, batch(t, s, userAt(2, "user_1", "")), "the store goes on")
}

// TestCompareReadsEachTableOnce: many rows, in tables that were never analyzed.
func TestCompareReadsEachTableOnce(t *testing.T) {
	t.Parallel()
	url := testkit.DatabaseURL(t)
	s := testkit.OpenStore(t, url)
	scratch := scratchOf(t, s)
	fill(t, url, 20_000)
	_, err := s.Pool().Exec(t.Context(), `INSERT INTO clerk_verify.users SELECT * FROM users;
		INSERT INTO clerk_verify.organizations SELECT * FROM organizations;
		INSERT INTO clerk_verify.org_memberships SELECT * FROM org_memberships;
		INSERT INTO clerk_verify.seats SELECT * FROM seats;
		INSERT INTO clerk_verify.entity_heads SELECT * FROM entity_heads WHERE clerk_id <> 'user_77'`)
	require.NoError(t, err)
	began := time.Now()
	all := differences(t, s, scratch)
	require.Len(t, all, 1)
	require.Equal(t, clerk.KindUser, all[0].Kind)
	require.Equal(t, "user_77", all[0].ClerkID)
	require.Less(t, time.Since(began), 20*time.Second) // to look up every row by a scan would take minutes
}
