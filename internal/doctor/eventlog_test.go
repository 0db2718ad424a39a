package doctor

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestRoom: nearly full is a warning, full a failure.
func TestRoom(t *testing.T) {
	t.Parallel()
	const fix = "raise CLERKSYNC_LOG_MAX_BYTES, or lower CLERKSYNC_LOG_MAX_AGE"
	for name, tc := range map[string]struct {
		i    eventlog.Inspection
		want Check
	}{
		"no limit": {eventlog.Inspection{Bytes: 1 << 40}, Check{"room", OK, "there is room for more events", ""}},
		"below":    {eventlog.Inspection{Bytes: 7 * 1_000_000, MaxBytes: 10 * 1_000_000}, Check{"room", OK, "there is room for more events", ""}},
		"near":     {eventlog.Inspection{Bytes: 8 * 1_000_000, MaxBytes: 10 * 1_000_000}, Check{"room", Warning, "the event log is nearly full: it has 8.0 MB of 10 MB", fix}},
		"full":     {eventlog.Inspection{Bytes: 10 * 1_000_000, MaxBytes: 10 * 1_000_000}, Check{"room", Failed, "the event log is full: it has 10 MB of 10 MB", fix}},
		"account": {
			eventlog.Inspection{Used: 9 * 1_000_000, Storage: 10 * 1_000_000},
			Check{"room", Warning, "the NATS account stores 9.0 MB of 10 MB", "let it store more, or lower CLERKSYNC_LOG_MAX_AGE"},
		},
	} {
		r := &Report{}
		checkRoom(r, &tc.i, Options{})
		require.Equal(t, []Check{tc.want}, r.Checks, name)
	}
	r := &Report{}
	checkRoom(r, &eventlog.Inspection{}, Options{Process: Process{PID: 1, Folder: t.TempDir()}})
	require.Equal(t, OK, r.Checks[0].Status, "a real disk")
}

// TestFailingWorkers: beside healthy ones.
func TestFailingWorkers(t *testing.T) {
	t.Parallel()
	log := testkit.Log(t)
	attend(t, log, lag.Worker{Name: "b:2"})
	failing := &lag.Failure{Reason: "PostgreSQL cannot be reached", Since: time.Date(2026, 1, 12, 9, 0, 0, 0, time.UTC)}
	check := func() Check {
		r := &Report{}
		checkWorkers(r, log)
		return r.Checks[0]
	}
	require.Equal(t, Check{"workers", OK, "1 at work: b:2", ""}, check())
	attend(t, log, lag.Worker{Name: "a:1", Failing: failing})
	require.Equal(t, Check{
		"workers", Failed, "a:1 has applied nothing since 2026-01-12T09:00:00Z: PostgreSQL cannot be reached",
		"check PostgreSQL; the worker retries without end and recovers by itself",
	}, check())
}

func TestReportJSON(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(Report{Checks: []Check{{"lag", Warning, "s", "m"}}})
	require.NoError(t, err)
	require.Equal(t, `{"ok":false,"checks":[{"name":"lag","status":"warning","seen":"s","fix":"m"}]}`, string(text))
}

func attend(t *testing.T, log *eventlog.Log, w lag.Worker) {
	t.Helper()
	stop, err := lag.Attend(log, func() lag.Process { return lag.Process{Worker: &w} })
	require.NoError(t, err)
	t.Cleanup(stop)
}
