package eventlog_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestWorkers answer for themselves, from every process, as long as they are there.
func TestWorkers(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	asking := open(t, testkit.Connect(t, n), eventlog.Options{})
	workers, err := asking.Workers()
	require.NoError(t, err)
	require.Equal(t, []eventlog.Worker{}, workers, "nobody, and not unknown")

	began := time.Now().UTC().Truncate(time.Second)
	one := eventlog.Worker{Name: "b:1", Version: "1", StartedAt: began, Appliers: 4, Busy: 2, Applied: 7}
	two := eventlog.Worker{Name: "a:2", Version: "1", StartedAt: began, Appliers: 4, Failing: &eventlog.Failure{Reason: "PostgreSQL refuses connections", Since: began}}
	require.NoError(t, asking.Attend(func() eventlog.Worker { return one }))
	other := open(t, testkit.Connect(t, n), eventlog.Options{})
	require.NoError(t, other.Attend(func() eventlog.Worker { return two }))
	testkit.Eventually(t, "both answer", func() (bool, any) {
		workers, err := asking.Workers()
		return err == nil && len(workers) == 2, workers
	})
	workers, err = asking.Workers()
	require.NoError(t, err)
	require.Equal(t, []eventlog.Worker{two, one}, workers)

	other.Close()
	testkit.Eventually(t, "who is gone is silent", func() (bool, any) {
		workers, err := asking.Workers()
		return err == nil && len(workers) == 1 && workers[0].Name == "b:1", workers
	})
}
