package doctor

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/lag"
)

// TestRoom: nearly full is a warning, full a failure.
func TestRoom(t *testing.T) {
	t.Parallel()
	const fix = "raise CLERKSYNC_LOG_MAX_BYTES, or lower CLERKSYNC_LOG_MAX_AGE"
	for name, tc := range map[string]struct {
		i    eventlog.Inspection
		disk *lag.Disk
		want Check
	}{
		"no limit": {eventlog.Inspection{Bytes: 1 << 40}, nil, Check{"room", OK, "there is room for more events", ""}},
		"below":    {eventlog.Inspection{Bytes: 7 * 1_000_000, MaxBytes: 10 * 1_000_000}, nil, Check{"room", OK, "there is room for more events", ""}},
		"near":     {eventlog.Inspection{Bytes: 8 * 1_000_000, MaxBytes: 10 * 1_000_000}, nil, Check{"room", Warning, "the event log is nearly full: it has 8.0 MB of 10 MB", fix}},
		"full":     {eventlog.Inspection{Bytes: 10 * 1_000_000, MaxBytes: 10 * 1_000_000}, nil, Check{"room", Failed, "the event log is full: it has 10 MB of 10 MB", fix}},
		"account": {
			eventlog.Inspection{Used: 9 * 1_000_000, Storage: 10 * 1_000_000},
			nil,
			Check{"room", Warning, "the NATS account stores 9.0 MB of 10 MB", "let it store more, or lower CLERKSYNC_LOG_MAX_AGE"},
		},
		"disk": {
			eventlog.Inspection{},
			&lag.Disk{Free: 900e6, Reserve: 64e6},
			Check{"room", Warning, "the disk of the event log has 900 MB free: below 64 MB every delivery is refused", "make room, or set CLERKSYNC_LOG_MAX_BYTES"},
		},
		"full disk": {
			eventlog.Inspection{},
			&lag.Disk{Free: 60e6, Reserve: 64e6},
			Check{"room", Failed, "the disk of the event log has 60 MB free: every delivery is refused", "make room on the disk of CLERKSYNC_DATA_DIR; it recovers by itself"},
		},
	} {
		r := &Report{}
		checkRoom(r, &tc.i, []lag.Receiver{{Disk: tc.disk}})
		require.Equal(t, []Check{tc.want}, r.Checks, name)
	}
}

// TestFailingWorkers: beside healthy ones.
func TestFailingWorkers(t *testing.T) {
	t.Parallel()
	failing := &lag.Failure{Reason: "PostgreSQL cannot be reached", Since: time.Date(2026, 1, 12, 9, 0, 0, 0, time.UTC)}
	check := func(workers ...lag.Worker) Check {
		r := &Report{}
		checkWorkers(r, workers)
		return r.Checks[0]
	}
	require.Equal(t, Check{"workers", OK, "1 at work: b:2", ""}, check(lag.Worker{Name: "b:2"}))
	require.Equal(t, Check{
		"workers", Failed, "a:1 has applied nothing since 2026-01-12T09:00:00Z: PostgreSQL cannot be reached",
		"check PostgreSQL; the worker retries without end and recovers by itself",
	}, check(lag.Worker{Name: "a:1", Failing: failing}, lag.Worker{Name: "b:2"}))
}

func TestReportJSON(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(Report{Checks: []Check{{"lag", Warning, "s", "m"}}})
	require.NoError(t, err)
	require.Equal(t, `{"ok":false,"checks":[{"name":"lag","status":"warning","seen":"s","fix":"m"}]}`, string(text))
}
