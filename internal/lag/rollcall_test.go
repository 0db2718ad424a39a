package lag

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestRollCall: every process answers until it stops, by its roles.
func TestRollCall(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	asking := testkit.OpenLog(t, testkit.Connect(t, n))
	roll, err := RollCall(asking)
	require.NoError(t, err)
	require.Equal(t, &Roll{Workers: []Worker{}, Receivers: []Receiver{}}, roll, "nobody, and not unknown")

	began := time.Now().UTC().Truncate(time.Second)
	one := Worker{Name: "b:1", Version: "1", StartedAt: began, Appliers: 4, Busy: 2, Applied: 7}
	two := Worker{Name: "a:2", Version: "1", StartedAt: began, Appliers: 4, Failing: &Failure{Reason: "PostgreSQL refuses connections", Since: began}}
	receiver := Receiver{
		Name: "a:2", Version: "1", StartedAt: began, InstanceID: "ins_1", SilentAfter: new(3600.0), Disk: &Disk{Free: 7, Reserve: 9},
		Refused: &Refused{Count: 3, Reason: "too_old", Since: began, LastAt: began, ClockOff: 400},
		Probe:   &Probe{StoppedAt: "redirect", Cause: "c", Fix: "f", Since: began, At: began},
	}
	attend(t, asking, Process{Worker: &one})
	other := testkit.OpenLog(t, testkit.Connect(t, n))
	stop := attend(t, other, Process{Worker: &two, Receiver: &receiver})
	testkit.Eventually(t, "both answer", func() (bool, any) {
		workers, err := Workers(asking)
		return err == nil && len(workers) == 2, workers
	})
	roll, err = RollCall(asking)
	require.NoError(t, err)
	require.Equal(t, &Roll{Workers: []Worker{two, one}, Receivers: []Receiver{receiver}}, roll)

	stop()
	testkit.Eventually(t, "who is gone is silent", func() (bool, any) {
		workers, err := Workers(asking)
		return err == nil && len(workers) == 1 && workers[0].Name == "b:1", workers
	})
}

func attend(t *testing.T, log *eventlog.Log, p Process) (stop func()) {
	t.Helper()
	stop, err := Attend(log, func() Process { return p })
	require.NoError(t, err)
	t.Cleanup(stop)
	return stop
}
