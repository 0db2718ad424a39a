package eventlog_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// lettersOf reads all dead letters.
func lettersOf(t *testing.T, l *eventlog.Log, f eventlog.Filter) []*eventlog.Message {
	t.Helper()
	s, err := l.Letters(t.Context(), f)
	require.NoError(t, err)
	defer s.Close()
	return readAll(t, s)
}

func refused(attempts, seq uint64) eventlog.Death {
	return eventlog.Death{Reason: "refused", Err: errors.New("no"), Attempts: attempts, Seq: seq}
}

func TestLetterSaysWhatWasParked(t *testing.T) {
	t.Parallel()
	testLetter(t, testkit.Connect(t, testkit.NATS(t)))
}

func testLetter(t *testing.T, nc *nats.Conn) {
	l := open(t, nc, eventlog.Options{})
	e := event(5)
	e.Origin = clerk.OriginImport
	begun := time.Now().Truncate(time.Millisecond)
	require.NoError(t, l.Park(t.Context(), e, eventlog.Death{Reason: "refused", Err: errors.New("one\r\ntwo: Zoë"), Attempts: 3, Seq: 17}))
	require.NoError(t, l.Park(t.Context(), event(6), eventlog.Death{Reason: "no_id", Err: errors.New("x"), Attempts: 1}))

	got, err := l.GetLetter(t.Context(), 1)
	require.NoError(t, err)
	all := lettersOf(t, l, eventlog.Filter{})
	require.Equal(t, upTo(2), seqsOf(all))
	for _, m := range []*eventlog.Message{got, all[0], lettersOf(t, l, eventlog.Filter{User: "user_5"})[0], lettersOf(t, l, eventlog.Filter{Last: 2})[0]} {
		requireDelivered(t, e, m)
		letter := m.Letter()
		require.WithinRange(t, letter.FirstAt, begun, time.Now())
		require.Equal(t, letter.FirstAt, letter.LastAt)
		require.Equal(t, eventlog.Letter{
			Reason: "refused", Error: "one  two: Zoë", Attempts: 3, LogSeq: 17, FirstAt: letter.FirstAt, LastAt: letter.LastAt,
		}, letter)
		require.WithinRange(t, m.StoredAt, begun.Add(-time.Second), time.Now().Add(time.Second))
	}
	require.Zero(t, all[1].Letter().LogSeq, "it was never in the log")
	requireNoConsumers(t, nc)
}

// TestLetterOfWhatCannotBeRead has nothing but the bytes of its event.
func TestLetterOfWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	l := testkit.Log(t)
	e := &clerk.Event{ID: "msg_1", Timestamp: "1767225600", Signature: "v1,x", ReceivedAt: time.UnixMilli(1767225600123), Origin: clerk.OriginWebhook, Body: []byte("\x00{not JSON\r\n")}
	require.NoError(t, l.Park(t.Context(), e, eventlog.Death{Reason: "undecodable", Err: errors.New("bad")}))
	m := lettersOf(t, l, eventlog.Filter{})[0]
	require.Equal(t, string(e.Body), string(m.Event.Body))
	require.Equal(t, []string{e.ID, e.Timestamp, e.Signature}, []string{m.Event.ID, m.Event.Timestamp, m.Event.Signature})
	require.True(t, e.ReceivedAt.Equal(m.Event.ReceivedAt))
	require.Empty(t, m.Event.Envelope.EntityID+m.Event.Envelope.UserID+m.Event.Envelope.OrgID)

	require.NoError(t, l.ParkAgain(t.Context(), m.Event, eventlog.Death{Reason: "undecodable", Err: errors.New("bad"), Attempts: 1}))
	require.Equal(t, []uint64{2}, seqsOf(lettersOf(t, l, eventlog.Filter{})), "it is found under its subject")
}

func TestParkAgainReplacesTheLetter(t *testing.T) {
	t.Parallel()
	testParkAgain(t, testkit.Connect(t, testkit.NATS(t)))
}

func testParkAgain(t *testing.T, nc *nats.Conn) {
	l := open(t, nc, eventlog.Options{})
	require.NoError(t, l.Park(t.Context(), event(1), refused(3, 7)))
	first := lettersOf(t, l, eventlog.Filter{})[0].Letter()
	// All within the duplicate window.
	for i := range uint64(5) {
		before := time.Now().Truncate(time.Millisecond)
		d := eventlog.Death{Reason: "no_id", Err: errors.New("another"), Attempts: 2, Seq: 7}
		require.NoError(t, l.ParkAgain(t.Context(), event(1), d))
		all := lettersOf(t, l, eventlog.Filter{})
		require.Len(t, all, 1)
		letter := all[0].Letter()
		require.WithinRange(t, letter.LastAt, before, time.Now())
		require.False(t, letter.LastAt.Before(first.LastAt))
		require.Equal(t, eventlog.Letter{
			Reason: "no_id", Error: "another", Attempts: 3 + 2*(i+1), LogSeq: 7, FirstAt: first.FirstAt, LastAt: letter.LastAt,
		}, letter)
		requireDelivered(t, event(1), all[0])
	}
}

func TestParkAgainIsNeverTakenForADuplicate(t *testing.T) {
	t.Parallel()
	l := testkit.Log(t)
	for _, attempts := range []uint64{0, 1} {
		for range 4 { // also when the letter was removed in between
			require.NoError(t, l.ParkAgain(t.Context(), event(1), refused(attempts, 7)))
			require.Len(t, lettersOf(t, l, eventlog.Filter{}), 1)
			require.NoError(t, l.ParkAgain(t.Context(), event(1), refused(attempts, 7)))
			all := lettersOf(t, l, eventlog.Filter{})
			require.Len(t, all, 1)
			require.Equal(t, 2*attempts, all[0].Letter().Attempts)
			require.NoError(t, l.RemoveLetters(t.Context(), all[0].Seq))
		}
	}
}

func TestParkAgainOfWhatHasNoLetter(t *testing.T) {
	t.Parallel()
	l := testkit.Log(t)
	require.NoError(t, l.ParkAgain(t.Context(), event(1), refused(1, 7)))
	all := lettersOf(t, l, eventlog.Filter{})
	require.Len(t, all, 1)
	letter := all[0].Letter()
	require.Equal(t, uint64(1), letter.Attempts)
	require.WithinDuration(t, letter.FirstAt, letter.LastAt, time.Second)
	requireDelivered(t, event(1), all[0])
}

func TestParkAgainLeavesOtherLetters(t *testing.T) {
	t.Parallel()
	l := testkit.Log(t)
	other := event(1) // the same entity, another delivery
	other.ID = "msg_other"
	require.NoError(t, l.Park(t.Context(), event(1), refused(1, 7)))
	require.NoError(t, l.Park(t.Context(), other, refused(1, 8)))
	require.NoError(t, l.Park(t.Context(), other, refused(1, 9))) // another copy in the log
	require.NoError(t, l.Park(t.Context(), event(2), refused(1, 7)))
	require.NoError(t, l.ParkAgain(t.Context(), other, refused(1, 8)))
	all := lettersOf(t, l, eventlog.Filter{})
	require.Equal(t, []uint64{1, 3, 4, 5}, seqsOf(all))
	require.Equal(t, uint64(8), all[3].Letter().LogSeq)
	require.Equal(t, uint64(2), all[3].Letter().Attempts)
	for _, m := range all[:3] {
		require.Equal(t, uint64(1), m.Letter().Attempts)
	}
}

// An interrupted ParkAgain leaves several letters, which the next one replaces.
func TestParkAgainReplacesAllLettersOfTheEvent(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{})
	parkOld(t, nc, event(1), 4, 7)
	parkOld(t, nc, event(1), 2, 7)
	require.NoError(t, l.ParkAgain(t.Context(), event(1), refused(1, 7)))
	all := lettersOf(t, l, eventlog.Filter{})
	require.Len(t, all, 1)
	require.Equal(t, uint64(7), all[0].Letter().Attempts)
	require.Equal(t, oldTime, all[0].Letter().FirstAt)
}

var oldTime = time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)

// parkOld stores a letter like versions without the header for the first time.
func parkOld(t *testing.T, nc *nats.Conn, e *clerk.Event, attempts int, seq uint64) {
	t.Helper()
	number := func(n int) string { return string(rune('0' + n)) }
	_, err := nc.RequestMsg(&nats.Msg{
		Subject: e.Envelope.Subject(eventlog.DeadSubject),
		Header: nats.Header{
			"Svix-Id": {e.ID}, "Svix-Timestamp": {e.Timestamp}, "Svix-Signature": {e.Signature},
			"Clerksync-Received-At":   {e.ReceivedAt.UTC().Format("2006-01-02T15:04:05.000Z")},
			"Clerksync-Event-At":      {time.UnixMilli(e.Envelope.EventAt).UTC().Format("2006-01-02T15:04:05.000Z")},
			"Clerksync-Origin":        {"webhook"},
			"Clerksync-Dead-Reason":   {"refused"},
			"Clerksync-Dead-Error":    {"no"},
			"Clerksync-Dead-At":       {"2026-01-02T03:04:05.678Z"},
			"Clerksync-Dead-Attempts": {number(attempts)},
			"Clerksync-Dead-Seq":      {number(int(seq))},
		},
		Data: e.Body,
	}, prompt)
	require.NoError(t, err)
}

func TestLettersOfAnOlderVersion(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{})
	parkOld(t, nc, event(1), 4, 7)
	m := lettersOf(t, l, eventlog.Filter{})[0]
	old := event(1)
	old.Envelope.InstanceID = "" // that version had no header for it
	requireDelivered(t, old, m)
	require.Equal(t, eventlog.Letter{Reason: "refused", Error: "no", Attempts: 4, FirstAt: oldTime, LastAt: oldTime, LogSeq: 7}, m.Letter())

	require.NoError(t, l.ParkAgain(t.Context(), event(1), refused(1, 7)))
	all := lettersOf(t, l, eventlog.Filter{})
	require.Len(t, all, 1)
	letter := all[0].Letter()
	require.Equal(t, oldTime, letter.FirstAt)
	require.True(t, letter.LastAt.After(oldTime))
	require.Equal(t, uint64(5), letter.Attempts)
}

func TestLettersAreRemovedOnce(t *testing.T) {
	t.Parallel()
	l := testkit.Log(t)
	for i := range 3 {
		require.NoError(t, l.Park(t.Context(), event(i), refused(1, 1)))
	}
	for range 2 {
		require.NoError(t, l.RemoveLetters(t.Context(), 2), "removed already")
	}
	require.NoError(t, l.RemoveLetters(t.Context(), 99), "never stored")
	require.NoError(t, l.RemoveLetters(t.Context(), 0))
	require.Equal(t, []uint64{1, 3}, seqsOf(lettersOf(t, l, eventlog.Filter{})))
	for _, seq := range []uint64{0, 2, 99} {
		_, err := l.GetLetter(t.Context(), seq)
		require.ErrorIs(t, err, eventlog.ErrNotFound, seq)
		_, err = l.Get(t.Context(), seq)
		require.ErrorIs(t, err, eventlog.ErrNotFound, seq)
	}
	_, err := l.GetLetter(t.Context(), 2)
	require.EqualError(t, err, "CLERK_DEAD 2: not in the log: it never was, or is too old, or was erased")
}
