package store_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestAddressThatAnOperatorWroteGoesToItsClaimant, whatever the row that has it claims;
// that row becomes what its own claim says.
func TestAddressThatAnOperatorWroteGoesToItsClaimant(t *testing.T) {
	t.Parallel()
	const write = "UPDATE users SET email = $2 WHERE clerk_id = $1"
	for name, tt := range map[string]struct {
		before []*clerk.Event
		edits  [][]any // Clerk id and address
		events []*clerk.Event
		want   map[string]string
	}{
		"a row with an address of its own": {
			before: []*clerk.Event{userAt(9, "user_2", addressB)}, edits: [][]any{{"user_2", addressA}},
			events: []*clerk.Event{userAt(1, "user_1", addressA)},
			want:   map[string]string{"user_1": addressA, "user_2": addressB},
		},
		"a row whose own address another user waits for": {
			before: []*clerk.Event{userAt(9, "user_2", addressB), userAt(8, "user_3", addressB)}, edits: [][]any{{"user_2", addressA}},
			events: []*clerk.Event{userAt(1, "user_1", addressA)},
			want:   map[string]string{"user_1": addressA, "user_2": addressB},
		},
		"a row whose own address a newer claimant has": {
			before: []*clerk.Event{userAt(7, "user_2", addressB), userAt(8, "user_3", addressB)}, edits: [][]any{{"user_2", addressA}},
			events: []*clerk.Event{userAt(1, "user_1", addressA)},
			want:   map[string]string{"user_1": addressA, "user_3": addressB},
		},
		"a row without a claim": {
			before: []*clerk.Event{userAt(9, "user_2", "")}, edits: [][]any{{"user_2", addressA}},
			events: []*clerk.Event{userAt(1, "user_1", addressA)},
			want:   map[string]string{"user_1": addressA},
		},
		"a deleted user's row": {
			before: []*clerk.Event{userDeletedAt(9, "user_2")}, edits: [][]any{{"user_2", addressA}},
			events: []*clerk.Event{userAt(1, "user_1", addressA)},
			want:   map[string]string{"user_1": addressA},
		},
		"a chain of rows": {
			before: []*clerk.Event{userAt(7, "user_2", addressB), userAt(8, "user_3", "c@example.com"), userAt(9, "user_4", "d@example.com")},
			edits:  [][]any{{"user_2", nil}, {"user_3", addressB}, {"user_4", "c@example.com"}, {"user_2", addressA}},
			events: []*clerk.Event{userAt(1, "user_1", addressA)},
			want:   map[string]string{"user_1": addressA, "user_2": addressB, "user_3": "c@example.com", "user_4": "d@example.com"},
		},
		"a row of the same batch": {
			before: []*clerk.Event{userAt(1, "user_2", addressB)}, edits: [][]any{{"user_2", addressA}},
			events: []*clerk.Event{userAt(1, "user_1", addressA), userAt(2, "user_2", addressB)},
			want:   map[string]string{"user_1": addressA, "user_2": addressB},
		},
		"an older claimant, in the place of the newest": {
			before: []*clerk.Event{userAt(9, "user_2", addressA), userAt(8, "user_3", addressA)}, edits: [][]any{{"user_2", nil}, {"user_3", addressA}},
			events: []*clerk.Event{userAt(1, "user_1", addressA)},
			want:   map[string]string{"user_2": addressA},
		},
		"a claimant that was given another": {
			before: []*clerk.Event{userAt(9, "user_2", addressA)}, edits: [][]any{{"user_2", addressB}},
			events: []*clerk.Event{userAt(1, "user_1", addressA)},
			want:   map[string]string{"user_2": addressA},
		},
		"a row that no event made": {
			edits:  [][]any{{"by_hand", addressA}},
			events: []*clerk.Event{userAt(1, "user_1", addressA)},
			want:   map[string]string{"user_1": addressA},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testkit.Store(t)
			edit(t, s, "INSERT INTO users (id, clerk_id) VALUES (gen_random_uuid(), 'by_hand')")
			for _, e := range tt.before {
				batch(t, s, e)
			}
			for _, args := range tt.edits {
				edit(t, s, write, args...)
			}
			batch(t, s, tt.events...)
			require.Equal(t, tt.want, emailsOf(t, s))
		})
	}
}

// TestHandEditsOfAddressesAreRepaired: whatever an operator wrote, the next claim of an
// address gives it to the newest claimant, and Reapply gives back all rows.
func TestHandEditsOfAddressesAreRepaired(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	rapid.Check(t, func(r *rapid.T) {
		events := anything().Draw(r, "events")
		m := newModel(events)
		empty(t, s)
		apply(r, s, entriesOf(events))

		writeAnything(r, s, m)
		address := rapid.SampledFrom([]string{addressA, addressB}).Draw(r, "claimed")
		claim := testkit.Event("msg_claim", "user.updated", base+1, testkit.UserData(fmt.Sprint("user_", rapid.IntRange(0, 4).Draw(r, "user")),
			address, "claimant", base, base+rapid.Int64Range(0, 4).Draw(r, "at")))
		if m = newModel(append(events, claim)); apply(r, s, entriesOf([]*clerk.Event{claim}))[0] == store.Applied {
			for id := range m.named("user") {
				var held bool
				require.NoError(r, s.Pool().QueryRow(context.Background(), "SELECT email IS NOT DISTINCT FROM $2 FROM users WHERE clerk_id = $1", id, address).Scan(&held))
				require.Equal(r, m.claim(id) == address && m.holds(id, address), held, id)
			}
		}

		writeAnything(r, s, m)
		arrivals := rapid.Permutation(entriesOf(append(events, claim))).Draw(r, "arrivals")
		for len(arrivals) > 0 {
			n := rapid.IntRange(1, len(arrivals)).Draw(r, "batch")
			_, err := s.Reapply(context.Background(), arrivals[:n])
			require.NoError(r, err)
			arrivals = arrivals[n:]
		}
		repaired := testkit.Tables(r, s)
		empty(t, s)
		apply(r, s, entriesOf(append(events, claim)))
		if diff := cmp.Diff(testkit.Tables(r, s), repaired); diff != "" {
			r.Fatalf("(-never edited +edited and repaired):\n%s", diff)
		}
	})
}

// writeAnything writes addresses by hand, and takes ranks away, as an older clerksync would.
func writeAnything(r *rapid.T, s *store.Store, m model) {
	for id := range m.named("user") {
		address := rapid.SampledFrom([]any{nil, addressA, addressB, "c@example.com", "as it is"}).Draw(r, "written to "+id)
		if address != "as it is" {
			_, _ = s.Pool().Exec(context.Background(), "UPDATE users SET email = $2 WHERE clerk_id = $1", id, address) // it may be taken
		}
		if rapid.Bool().Draw(r, "rank of "+id+" lost") {
			edit(r, s, "UPDATE users SET email_rank = NULL WHERE clerk_id = $1", id)
		}
	}
}

// TestCollisionThatIsNoRace: a trigger of the application makes one address of two.
func TestCollisionThatIsNoRace(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	batch(t, s, userAt(1, "user_1", addressA))
	edit(t, s, lowerCase)
	before := testkit.Tables(t, s)
	_, err := s.Apply(t.Context(), entriesOf([]*clerk.Event{userAt(1, "user_2", "A@example.com")}))
	require.ErrorIs(t, err, store.ErrRefused)
	require.EqualError(t, err, "apply batch: refused: the address is taken in users.email by a row that clerksync does not find")
	require.False(t, store.Permanent(err))
	require.Equal(t, before, testkit.Tables(t, s))
}

// TestTriggerThatKeepsAddresses: the row does not let go of what it does not claim.
func TestTriggerThatKeepsAddresses(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	batch(t, s, userAt(1, "user_2", addressB))
	edit(t, s, "UPDATE users SET email = $1", addressA)
	edit(t, s, `CREATE FUNCTION clerk.keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';
		CREATE TRIGGER keep BEFORE UPDATE ON clerk.users FOR EACH ROW EXECUTE FUNCTION clerk.keep()`)
	_, err := s.Apply(t.Context(), entriesOf([]*clerk.Event{userAt(1, "user_1", addressA)}))
	require.ErrorIs(t, err, store.ErrRefused)
}

const lowerCase = `
	CREATE FUNCTION clerk.lower_case() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.email := lower(NEW.email); RETURN NEW; END';
	CREATE TRIGGER lower_case BEFORE INSERT OR UPDATE ON clerk.users FOR EACH ROW EXECUTE FUNCTION clerk.lower_case()`

// TestClaimCostsTheSameWithManyClaimants: the tuples that are read for a change of an
// address do not grow with the users that claim it.
func TestClaimCostsTheSameWithManyClaimants(t *testing.T) {
	t.Parallel()
	claimants := func(n int) (read map[string]int64) {
		s := openSchema(t, testkit.DatabaseURL(t), "clerk", func(o *store.Options) { o.MaxConns = 1 }) // whose statistics are reported
		for i := 0; i < n; i += 500 {
			var events []*clerk.Event
			for k := i; k < min(i+500, n); k++ {
				events = append(events, userAt(int64(10+k/2), fmt.Sprint("user_", k), addressA)) // two share a time
			}
			batch(t, s, events...)
		}
		read = map[string]int64{}
		step := func(name, holder string, e *clerk.Event) {
			before := tuplesRead(t, s)
			batch(t, s, e)
			read[name] = tuplesRead(t, s) - before
			var id string
			require.NoError(t, s.Pool().QueryRow(t.Context(), "SELECT clerk_id FROM users WHERE email = $1", addressA).Scan(&id))
			require.Equal(t, holder, id, name)
		}
		last := fmt.Sprint("user_", n-1)
		step("an older claim", last, userAt(1, "user_old", addressA))
		step("a newer claim", "user_new", userAt(1_000_000, "user_new", addressA))
		step("a claim repeated", "user_new", userAt(1_000_001, "user_new", addressA))
		step("one that waits leaves", "user_new", userAt(1_000_001, "user_old", ""))
		step("the holder leaves", last, userAt(1_000_002, "user_new", ""))
		step("the holder is deleted", fmt.Sprint("user_", n-2), userDeletedAt(1_000_003, last))
		return read
	}
	few, many := claimants(2+1), claimants(10_000)
	t.Log("tuples read:", few, many)
	for name, n := range few {
		// The same statements by the same keys: what differs is index entries of old row versions.
		require.LessOrEqual(t, many[name], n+2, name)
	}
}

// tuplesRead returns how many tuples were read from users and entity_heads. The store has
// one connection.
func tuplesRead(t *testing.T, s *store.Store) (n int64) {
	edit(t, s, "SELECT pg_stat_force_next_flush()")
	require.NoError(t, s.Pool().QueryRow(t.Context(), `SELECT sum(idx_tup_fetch + seq_tup_read) FROM pg_stat_user_tables
		WHERE relname IN ('users', 'entity_heads')`).Scan(&n))
	return n
}

// TestWaitingUserWithoutARank does not hide the others that wait.
func TestWaitingUserWithoutARank(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]string{
		"an older claimant":        "UPDATE users SET email_rank = NULL WHERE clerk_id = 'user_2'",
		"a row that no event made": "INSERT INTO users (id, clerk_id, primary_email) VALUES (gen_random_uuid(), 'by_hand', '" + addressA + "')",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testkit.Store(t)
			batch(t, s, userAt(1, "user_2", addressA))
			batch(t, s, userAt(2, "user_3", addressA))
			batch(t, s, userAt(9, "user_4", addressA))
			edit(t, s, statement)
			batch(t, s, userDeletedAt(10, "user_4"))
			require.Equal(t, map[string]string{"user_3": addressA}, emailsOf(t, s))
		})
	}
}
