package eventlog_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	embeddednats "github.com/clerksync/clerksync/internal/embedded/nats"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestAppendAll: whoever keeps the log, the events are in it, each once, and those of a second
// call are duplicates.
func TestAppendAll(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		open   func(*testing.T, *embeddednats.Server) *eventlog.Log
		atomic bool
	}{
		"in the process with the embedded server": {open: func(t *testing.T, n *embeddednats.Server) *eventlog.Log {
			return open(t, testkit.Connect(t, n), eventlog.Options{Sync: n.Sync})
		}},
		"in another": {open: func(t *testing.T, n *embeddednats.Server) *eventlog.Log {
			open(t, testkit.Connect(t, n), eventlog.Options{Sync: n.Sync})
			return attach(t, n)
		}},
		"in a server of its own": {atomic: true, open: func(t *testing.T, n *embeddednats.Server) *eventlog.Log {
			return open(t, testkit.Connect(t, n), eventlog.Options{})
		}},
		"without batches, like in an old cluster": {open: func(t *testing.T, n *embeddednats.Server) *eventlog.Log {
			return open(t, testkit.Connect(t, n), eventlog.RetryLikeACluster(eventlog.Options{Sync: n.Sync}))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := testkit.NATS(t)
			l := test.open(t, n)
			require.Equal(t, test.atomic, l.Atomic())
			nc := testkit.Connect(t, n)
			w := watch(t, nc)
			all := events(0, 700)
			stored, err := l.AppendAll(t.Context(), all)
			require.NoError(t, err)
			messages := readBack(t, nc, eventlog.Stream)
			require.Len(t, messages, len(all))
			for i, s := range stored {
				require.False(t, s.Duplicate)
				require.Equal(t, all[i].ID, messages[s.Seq-1].Header.Get("Svix-Id"))
			}
			requireOnce(t, nc, all)
			w.await(t, len(all))
			_, _, batches := w.counts()
			require.Equal(t, test.atomic, batches > 0)

			again, err := l.AppendAll(t.Context(), append(all[:10:10], event(700)))
			require.NoError(t, err)
			for i := range 10 {
				require.Equal(t, eventlog.Stored{Seq: stored[i].Seq, Duplicate: true}, again[i])
			}
			require.Equal(t, eventlog.Stored{Seq: 701}, again[10])
			none, err := l.AppendAll(t.Context(), nil)
			require.NoError(t, err)
			require.Empty(t, none)
		})
	}
}

// TestAppendAllIsForcedOnce onto the disk of the embedded server.
func TestAppendAllIsForcedOnce(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	var syncs atomic.Int64
	l := open(t, testkit.Connect(t, n), eventlog.Options{Sync: func(stream string) error {
		syncs.Add(1)
		return n.Sync(stream)
	}})
	before := syncs.Load()
	_, err := l.AppendAll(t.Context(), events(0, 300))
	require.NoError(t, err)
	require.Equal(t, before+1, syncs.Load())
}

// TestAppendAllTellsWhatIsStored when the log is full in the middle of it, and stores
// nothing when an event is too large.
func TestAppendAllTellsWhatIsStored(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	nc := testkit.Connect(t, n)
	open(t, nc, eventlog.Options{Sync: n.Sync, MaxBytes: 64 << 10})
	l := attach(t, n)
	large := event(1)
	large.Body = []byte(strings.Repeat("x", int(nc.MaxPayload())))
	_, err := l.AppendAll(t.Context(), append(events(2, 10), large))
	require.ErrorIs(t, err, eventlog.ErrTooLarge)
	state, err := l.State(t.Context())
	require.NoError(t, err)
	require.Zero(t, state.Events)

	all := events(0, 500)
	stored, err := l.AppendAll(t.Context(), all)
	require.ErrorIs(t, err, eventlog.ErrUnavailable)
	require.ErrorContains(t, err, "maximum bytes exceeded")
	kept := all[:0:0]
	for i, s := range stored {
		if s.Seq > 0 {
			kept = append(kept, all[i])
		}
	}
	require.NotEmpty(t, kept)
	require.Less(t, len(kept), len(all))
	requireOnce(t, nc, kept)
}

// TestAppendAllEndsWithTheConnection, and after that everything can be stored again.
func TestAppendAllEndsWithTheConnection(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	direct := testkit.Connect(t, n)
	open(t, direct, eventlog.Options{Sync: n.Sync})
	way := newLink(t, n)
	l, err := eventlog.Attach(t.Context(), way.connect(t), "")
	require.NoError(t, err)
	t.Cleanup(l.Close)
	all := events(0, 300)
	w := watch(t, direct)
	way.hold()
	failed := make(chan error)
	go func() {
		_, err := l.AppendAll(t.Context(), all)
		failed <- err
	}()
	w.await(t, len(all))
	way.cut()
	finish(t, prompt, "appending over a lost connection", func() { require.ErrorIs(t, <-failed, eventlog.ErrUnavailable) })
	finish(t, prompt, "appending without a connection", func() {
		_, err := l.AppendAll(t.Context(), all)
		require.ErrorIs(t, err, eventlog.ErrUnavailable)
	})
	way.to(t, n)
	require.Eventually(t, func() bool {
		_, err := l.AppendAll(t.Context(), all)
		return err == nil
	}, patience, 10*time.Millisecond)
	requireOnce(t, direct, all)
}

// TestEmbeddedServerTakesNoBatches, also with the streams of an older version.
func TestEmbeddedServerTakesNoBatches(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	nc := testkit.Connect(t, n)
	require.True(t, open(t, nc, eventlog.Options{}).Atomic())
	open(t, nc, eventlog.Options{Sync: n.Sync})
	require.False(t, attach(t, n).Atomic())
	require.False(t, streamOf(t, nc, eventlog.Stream).CachedInfo().Config.AllowAtomicPublish)
}
