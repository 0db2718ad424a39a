package lag

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestVerdict is every situation and its words.
func TestVerdict(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 14, 30, 0, 0, time.UTC)
	well := []Worker{{Name: "a"}}
	refuses := &Failure{Reason: "PostgreSQL refuses connections", Since: time.Date(2026, 1, 2, 14, 2, 33, 0, time.UTC)}
	failing := []Worker{{Name: "a", Failing: refuses}, {Name: "b", Failing: &Failure{Reason: "x", Since: now}}}
	n := func(v uint64) *uint64 { return &v }
	f := func(v float64) *float64 { return &v }
	silence := &Silence{Seconds: 3 * 3600, UsualGap: f(240), LongestGap: f(2400), Limit: f(4800)}

	for name, tt := range map[string]struct {
		facts facts
		state State
		words string
	}{
		"nothing waits":                    {facts{reading: &Reading{Pending: n(0), Workers: well}}, InStep, "in step"},
		"one on its way":                   {facts{reading: &Reading{Pending: n(1), OldestPendingAge: f(0.2), Workers: well}}, InStep, "in step: 1 event is on the way"},
		"many on their way":                {facts{reading: &Reading{Pending: n(3), OldestPendingAge: f(4.9), Workers: well}}, InStep, "in step: 3 events are on the way"},
		"late":                             {facts{reading: &Reading{Pending: n(3), OldestPendingAge: f(5), Workers: well}}, Behind, "behind by 5 s: 3 events wait"},
		"nobody knows how late":            {facts{reading: &Reading{Pending: n(3), Workers: well}}, Behind, "behind: 3 events wait"},
		"catching up":                      {facts{reading: &Reading{Pending: n(900), OldestPendingAge: f(42), SecondsLeft: f(180), Workers: well}}, Behind, "behind by 42 s and catching up, about 3 min left"},
		"falling behind":                   {facts{reading: &Reading{Pending: n(900), OldestPendingAge: f(42), StoredPerSecond: f(50), AppliedPerSecond: f(20), Workers: well}, falling: true}, Behind, "behind by 42 s and falling further behind: 50 events/s come, 20/s are applied"},
		"standing still":                   {facts{reading: &Reading{Pending: n(900), OldestPendingAge: f(90), Workers: well}, still: 20 * time.Second}, Stuck, "stuck: nothing was applied for 20 s, though a worker is there; 900 events wait, the oldest for 1 min 30 s"},
		"nothing is applied, for now":      {facts{reading: &Reading{Pending: n(300), OldestPendingAge: f(46), Workers: well, StoredPerSecond: f(0), AppliedPerSecond: f(0)}, still: time.Second}, Behind, "behind by 46 s, and nothing is being applied: 300 events wait"},
		"not yet standing still":           {facts{reading: &Reading{Pending: n(900), OldestPendingAge: f(90), Workers: well}, still: 19 * time.Second}, Behind, "behind by 1 min 30 s: 900 events wait"},
		"workers fail":                     {facts{reading: &Reading{Pending: n(1), OldestPendingAge: f(0.1), Workers: failing}}, Stuck, "stuck: PostgreSQL refuses connections since 14:02 UTC; 1 event waits, for 100 ms"},
		"one of two workers fails":         {facts{reading: &Reading{Pending: n(1), OldestPendingAge: f(0.1), Workers: append(failing[:1:1], well...)}}, InStep, "in step: 1 event is on the way"},
		"an outage that workers see":       {facts{reading: &Reading{Pending: n(0), Workers: []Worker{{Name: "a", Outage: refuses}}}}, Stuck, "stuck: PostgreSQL refuses connections since 14:02 UTC; nothing waits yet"},
		"an outage that one of two sees":   {facts{reading: &Reading{Pending: n(0), Workers: []Worker{{Name: "a", Outage: refuses}, {Name: "b"}}}}, InStep, "in step"},
		"a failure that is over":           {facts{reading: &Reading{Pending: n(0), Workers: failing}}, InStep, "in step"},
		"PostgreSQL away, nothing waits":   {facts{reading: &Reading{Pending: n(0), Workers: well, PostgreSQL: &Neighbour{Error: "PostgreSQL refuses connections"}}, pgOutage: now.Add(-48 * time.Hour)}, Stuck, "stuck: PostgreSQL refuses connections since 2025-12-31 14:30 UTC; nothing waits yet"},
		"no worker":                        {facts{reading: &Reading{Pending: n(7), OldestPendingAge: f(3700), Workers: []Worker{}}}, Stuck, "stuck: no worker is running; 7 events wait, the oldest for 1 h 1 min"},
		"no worker, a moment":              {facts{reading: &Reading{Pending: n(7), OldestPendingAge: f(1), Workers: []Worker{}}, attempted: true}, InStep, "in step: nothing is late yet, but no worker is running; 7 events wait, the oldest for 1 s"},
		"a worker that cannot answer":      {facts{reading: &Reading{Pending: n(7), OldestPendingAge: f(8), Workers: []Worker{}}, asking: true}, Behind, "behind by 8 s: 7 events wait"},
		"a busy worker that cannot answer": {facts{reading: &Reading{Pending: n(7), OldestPendingAge: f(8), Workers: []Worker{}, StoredPerSecond: f(0), AppliedPerSecond: f(1)}}, Behind, "behind by 8 s: 7 events wait"},
		"workers cannot be asked":          {facts{reading: &Reading{Pending: n(7), OldestPendingAge: f(8)}}, Behind, "behind by 8 s: 7 events wait"},
		"no worker, nothing waits":         {facts{reading: &Reading{Pending: n(0), Workers: []Worker{}}, attempted: true}, InStep, "in step: nothing waits, but no worker is running"},
		"no worker ever":                   {facts{reading: &Reading{Pending: n(0), Workers: []Worker{}}}, InStep, "in step: nothing waits, and no worker has run yet"},
		"silent":                           {facts{reading: &Reading{Pending: n(0), Workers: well, Silence: silence}}, Silent, "silent: no event for 3 h, usual gap 4 min; is the endpoint enabled in the Clerk dashboard?"},
		"silent and late":                  {facts{reading: &Reading{Pending: n(2), OldestPendingAge: f(10800), Workers: well, Silence: silence}}, Behind, "behind by 3 h: 2 events wait"},
		"no log":                           {facts{reading: &Reading{}, logErr: errors.New("gone")}, Unknown, "unknown: the event log cannot be read; is NATS running?"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := tt.facts.reading
			r.MeasuredAt = now
			judge(&tt.facts)
			require.Equal(t, tt.words, r.Verdict)
			require.Equal(t, tt.state, r.State)
			require.Equal(t, tt.state == InStep, r.InStep)
		})
	}
}

func TestSpell(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0 ms", 0: "0 ms", 950 * time.Millisecond: "950 ms", time.Second: "1 s", 59 * time.Second: "59 s",
		time.Minute: "1 min", 61 * time.Second: "1 min 1 s", 9*time.Minute + 59*time.Second: "9 min 59 s", 10*time.Minute + time.Second: "10 min",
		time.Hour: "1 h", 3*time.Hour + 10*time.Minute: "3 h 10 min", 24 * time.Hour: "1 d", 50 * time.Hour: "2 d 2 h",
	} {
		require.Equal(t, want, spell(d), d)
	}
}

// TestHabit: what is usual decides what is silence.
func TestHabit(t *testing.T) {
	t.Parallel()
	of := func(d time.Duration) pause { return pause{to: time.Time{}.Add(d)} }
	const old = 30 * 24 * time.Hour
	for name, tt := range map[string]struct {
		pauses []pause
		age    time.Duration
		limit  time.Duration
	}{
		"never quiet":                  {nil, old, 15 * time.Minute},
		"one outage":                   {[]pause{of(72 * time.Hour)}, old, 15 * time.Minute},
		"nights":                       {[]pause{of(9 * time.Hour), of(8 * time.Hour)}, old, 16 * time.Hour},
		"weekends, and one was longer": {[]pause{of(90 * time.Hour), of(62 * time.Hour)}, old, 124 * time.Hour},
		"a log that knows no night":    {[]pause{of(20 * time.Minute), of(10 * time.Minute)}, 24 * time.Hour, 12 * time.Hour},
		"a young log of a quiet app":   {[]pause{of(20 * time.Hour), of(10 * time.Hour)}, 72 * time.Hour, 20 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := learn(tt.pauses, tt.age)
			require.Equal(t, tt.limit, h.limit)
			require.False(t, h.silence(tt.limit, time.Minute).silent())
			require.True(t, h.silence(tt.limit+time.Second, time.Minute).silent())
			require.False(t, h.silence(tt.limit+time.Second, 0).silent(), "too few events to know")
		})
	}
	require.False(t, habit{}.silence(1000*time.Hour, time.Minute).silent(), "nothing was learned yet")
	require.Zero(t, habit{}.silence(-time.Second, 0).Seconds)
	require.False(t, (*Silence)(nil).silent())
}

// TestStuckHasNoEnd: a rate of before is no promise.
func TestStuckHasNoEnd(t *testing.T) {
	t.Parallel()
	left := 25.0
	pending := uint64(3)
	r := &Reading{Pending: &pending, SecondsLeft: &left, Workers: []Worker{{Failing: &Failure{Reason: "PostgreSQL refuses connections"}}}}
	judge(&facts{reading: r})
	require.Equal(t, Stuck, r.State)
	require.Nil(t, r.SecondsLeft)
}
