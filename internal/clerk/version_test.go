package clerk_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
)

// versions draws from a small world, so that ties are frequent.
func versions() *rapid.Generator[clerk.Version] {
	return rapid.Custom(func(t *rapid.T) clerk.Version {
		return clerk.Version{
			Deleted:   rapid.Bool().Draw(t, "deleted"),
			UpdatedAt: rapid.OneOf(rapid.Int64Range(0, 2), rapid.Int64()).Draw(t, "updated_at"),
			EventAt:   rapid.OneOf(rapid.Int64Range(0, 2), rapid.Int64()).Draw(t, "event_at"),
			EventID:   rapid.OneOf(rapid.SampledFrom([]string{"", "a", "b"}), rapid.String()).Draw(t, "event_id"),
		}
	})
}

// TestVersionsAreTotallyOrdered: without that, the rows would depend on the order
// of arrival.
func TestVersionsAreTotallyOrdered(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := versions().Draw(t, "a"), versions().Draw(t, "b"), versions().Draw(t, "c")
		require.Contains(t, []int{-1, 0, 1}, a.Compare(b))
		require.Equal(t, a.Compare(b), -b.Compare(a), "antisymmetric")
		require.Equal(t, a == b, a.Compare(b) == 0, "only equal ones tie")
		if a.Compare(b) <= 0 && b.Compare(c) <= 0 {
			require.LessOrEqual(t, a.Compare(c), 0, "transitive")
		}
	})
}

// TestVersionOrder: the parts count from left to right.
func TestVersionOrder(t *testing.T) {
	t.Parallel()
	ascending := []clerk.Version{
		{}, // a stub
		{EventID: "a"},
		{EventAt: 1},
		{UpdatedAt: 1},
		{UpdatedAt: 1, EventID: "B"},
		{UpdatedAt: 1, EventID: "a"}, // by bytes, as "C" collates
		{UpdatedAt: 1, EventID: "aa"},
		{UpdatedAt: 1, EventAt: 1},
		{UpdatedAt: 2, EventAt: 1, EventID: "z"},
		{UpdatedAt: 1768208400412, EventAt: 1768208400426, EventID: "msg_1"},
		{Deleted: true}, // a delete wins by being one, not by its time
		{Deleted: true, EventAt: 1},
		{Deleted: true, UpdatedAt: 1},
	}
	for i, v := range ascending {
		for j, w := range ascending {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			require.Equal(t, want, v.Compare(w), "%+v and %+v", v, w)
		}
	}
}
