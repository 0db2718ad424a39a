package erasure_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/erasure"
	"github.com/clerksync/clerksync/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// world is a log and tables of a test's own.
type world struct{ *testkit.World }

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{testkit.NewWorld(t)}
}

func (w *world) eraser() *erasure.Eraser {
	return &erasure.Eraser{Log: w.Log, Store: w.Store}
}

// erase finds and erases a user.
func (w *world) erase(id string) (events, letters int) {
	w.T.Helper()
	p, err := w.eraser().Find(context.Background(), id)
	w.Check(err)
	events, letters, err = w.eraser().Erase(context.Background(), p)
	w.Check(err)
	return events, letters
}

func (w *world) erased(id string) bool {
	w.T.Helper()
	h := w.Head(id)
	return h != nil && h.Deleted && h.ErasedAt != nil && !h.Erasing
}

func requireEmptyButIDs(t require.TestingT, row map[string]any) {
	for name, value := range row {
		switch name {
		case "id", "clerk_id", "deleted_at":
			require.NotNil(t, value, name)
		case "public_metadata":
			require.Equal(t, map[string]any{}, value)
		case "email_verified", "banned", "locked", "deprovisioned":
			require.Equal(t, false, value, name)
		default:
			require.Nil(t, value, name)
		}
	}
}
