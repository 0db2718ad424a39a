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

func TestPark(t *testing.T) {
	t.Parallel()
	testPark(t, testkit.Connect(t, testkit.NATS(t)))
}

func testPark(t *testing.T, nc *nats.Conn) {
	l := open(t, nc, eventlog.Options{})
	requireDead := func(want uint64) {
		t.Helper()
		got, err := l.DeadLetters(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	requireDead(0)
	e := event(7)
	appendAll(t, l, []*clerk.Event{e})
	requireDead(0)

	begun := time.Now().Truncate(time.Millisecond)
	death := eventlog.Death{Reason: "refused", Err: errors.New("the first line\r\nand the second: Zoë"), Attempts: 3, Seq: 1}
	require.NoError(t, l.Park(t.Context(), e, death))
	requireDead(1)
	death.Attempts = 4
	require.NoError(t, l.Park(t.Context(), e, death), "a redelivery after a lost ack")
	requireDead(1)
	death.Seq = 2
	require.NoError(t, l.Park(t.Context(), e, death), "another copy in the log")
	requireDead(2)

	// None of these can be a token of a subject.
	strange := event(8)
	strange.Envelope = clerk.Envelope{Type: "user.>", EntityID: "a.b", OrgID: "*", UserID: " "}
	require.NoError(t, l.Park(t.Context(), strange, eventlog.Death{Reason: "unusable_id", Err: errors.New("no id"), Attempts: 1}))
	requireDead(3)

	letters := readBack(t, nc, eventlog.DeadStream)
	require.Len(t, letters, 3)
	letter := letters[0]
	require.Equal(t, "clerk.dead.user.created.user_7.-.user_7", letter.Subject)
	require.Equal(t, string(e.Body), string(letter.Data))
	at, err := time.Parse(time.RFC3339, letter.Header.Get("Clerksync-Dead-At"))
	require.NoError(t, err)
	require.WithinRange(t, at, begun, time.Now())
	for name, want := range map[string]string{
		"Clerksync-Dead-Reason":   "refused",
		"Clerksync-Dead-Error":    "the first line  and the second: Zoë",
		"Clerksync-Dead-Attempts": "3",
		"Clerksync-Dead-Seq":      "1",
		"Svix-Id":                 e.ID,
		"Svix-Timestamp":          e.Timestamp,
		"Svix-Signature":          e.Signature,
		"Clerksync-Origin":        "webhook",
		"Clerksync-Received-At":   e.ReceivedAt.UTC().Format("2006-01-02T15:04:05.000Z"),
		"Clerksync-Event-At":      time.UnixMilli(e.Envelope.EventAt).UTC().Format("2006-01-02T15:04:05.000Z"),
	} {
		require.Equal(t, []string{want}, letter.Header[name], name)
	}
	require.Equal(t, "2", letters[1].Header.Get("Clerksync-Dead-Seq"))
	require.Equal(t, "clerk.dead.user.-.-.-.-", letters[2].Subject)
	require.Equal(t, string(strange.Body), string(letters[2].Data))

	require.Equal(t, uint64(1), backlog(t, l).Pending, "the event is pending until it is settled, its letter is not")
}
