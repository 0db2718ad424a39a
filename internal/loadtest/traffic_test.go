package loadtest

import (
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/signing"
)

func envelope(t *testing.T, body []byte) clerk.Envelope {
	t.Helper()
	e, err := clerk.ParseEnvelope(body)
	require.NoError(t, err)
	require.NoError(t, e.CheckIDs())
	return e
}

// TestBodiesHaveTheSize: and the least size when it cannot be smaller.
func TestBodiesHaveTheSize(t *testing.T) {
	t.Parallel()
	for _, people := range []int{0, 5} {
		for _, size := range []int{900, 2048, clerk.MaxBody} {
			tr := newTraffic(&Options{BodySize: size, People: people})
			require.Len(t, tr.body(0, time.Now()), size)
		}
		require.Less(t, len(newTraffic(&Options{People: people}).body(0, time.Now())), 900)
	}
}

// TestProbesAreProbes: of one entity, so of one subject, which is not that of `probe`.
func TestProbesAreProbes(t *testing.T) {
	t.Parallel()
	tr := newTraffic(&Options{BodySize: 200})
	at := tr.begin.Add(time.Second)
	for n := range uint64(3) {
		id, body := tr.event(n, at)
		require.True(t, signing.ValidID(id))
		require.Equal(t, clerk.Envelope{Type: clerk.ProbeType, EventAt: at.UnixMilli(), EntityID: "loadtest"}, envelope(t, body))
	}
	require.NotEqual(t, clerk.ProbeID, "loadtest")
}

// TestPeopleCannotBeReal: Clerk's ids are of letters and digits after the first underscore,
// and nobody gets mail at .invalid.
func TestPeopleCannotBeReal(t *testing.T) {
	t.Parallel()
	tr := newTraffic(&Options{People: 2, InstanceID: "ins_1", BodySize: 2048})
	var types, users []string
	for n := range uint64(4) {
		_, body := tr.event(n, tr.begin)
		e := envelope(t, body)
		change, err := clerk.ParseChange(&clerk.Event{ID: "msg_1", Body: body, Envelope: e, ReceivedAt: time.Now()})
		require.NoError(t, err)
		require.NotNil(t, change)
		require.Contains(t, string(body), "@loadtest.invalid")
		require.Equal(t, "ins_1", e.InstanceID)
		require.NotRegexp(t, regexp.MustCompile(`^user_[A-Za-z0-9]*$`), e.EntityID)
		types, users = append(types, e.Type), append(users, e.EntityID)
	}
	require.Equal(t, []string{"user.created", "user.created", "user.updated", "user.updated"}, types)
	require.Equal(t, []string{tr.userID(0), tr.userID(1), tr.userID(0), tr.userID(1)}, users)
	id, body := tr.deletion(1, tr.begin)
	require.True(t, signing.ValidID(id))
	e := envelope(t, body)
	require.Equal(t, []string{"user.deleted", tr.userID(1), "ins_1"}, []string{e.Type, e.EntityID, e.InstanceID})
}

// TestIDsSayWhenTheyWereDue: those of this run only.
func TestIDsSayWhenTheyWereDue(t *testing.T) {
	t.Parallel()
	tr := newTraffic(&Options{People: 1})
	for _, after := range []time.Duration{0, time.Microsecond, 90 * time.Minute} {
		id, _ := tr.event(7, tr.begin.Add(after))
		due, _, ours := tr.dueAt(id)
		require.True(t, ours)
		require.Equal(t, after, due.Sub(tr.begin))
	}
	deletion, _ := tr.deletion(0, tr.begin)
	another, _ := newTraffic(&Options{}).event(0, time.Now())
	for _, id := range []string{"", "msg_1", deletion, another, tr.prefix(), tr.prefix() + "!_1"} {
		_, _, ours := tr.dueAt(id)
		require.False(t, ours, id)
	}
}

// TestOneEventInTenMillisecondsIsMarked: whatever the rate.
func TestOneEventInTenMillisecondsIsMarked(t *testing.T) {
	t.Parallel()
	for interval, want := range map[time.Duration]int{time.Millisecond: 100, 100 * time.Microsecond: 100, 25 * time.Millisecond: 40} {
		tr, marked := newTraffic(&Options{}), 0
		for n := range uint64(time.Second / interval) {
			id, _ := tr.event(n, tr.begin.Add(time.Duration(n)*interval))
			if _, is, ours := tr.dueAt(id); ours && is {
				marked++
			}
		}
		require.Equal(t, want, marked, interval)
	}
}
