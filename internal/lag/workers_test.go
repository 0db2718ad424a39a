package lag

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestWorkers: the workers of every process answer until they stop.
func TestWorkers(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	asking := testkit.OpenLog(t, testkit.Connect(t, n))
	workers, err := Workers(asking)
	require.NoError(t, err)
	require.Equal(t, []Worker{}, workers, "nobody, and not unknown")

	began := time.Now().UTC().Truncate(time.Second)
	one := Worker{Name: "b:1", Version: "1", StartedAt: began, Appliers: 4, Busy: 2, Applied: 7}
	two := Worker{Name: "a:2", Version: "1", StartedAt: began, Appliers: 4, Failing: &Failure{Reason: "PostgreSQL refuses connections", Since: began}}
	attend(t, asking, one)
	other := testkit.OpenLog(t, testkit.Connect(t, n))
	stop := attend(t, other, two)
	testkit.Eventually(t, "both answer", func() (bool, any) {
		workers, err := Workers(asking)
		return err == nil && len(workers) == 2, workers
	})
	workers, err = Workers(asking)
	require.NoError(t, err)
	require.Equal(t, []Worker{two, one}, workers)

	stop()
	testkit.Eventually(t, "who is gone is silent", func() (bool, any) {
		workers, err := Workers(asking)
		return err == nil && len(workers) == 1 && workers[0].Name == "b:1", workers
	})
}

func attend(t *testing.T, log *eventlog.Log, w Worker) (stop func()) {
	t.Helper()
	stop, err := Attend(log, func() Worker { return w })
	require.NoError(t, err)
	t.Cleanup(stop)
	return stop
}
