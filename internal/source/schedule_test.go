package source_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/fakeclerk"
	"github.com/clerksync/clerksync/internal/source"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestSchedule: one process of several compares and repairs, and counts the repairs; when
// it stops, or its session ends, another takes over.
func TestSchedule(t *testing.T) {
	t.Parallel()
	w := mirrored(t, 30, 2)
	process := func() (run func(), count func(name string, labels ...string) float64, stop func()) {
		registry := prometheus.NewRegistry()
		s := source.NewSchedule(source.ScheduleOptions{
			SecretKey: w.clerk.SecretKey(), URL: w.url, InstanceID: w.clerk.InstanceID(), Every: time.Hour,
			Log: w.Log, Store: w.Store, Registry: registry, Logger: slog.New(slog.DiscardHandler),
		})
		t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
		run = func() { source.RunNow(t.Context(), s) }
		stop = func() { require.NoError(t, s.Stop(t.Context())) }
		return run, func(name string, labels ...string) float64 { return value(t, registry, name, labels...) }, stop
	}
	first, ofFirst, stopFirst := process()
	second, ofSecond, _ := process()
	const runs, repairs = "clerksync_reconcile_runs_total", "clerksync_reconcile_repairs_total"

	w.clerk.CreateUser(fakeclerk.User{Email: "new@example.com"})
	require.NoError(t, w.clerk.Leave(w.clerk.Memberships()[0].ID))
	first()
	second()
	w.requireMirrored()
	require.EqualValues(t, 1, ofFirst(runs, "finished"))
	require.EqualValues(t, 1, ofFirst(repairs, "missing", "user"))
	require.EqualValues(t, 1, ofFirst(repairs, "extra", "membership"))
	require.Zero(t, ofFirst(repairs, "deleted", "user"))
	require.Zero(t, ofSecond(runs, "finished"))

	stopFirst()
	testkit.Eventually(t, "the lock is free", func() (bool, any) { // when the server has noticed
		second()
		return ofSecond(runs, "finished") == 1, nil
	})
	_, err := w.Store.Pool().Exec(t.Context(), "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
	require.NoError(t, err)
	second()
	require.EqualValues(t, 2, ofSecond(runs, "finished"))

	const failures, lastSuccess = "clerksync_reconcile_failures", "clerksync_reconcile_last_success_timestamp_seconds"
	require.InDelta(t, time.Now().Unix(), ofSecond(lastSuccess), 60)
	w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, Unresolved: true})
	second()
	second()
	require.EqualValues(t, 2, ofSecond(runs, "failed"))
	require.EqualValues(t, 2, ofSecond(failures))
	w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true})
	second()
	require.Zero(t, ofSecond(failures))

	// A process that failed does not count on when another takes over.
	third, ofThird, _ := process()
	w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true, Unresolved: true})
	second()
	require.EqualValues(t, 1, ofSecond(failures))
	_, err = w.Store.Pool().Exec(t.Context(), "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
	require.NoError(t, err)
	third()
	second()
	require.EqualValues(t, 1, ofThird(failures))
	require.Zero(t, ofSecond(failures))
}

// value returns a counter or a gauge by the values of its labels, in the order of their names.
func value(t *testing.T, registry *prometheus.Registry, name string, labels ...string) float64 {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var got []string
			for _, l := range m.GetLabel() {
				got = append(got, l.GetValue())
			}
			if f.GetName() == name && slices.Equal(got, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	require.Fail(t, "no such series", "%s %v", name, labels)
	return 0
}
