package eventlog_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestNoRoom refuses events while the disk is nearly full, and recovers by itself.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	nc := testkit.Connect(t, n)
	var full atomic.Bool
	l := open(t, nc, eventlog.Options{Sync: n.Sync, Room: func() error {
		if full.Load() {
			return errors.New("63 MB free")
		}
		return nil
	}})
	appendAll(t, l, events(0, 1))
	full.Store(true)
	_, err := l.Append(t.Context(), event(1))
	require.ErrorIs(t, err, eventlog.ErrUnavailable)
	require.ErrorContains(t, err, "63 MB free")
	err = l.Park(t.Context(), event(1), eventlog.Death{Reason: "refused", Err: errors.New("no")})
	require.ErrorIs(t, err, eventlog.ErrUnavailable)
	require.ErrorIs(t, l.Check(t.Context()), eventlog.ErrUnavailable)

	full.Store(false)
	require.NoError(t, l.Check(t.Context()))
	appendAll(t, l, events(1, 2))
	require.Len(t, readBack(t, nc, eventlog.Stream), 2)
}

// TestEmbeddedServerThatDoesNotAnswer has met an error of the disk: the log refuses
// everything until a restart, and reports that once.
func TestEmbeddedServerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	way := newLink(t, n)
	l := open(t, way.connect(t), eventlog.Options{Sync: n.Sync})
	way.hold()
	_, err := l.Append(t.Context(), event(0))
	require.ErrorIs(t, err, eventlog.ErrUnavailable)
	require.ErrorContains(t, err, "until a restart: ")
	way.release()
	_, again := l.Append(t.Context(), event(1))
	require.Equal(t, err, again, "it is refused without waiting")
	require.ErrorIs(t, l.Check(t.Context()), eventlog.ErrUnavailable)
	require.Equal(t, err, <-l.Fatal())
	select {
	case err := <-l.Fatal():
		t.Fatalf("told twice: %v", err)
	default:
	}
}
