package lag

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestVerdict: every situation and its sentence.
func TestVerdict(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 14, 30, 0, 0, time.UTC)
	well := []Worker{{Name: "a"}}
	refuses := &Failure{Reason: "PostgreSQL refuses connections", Since: time.Date(2026, 1, 2, 14, 2, 33, 0, time.UTC)}
	failing := []Worker{{Name: "a", Failing: refuses}, {Name: "b", Failing: &Failure{Reason: "x", Since: now}}}
	n := func(v uint64) *uint64 { return &v }
	f := func(v float64) *float64 { return &v }
	silence := &Silence{Seconds: 3 * 3600, UsualGap: f(240), LongestGap: f(2400), Limit: 4800, ReachedAt: now.Add(-100 * time.Minute)}
	receiver := func(d Receiver) *Reading {
		d.Name = "web-1:7"
		return &Reading{Pending: n(0), Workers: well, Receivers: []Receiver{{Name: "other"}, d}, Probe: d.Probe}
	}
	refused := func(count int, reason string, off float64) *Reading {
		return receiver(Receiver{Refused: &Refused{Count: count, Reason: reason, Since: now.Add(-time.Minute), LastAt: now.Add(-12 * time.Second), ClockOff: off}})
	}

	for name, tt := range map[string]struct {
		facts facts
		state State
		words string
	}{
		"nothing waits":                    {facts{reading: &Reading{Pending: n(0), Workers: well}}, InStep, "in step"},
		"one on its way":                   {facts{reading: &Reading{Pending: n(1), OldestPendingAge: f(0.2), Workers: well}}, InStep, "in step: 1 event is on the way"},
		"many on their way":                {facts{reading: &Reading{Pending: n(3), OldestPendingAge: f(4.9), Workers: well}}, InStep, "in step: 3 events are on the way"},
		"late":                             {facts{reading: &Reading{Pending: n(3), OldestPendingAge: f(5), Workers: well}}, Behind, "behind: 5.0 s, 3 events wait"},
		"nobody knows how late":            {facts{reading: &Reading{Pending: n(3), Workers: well}}, Behind, "behind: 3 events wait"},
		"catching up":                      {facts{reading: &Reading{Pending: n(900), OldestPendingAge: f(42), SecondsLeft: f(180), Workers: well}}, Behind, "behind: 42 s, catching up, about 3 min left"},
		"falling behind":                   {facts{reading: &Reading{Pending: n(900), OldestPendingAge: f(42), StoredPerSecond: f(50), AppliedPerSecond: f(20), Workers: well}, falling: true}, Behind, "behind: 42 s, falling further behind, 50 events/s are stored and 20/s applied"},
		"standing still":                   {facts{reading: &Reading{Pending: n(900), OldestPendingAge: f(90), Workers: well}, still: 20 * time.Second}, Stuck, "stuck: nothing was applied for 20 s, though a worker is there; 900 events wait, the oldest for 1 min 30 s"},
		"nothing is applied, for now":      {facts{reading: &Reading{Pending: n(300), OldestPendingAge: f(46), Workers: well, StoredPerSecond: f(0), AppliedPerSecond: f(0)}, still: time.Second}, Behind, "behind: 46 s, nothing is being applied, 300 events wait"},
		"not yet standing still":           {facts{reading: &Reading{Pending: n(900), OldestPendingAge: f(90), Workers: well}, still: 19 * time.Second}, Behind, "behind: 1 min 30 s, 900 events wait"},
		"workers fail":                     {facts{reading: &Reading{Pending: n(1), OldestPendingAge: f(0.1), Workers: failing}}, Stuck, "stuck: PostgreSQL refuses connections since 14:02 UTC; 1 event waits, for 100 ms"},
		"one of two workers fails":         {facts{reading: &Reading{Pending: n(1), OldestPendingAge: f(0.1), Workers: append(failing[:1:1], well...)}}, InStep, "in step: 1 event is on the way"},
		"an outage that workers see":       {facts{reading: &Reading{Pending: n(0), Workers: []Worker{{Name: "a", Outage: refuses}}}}, Stuck, "stuck: PostgreSQL refuses connections since 14:02 UTC; nothing waits yet"},
		"an outage that one of two sees":   {facts{reading: &Reading{Pending: n(0), Workers: []Worker{{Name: "a", Outage: refuses}, {Name: "b"}}}}, InStep, "in step"},
		"a failure that is over":           {facts{reading: &Reading{Pending: n(0), Workers: failing}}, InStep, "in step"},
		"PostgreSQL away, nothing waits":   {facts{reading: &Reading{Pending: n(0), Workers: well, PostgreSQL: &Neighbour{Error: "PostgreSQL refuses connections"}}, pgOutage: now.Add(-48 * time.Hour)}, Stuck, "stuck: PostgreSQL refuses connections since 2025-12-31 14:30 UTC; nothing waits yet"},
		"no worker":                        {facts{reading: &Reading{Pending: n(7), OldestPendingAge: f(3700), Workers: []Worker{}}}, Stuck, "stuck: no worker is running; 7 events wait, the oldest for 1 h 1 min"},
		"no worker, a moment":              {facts{reading: &Reading{Pending: n(7), OldestPendingAge: f(1), Workers: []Worker{}}}, Stuck, "stuck: no worker is running; 7 events wait, the oldest for 1.0 s"},
		"a worker that cannot answer":      {facts{reading: &Reading{Pending: n(7), OldestPendingAge: f(8), Workers: []Worker{}}, asking: true}, Behind, "behind: 8.0 s, 7 events wait"},
		"a busy worker that cannot answer": {facts{reading: &Reading{Pending: n(7), OldestPendingAge: f(8), Workers: []Worker{}, StoredPerSecond: f(0), AppliedPerSecond: f(1)}}, Behind, "behind: 8.0 s, 7 events wait"},
		"workers cannot be asked":          {facts{reading: &Reading{Pending: n(7), OldestPendingAge: f(8)}}, Behind, "behind: 8.0 s, 7 events wait"},
		"no worker, nothing waits":         {facts{reading: &Reading{Pending: n(0), Workers: []Worker{}}}, Stuck, "stuck: no worker is running; nothing waits yet"},
		"silent":                           {facts{reading: &Reading{Pending: n(0), Workers: well, Silence: silence}}, Silent, "silent: no event for 3 h, the limit is 1 h 20 min"},
		"silent and late":                  {facts{reading: &Reading{Pending: n(2), OldestPendingAge: f(10800), Workers: well, Silence: silence}}, Behind, "behind: 3 h, 2 events wait"},
		"events are lost":                  {facts{reading: &Reading{Pending: n(900), OldestPendingAge: f(90), Workers: well, Lost: &Loss{Events: 4, From: 11, To: 14, Since: now}}}, Lost, "lost: 4 events left the event log before being applied, of the sequences 11..14"},
		"another log":                      {facts{reading: &Reading{Pending: n(0), Workers: []Worker{}}, otherLog: ErrOtherLog}, Stuck, "stuck: the event log is not the one that the rows come from"},
		"refused for its signature":        {facts{reading: refused(5, "bad_signature", 0)}, Refusing, "refusing: 5 of the last 5 deliveries were refused: the signature does not fit CLERK_WEBHOOK_SIGNING_SECRET, the last 12 s ago"},
		"refused for our clock":            {facts{reading: refused(2, "too_old", 420)}, Refusing, "refusing: 2 of the last 2 deliveries were refused: the clock of web-1:7 is 7 min ahead of Svix's, the last 12 s ago"},
		"refused for a slow clock":         {facts{reading: refused(2, "too_new", -420)}, Refusing, "refusing: 2 of the last 2 deliveries were refused: the clock of web-1:7 is 7 min behind Svix's, the last 12 s ago"},
		"refused once, without a log":      {facts{reading: refused(1, "unavailable", 0)}, Refusing, "refusing: the last delivery was refused: the event log did not take them, the last 12 s ago"},
		"a full disk":                      {facts{reading: receiver(Receiver{Disk: &Disk{Free: 60e6, Reserve: 64e6}})}, Refusing, "refusing: the disk of the event log has 60 MB free, and every delivery is refused below 64 MB"},
		"a full log":                       {facts{reading: &Reading{Pending: n(0), Workers: well, EventLog: Neighbour{Bytes: 9_990_000, MaxBytes: 10_000_000}}}, Refusing, "refusing: the event log is full: 10 MB of 10 MB"},
		"a probe that fails":               {facts{reading: receiver(Receiver{Probe: &Probe{StoppedAt: "redirect", Cause: "it is redirected", Since: now.Add(-time.Hour)}})}, Refusing, "refusing: the probe stops at redirect since 13:30 UTC: it is redirected"},
		"a probe that passes":              {facts{reading: receiver(Receiver{Probe: &Probe{OK: true}})}, InStep, "in step"},
		"another instance":                 {facts{reading: receiver(Receiver{InstanceID: "ins_a"}), letter: &parked{instance: "ins_b", received: now}}, Refusing, "refusing: the last delivery was of Clerk instance ins_b and was parked: CLERK_INSTANCE_ID is ins_a"},
		"an example of the dashboard":      {facts{reading: receiver(Receiver{InstanceID: "ins_a"}), letter: &parked{received: now}}, InStep, "in step"},
		"a corrected instance":             {facts{reading: receiver(Receiver{InstanceID: "ins_b"}), letter: &parked{instance: "ins_b", received: now}}, InStep, "in step"},
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

// TestFindings: the worst decides, the others are warnings, and each has its own fix.
func TestFindings(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 14, 30, 0, 0, time.UTC)
	pending, age := uint64(3), 12.0
	r := &Reading{
		MeasuredAt: now, Pending: &pending, OldestPendingAge: &age, Workers: []Worker{}, Warnings: []Warning{},
		Receivers: []Receiver{{Name: "a", Refused: &Refused{Count: 1, Reason: "bad_signature", Fix: "f", Since: now, LastAt: now}}},
		Silence:   &Silence{Seconds: 10, Limit: 5, ReachedAt: now},
	}
	judge(&facts{reading: r, warnings: []finding{{cause: CauseDeadLetters, text: "1 dead letter is parked", fix: "f"}}})
	require.Equal(t, Stuck, r.State)
	require.Equal(t, CauseNoWorker, r.Cause)
	require.True(t, r.Silent)
	var causes []string
	for _, w := range r.Warnings {
		require.NotEmpty(t, w.Fix, w.Text)
		causes = append(causes, w.Cause)
	}
	require.Equal(t, []string{CauseSecret, CauseCatchingUp, CauseSilent, CauseDeadLetters}, causes)

	r.Workers = []Worker{{Name: "a"}}
	r.Warnings = []Warning{}
	judge(&facts{reading: r})
	require.Equal(t, Refusing, r.State)
	require.Equal(t, now, *r.Since)
	require.Contains(t, Causes, r.Cause)
}

// TestRoomWarns: a warning comes before deliveries are refused.
func TestRoomWarns(t *testing.T) {
	t.Parallel()
	texts := func(r *Reading) (all []string) {
		for _, p := range (&facts{reading: r}).room() {
			all = append(all, p.text)
		}
		return all
	}
	require.Equal(t, []string{"the disk of the event log has 900 MB free; every delivery is refused below 64 MB"},
		texts(&Reading{Receivers: []Receiver{{Disk: &Disk{Free: 900e6, Reserve: 64e6}}}}))
	require.Empty(t, texts(&Reading{Receivers: []Receiver{{Disk: &Disk{Free: 1 << 30, Reserve: 64e6}}, {}}}))
	require.Empty(t, texts(&Reading{Receivers: []Receiver{{Disk: &Disk{Free: 1, Reserve: 64e6}}}}), "it is worse than a warning")
	require.Equal(t, []string{"the event log is nearly full: 8.0 MB of 10 MB"}, texts(&Reading{EventLog: Neighbour{Bytes: 8e6, MaxBytes: 10e6}}))
	require.Empty(t, texts(&Reading{EventLog: Neighbour{Bytes: 7.9e6, MaxBytes: 10e6}}))
}

// TestHabit: the limit follows the usual pauses.
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
		"a log that knows no night":    {[]pause{of(20 * time.Minute), of(10 * time.Minute)}, 24 * time.Hour, 24 * time.Hour},
		"a young log of a quiet app":   {[]pause{of(20 * time.Hour), of(18 * time.Hour)}, 72 * time.Hour, 36 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.limit, learn(tt.pauses, tt.age).limit)
		})
	}
}

// TestSilence: the limit is the one that is set, or else the one that was learned, or else
// 24 hours.
func TestSilence(t *testing.T) {
	t.Parallel()
	last := time.Date(2026, 1, 2, 14, 30, 0, 0, time.UTC)
	after := func(h habit, d time.Duration, set *float64, gap time.Duration) *Silence {
		return h.silence(last, last.Add(d), set, gap)
	}
	for name, tt := range map[string]struct {
		habit habit
		set   *float64
		gap   time.Duration
		limit time.Duration
	}{
		"nothing is known":         {habit{}, nil, 0, 24 * time.Hour},
		"too few events":           {habit{limit: time.Hour}, nil, 0, 24 * time.Hour},
		"not learned yet":          {habit{}, nil, time.Minute, 24 * time.Hour},
		"learned":                  {habit{limit: time.Hour}, nil, time.Minute, time.Hour},
		"set":                      {habit{limit: time.Hour}, new(90.0), time.Minute, 90 * time.Second},
		"set, without any history": {habit{}, new(90.0), 0, 90 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := after(tt.habit, tt.limit, tt.set, tt.gap)
			require.InDelta(t, tt.limit.Seconds(), s.Limit, 0)
			require.Equal(t, last.Add(tt.limit), s.ReachedAt)
			require.False(t, s.silent())
			require.True(t, after(tt.habit, tt.limit+time.Second, tt.set, tt.gap).silent())
			require.Equal(t, tt.gap != 0, s.UsualGap != nil)
		})
	}
	require.Nil(t, after(habit{}, 0, nil, time.Minute).LongestGap, "the usual gap is not the longest")
	require.InDelta(t, 480, *after(habit{secondLongest: 8 * time.Minute}, 0, nil, time.Minute).LongestGap, 0)
	require.Zero(t, after(habit{}, -time.Second, nil, 0).Seconds, "a clock was set back")
	require.False(t, (*Silence)(nil).silent())
}

// TestStuckHasNoEnd: an earlier rate is no forecast.
func TestStuckHasNoEnd(t *testing.T) {
	t.Parallel()
	left := 25.0
	pending := uint64(3)
	r := &Reading{Pending: &pending, SecondsLeft: &left, Workers: []Worker{{Failing: &Failure{Reason: "PostgreSQL refuses connections"}}}}
	judge(&facts{reading: r})
	require.Equal(t, Stuck, r.State)
	require.Nil(t, r.SecondsLeft)
}
