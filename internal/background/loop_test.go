package background_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clerksync/clerksync/internal/background"
	"github.com/clerksync/clerksync/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestLoop calls at its times, and not after Stop.
func TestLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var calls []time.Duration
		l := &background.Loop{}
		l.Start(2*time.Second, 5*time.Second, func(context.Context) { calls = append(calls, time.Since(began)) })
		testkit.Pass(13 * time.Second)
		require.NoError(t, l.Stop(t.Context()))
		require.NoError(t, l.Stop(t.Context()), "again")
		testkit.Pass(time.Minute)
		require.Equal(t, []time.Duration{2 * time.Second, 7 * time.Second, 12 * time.Second}, calls)
	})
}

// TestLoopThatWasNotStarted can be stopped.
func TestLoopThatWasNotStarted(t *testing.T) {
	t.Parallel()
	require.NoError(t, (&background.Loop{}).Stop(t.Context()))
}

// TestStopWaits for the call in progress, which sees that it is to end.
func TestStopWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ended := false
		l := &background.Loop{}
		l.Start(0, time.Hour, func(ctx context.Context) {
			<-ctx.Done()
			<-time.After(time.Second)
			ended = true
		})
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, l.Stop(short), context.DeadlineExceeded)
		require.NoError(t, l.Stop(t.Context()))
		require.True(t, ended)
	})
}

// TestNoCallAfterStop, even when the next one is due by the end of the one in progress.
func TestNoCallAfterStop(t *testing.T) {
	t.Parallel()
	for range 20 { // what is ready is taken at random
		synctest.Test(t, func(t *testing.T) {
			calls := 0
			l := &background.Loop{}
			l.Start(0, time.Second, func(ctx context.Context) {
				calls++
				<-ctx.Done()
				<-time.After(time.Minute)
			})
			synctest.Wait()
			require.NoError(t, l.Stop(t.Context()))
			require.Equal(t, 1, calls)
		})
	}
}
