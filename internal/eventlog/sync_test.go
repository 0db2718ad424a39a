package eventlog_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestSyncReachesTheOwner: a command that stored events in the embedded server of another
// process has that process force them onto the disk.
func TestSyncReachesTheOwner(t *testing.T) {
	t.Parallel()
	server := testkit.NATS(t)
	var forced atomic.Int64
	var broken atomic.Bool
	owner, err := eventlog.Open(t.Context(), testkit.Connect(t, server), eventlog.Options{Sync: func(stream string) error {
		if stream == eventlog.Stream {
			forced.Add(1)
		}
		if broken.Load() {
			return errors.New("disk on fire")
		}
		return nil
	}})
	require.NoError(t, err)
	t.Cleanup(owner.Close)
	command, err := eventlog.Attach(t.Context(), testkit.Connect(t, server), "")
	require.NoError(t, err)
	t.Cleanup(command.Close)

	before := forced.Load()
	require.NoError(t, command.Sync(t.Context()))
	require.Greater(t, forced.Load(), before)
	require.NoError(t, owner.Sync(t.Context()))

	broken.Store(true)
	err = command.Sync(t.Context())
	require.ErrorIs(t, err, eventlog.ErrUnavailable)
	require.ErrorContains(t, err, "disk on fire")
}

// TestSyncOfAServerOfItsOwn: nobody answers, and the server's acknowledgement was enough.
func TestSyncOfAServerOfItsOwn(t *testing.T) {
	t.Parallel()
	log := testkit.Log(t)
	require.NoError(t, log.Sync(t.Context()))
}

// TestForceEndsWithItsContext: a reading of the lag does not wait for a disk that hangs.
func TestForceEndsWithItsContext(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	hangs := make(chan struct{})
	var hanging atomic.Bool
	l := open(t, testkit.Connect(t, n), eventlog.Options{Sync: func(string) error {
		if hanging.Load() {
			<-hangs
		}
		return nil
	}})
	hanging.Store(true)
	defer close(hangs)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, l.Force(ctx), context.Canceled)
}
