package erasure_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/erasure"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// sweeping is a running sweeper with a short interval.
type sweeping struct {
	*erasure.Sweeper
	registry *prometheus.Registry
	output   *testkit.Output
}

func newSweeper(e *erasure.Eraser, after time.Duration) *sweeping {
	s := &sweeping{registry: prometheus.NewPedanticRegistry(), output: &testkit.Output{}}
	s.Sweeper = erasure.NewSweeper(*e, after, s.registry, slog.New(slog.NewTextHandler(s.output, nil)))
	s.SetInterval(time.Millisecond)
	return s
}

func (s *sweeping) metric(t testing.TB, name string) float64 {
	t.Helper()
	values := testkit.Values(t, s.registry, name)
	require.Contains(t, values, "", name)
	return values[""]
}

// sweep runs a sweeper until no user is due.
func (w *world) sweep(t testing.TB, after time.Duration) { w.sweepWith(t, w.eraser(), after) }

func (w *world) sweepWith(t testing.TB, e *erasure.Eraser, after time.Duration) {
	t.Helper()
	s := newSweeper(e, after)
	s.Start()
	w.waitSwept(t, after)
	require.NoError(t, s.Stop(t.Context()))
}

func (w *world) waitSwept(t testing.TB, after time.Duration) {
	t.Helper()
	testkit.Eventually(t, "no user is left to erase", func() (bool, any) {
		due, err := w.Store.UsersToErase(context.Background(), time.Now().Add(-after), 10)
		return err == nil && len(due) == 0, fmt.Sprint(due, err)
	})
}

// TestSweeperWaitsUntilTheTimeHasCome, by the time at which the delete was applied: one
// that Clerk emitted long ago and that arrives now can be taken back for as long as any
// other.
func TestSweeperWaitsUntilTheTimeHasCome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	now := time.Now().UnixMilli() - testkit.Base
	w.Emit(testkit.UserAt(1, "user_live"), testkit.UserAt(1, "user_old"), testkit.UserAt(1, "user_new"), testkit.OrgAt(1, "org_1"))
	w.Emit(testkit.UserDeletedAt(now, "user_old"), testkit.UserDeletedAt(now-100*3_600_000, "user_new"), testkit.OrgDeletedAt(2, "org_1"))
	_, err := w.Store.Pool().Exec(t.Context(), "UPDATE entity_heads SET applied_at = now() - interval '61 minutes' WHERE clerk_id = 'user_old'")
	require.NoError(t, err)
	s := newSweeper(w.eraser(), time.Hour)
	s.Start()
	w.waitSwept(t, time.Hour)
	testkit.Eventually(t, "the sweep is over", func() (bool, any) { return s.output.String() != "", s.output.String() })
	require.NoError(t, s.Stop(t.Context()))
	require.True(t, w.erased("user_old"))
	require.False(t, w.erased("user_new"))
	var left []string
	for _, m := range w.Events() {
		left = append(left, m.Event.Envelope.EntityID)
	}
	require.Equal(t, []string{"user_live", "user_new", "org_1", "user_new", "org_1"}, left)
	require.EqualValues(t, 1, s.metric(t, "clerksync_erased_users_total"))
	require.EqualValues(t, 2, s.metric(t, "clerksync_erased_events_total"))
	require.Zero(t, s.metric(t, "clerksync_erase_failures_total"))
	require.Equal(t, 1, strings.Count(s.output.String(), "\n"), s.output.String())
	require.Contains(t, s.output.String(), `msg="deleted users were erased" users=1 events=2`)
}

// TestSweeperAtOnce: with no time to wait, a deleted user is erased at the
// next sweep.
func TestSweeperAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := newSweeper(w.eraser(), 0)
	s.Start()
	now := time.Now().UnixMilli() - testkit.Base
	w.Emit(testkit.UserAt(1, "user_1"), testkit.JoinedAt(2, "orgmem_1_1"), testkit.UserDeletedAt(now, "user_1"))
	testkit.Eventually(t, "the user is erased", func() (bool, any) { return w.erased("user_1"), w.Head("user_1") })
	require.NoError(t, s.Stop(t.Context()))
	require.Empty(t, w.Events())
}

// TestMoreThanOneBatchIsSwept at once.
func TestMoreThanOneBatchIsSwept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 130
	for i := range n {
		w.Emit(testkit.UserDeletedAt(int64(i), fmt.Sprint("user_", i)))
	}
	s := newSweeper(w.eraser(), 0)
	s.SetInterval(time.Hour)
	s.Start()
	w.waitSwept(t, 0)
	// The last one is counted after the table says so, and not when the stop comes between.
	testkit.Eventually(t, "all are counted", func() (bool, any) {
		counted := s.metric(t, "clerksync_erased_users_total")
		return counted >= n, counted
	})
	require.NoError(t, s.Stop(t.Context()))
	require.Empty(t, w.Events())
	require.EqualValues(t, n, s.metric(t, "clerksync_erased_users_total"))
}

// TestAUserWithManyEventsDoesNotDelayTheOthers: while one is erased, all others that are
// due are erased, and those that become due meanwhile.
func TestAUserWithManyEventsDoesNotDelayTheOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Emit(testkit.UserAt(1, "user_many"), testkit.UserDeletedAt(2, "user_many"))
	const n = 120 // more than one query returns
	for i := range n {
		w.Emit(testkit.UserDeletedAt(int64(i), fmt.Sprint("user_", i)))
	}
	e := w.eraser()
	goOn := make(chan struct{})
	e.SetRemove(func(m *eventlog.Message) error {
		if m.Event.Envelope.UserID == "user_many" {
			<-goOn
		}
		return nil
	})
	s := newSweeper(e, 0)
	s.Start()
	erased := func(n float64) {
		t.Helper()
		testkit.Eventually(t, "the others are erased", func() (bool, any) {
			counted := s.metric(t, "clerksync_erased_users_total")
			return counted >= n, counted
		})
	}
	erased(n)
	w.Emit(testkit.UserDeletedAt(1, "user_late"))
	erased(n + 1)
	require.True(t, w.erased("user_late"))
	require.False(t, w.erased("user_many"))
	close(goOn)
	w.waitSwept(t, 0)
	require.NoError(t, s.Stop(t.Context()))
	require.Empty(t, w.Events())
}

// TestTwoSweepersAtOnce do no harm to each other.
func TestTwoSweepersAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 40
	for i := range n {
		id := fmt.Sprint("user_", i)
		w.Emit(testkit.UserAt(1, id), testkit.UserDeletedAt(2, id))
	}
	a, b := newSweeper(w.eraser(), 0), newSweeper(w.eraser(), 0)
	a.Start()
	b.Start()
	w.waitSwept(t, 0)
	for _, s := range []*sweeping{a, b} {
		require.NoError(t, s.Stop(t.Context()))
		require.Zero(t, s.metric(t, "clerksync_erase_failures_total"), s.output.String())
	}
	require.Empty(t, w.Events())
	for i := range n { // the slower one may have begun the same user again
		require.NotNil(t, w.Head(fmt.Sprint("user_", i)).ErasedAt)
	}
}

// TestSweeperStopsInTheMiddle, and the erasure in progress is finished at the next start.
func TestSweeperStopsInTheMiddle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Emit(testkit.UserAt(1, "user_1"), testkit.UserAt(2, "user_1"), testkit.UserDeletedAt(3, "user_1"))
	e := w.eraser()
	removing, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	e.SetRemove(func(*eventlog.Message) error {
		once.Do(func() {
			close(removing)
			<-goOn
		})
		return nil
	})
	s := newSweeper(e, 0)
	s.Start()
	<-removing
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Stop(ended), context.Canceled, "it does not wait longer than it is told")
	close(goOn)
	require.NoError(t, s.Stop(t.Context()), "it can be called again")
	require.False(t, w.erased("user_1"))
	require.Len(t, w.Events(), 3)
	require.Empty(t, s.output.String(), "to be stopped is no failure")
	require.Zero(t, s.metric(t, "clerksync_erase_failures_total"))
	w.sweep(t, 0)
	require.True(t, w.erased("user_1"))
	require.Empty(t, w.Events())
}

// TestSweeperGoesOnAfterAFailure: it says so, without anything of the person, and
// the users after the one that fails are erased.
func TestSweeperGoesOnAfterAFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Emit(testkit.UserAt(1, "user_1"), testkit.UserDeletedAt(2, "user_1"), testkit.UserAt(1, "user_2"), testkit.UserDeletedAt(3, "user_2"))
	e := w.eraser()
	var mu sync.Mutex
	failing := true
	e.SetRemove(func(m *eventlog.Message) error {
		mu.Lock()
		defer mu.Unlock()
		if failing && m.Event.Envelope.UserID == "user_1" {
			return errors.New("the log is away")
		}
		return nil
	})
	s := newSweeper(e, 0)
	s.Start()
	testkit.Eventually(t, "the other is erased, and it was tried again", func() (bool, any) {
		n := s.metric(t, "clerksync_erase_failures_total")
		return n > 2 && w.erased("user_2"), n
	})
	require.False(t, w.erased("user_1"))
	mu.Lock()
	failing = false
	mu.Unlock()
	testkit.Eventually(t, "the user is erased", func() (bool, any) { return w.erased("user_1"), s.output.String() })
	require.NoError(t, s.Stop(t.Context()))
	require.Contains(t, s.output.String(), `level=WARN msg="deleted users were not erased, trying again" err="the log is away" delay=1ms`)
	require.NotContains(t, s.output.String(), "@example.com")
	require.NotContains(t, s.output.String(), "name of")
	require.EqualValues(t, 2, s.metric(t, "clerksync_erased_users_total"))
}

// TestSweeperOutlivesTheTables: while they are away nothing is erased, and nothing
// forgotten.
func TestSweeperOutlivesTheTables(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Emit(testkit.UserAt(1, "user_1"), testkit.UserDeletedAt(2, "user_1"))
	_, err := w.Store.Pool().Exec(t.Context(), "ALTER TABLE entity_heads RENAME TO away")
	require.NoError(t, err)
	s := newSweeper(w.eraser(), 0)
	s.Start()
	testkit.Eventually(t, "it fails", func() (bool, any) {
		return s.metric(t, "clerksync_erase_failures_total") > 1, s.output.String()
	})
	_, err = w.Store.Pool().Exec(t.Context(), "ALTER TABLE away RENAME TO entity_heads")
	require.NoError(t, err)
	testkit.Eventually(t, "the user is erased", func() (bool, any) { return w.erased("user_1"), s.output.String() })
	require.NoError(t, s.Stop(t.Context()))
	require.NotContains(t, s.output.String(), "@example.com")
}
