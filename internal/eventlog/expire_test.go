package eventlog_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// firstOf returns the first sequence of the log, and how many events it has.
func firstOf(t *testing.T, l *eventlog.Log) [2]uint64 {
	t.Helper()
	state, err := l.State(t.Context())
	require.NoError(t, err)
	return [2]uint64{state.First, state.Events}
}

// testExpire: what is old and applied goes, and nothing else.
func testExpire(t *testing.T, nc *nats.Conn) {
	l := open(t, nc, eventlog.Options{})
	appendAll(t, l, events(0, 10))
	appendAll(t, l, events(10, 20))
	eleventh, err := l.Get(t.Context(), 11)
	require.NoError(t, err)
	boundary := eleventh.StoredAt
	expire := func(before time.Time, through uint64) uint64 {
		t.Helper()
		n, err := l.Expire(t.Context(), before, through)
		require.NoError(t, err)
		return n
	}
	future := time.Now().Add(time.Hour)
	require.Zero(t, expire(future, 0), "nothing is applied")
	require.EqualValues(t, 4, expire(boundary, 4), "of the old ones, those that are applied")
	require.Equal(t, [2]uint64{5, 16}, firstOf(t, l))
	require.Zero(t, expire(boundary, 4), "again")
	require.NoError(t, l.Erase(t.Context(), 6))
	require.EqualValues(t, 5, expire(boundary, 20), "of the applied ones, those that are old")
	require.Equal(t, [2]uint64{11, 10}, firstOf(t, l))
	require.EqualValues(t, 9, expire(future, 20), "the newest one stays")
	require.Equal(t, [2]uint64{20, 1}, firstOf(t, l))
	require.Zero(t, expire(future, 99))
	require.Equal(t, []uint64{21}, appendAll(t, l, events(20, 21)))
	require.EqualValues(t, 1, expire(future, 99))
}

func TestExpire(t *testing.T) {
	t.Parallel()
	testExpire(t, testkit.Connect(t, testkit.NATS(t)))
}

// TestExpireOfAnEmptyLog does nothing.
func TestExpireOfAnEmptyLog(t *testing.T) {
	t.Parallel()
	l := open(t, testkit.Connect(t, testkit.NATS(t)), eventlog.Options{})
	n, err := l.Expire(t.Context(), time.Now(), 0)
	require.NoError(t, err)
	require.Zero(t, n)
}

// TestExpiredWhenTheServerIsKilled right after it: what was kept is there, and new events
// go on with the next sequence.
func TestExpiredWhenTheServerIsKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := startChild(t, dir)
	l := open(t, server.connect(t), eventlog.Options{})
	appendAll(t, l, events(0, 100))
	n, err := l.Expire(t.Context(), time.Now().Add(time.Hour), 60)
	require.NoError(t, err)
	require.EqualValues(t, 60, n)
	server.kill()
	l.Close()
	l = open(t, testkit.Connect(t, startIn(t, dir)), eventlog.Options{})
	state, err := l.State(t.Context())
	require.NoError(t, err)
	require.LessOrEqual(t, state.First, uint64(61), "what comes back is removed again")
	require.EqualValues(t, 100, state.Last)
	_, err = l.Expire(t.Context(), time.Now().Add(time.Hour), 100)
	require.NoError(t, err)
	require.Equal(t, [2]uint64{100, 1}, firstOf(t, l))
	require.Equal(t, []uint64{101}, appendAll(t, l, events(100, 101)))
}

// testID: an identity is made with the stream, and stays.
func testID(t *testing.T, nc *nats.Conn) {
	first := open(t, nc, eventlog.Options{}).ID()
	require.NotEmpty(t, first)
	l := open(t, nc, eventlog.Options{MaxBytes: 1 << 20})
	require.Equal(t, first, l.ID())
	require.NoError(t, l.Admit(t.Context(), []string{"session.created"}))
	b, err := l.Backlog(t.Context())
	require.NoError(t, err)
	require.Equal(t, first, b.LogID)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	require.NoError(t, js.DeleteStream(t.Context(), eventlog.Stream))
	second := open(t, nc, eventlog.Options{}).ID()
	require.NotEqual(t, first, second)
	b, err = l.Backlog(t.Context())
	require.NoError(t, err)
	require.Equal(t, second, b.LogID, "of the log that is there now")
}

func TestID(t *testing.T) {
	t.Parallel()
	testID(t, testkit.Connect(t, testkit.NATS(t)))
}

// TestIDOfAnOlderLog: a stream without one is named by its creation, and keeps that name
// when it gets metadata.
func TestIDOfAnOlderLog(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: eventlog.Stream, Subjects: []string{"clerk.events.>"}})
	require.NoError(t, err)
	want := "created-" + stream.CachedInfo().Created.UTC().Format("20060102T150405.000000000Z")
	l, err := eventlog.Attach(t.Context(), nc, "")
	require.NoError(t, err)
	l.Close()
	require.Equal(t, want, l.ID())
	require.Equal(t, want, open(t, nc, eventlog.Options{}).ID())
	require.Equal(t, want, streamOf(t, nc, eventlog.Stream).CachedInfo().Config.Metadata["clerksync_log_id"])
}

// TestExpireBringsNothingErasedBack: the server writes what is left of a block anew, from
// what it had read before an erasure overwrote a part of it.
func TestExpireBringsNothingErasedBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := openOwner(t, startIn(t, dir))
	const n = 100 // of 64 KB, in one block
	for i := range n {
		appendAll(t, l, []*clerk.Event{marked(i)})
	}
	_, err := l.Get(t.Context(), 90) // the server has read the block
	require.NoError(t, err)
	require.NoError(t, l.Erase(t.Context(), 81, 91))
	requireErased(t, dir, map[int]bool{80: true, 90: true})
	expired, err := l.Expire(t.Context(), time.Now().Add(time.Hour), 70)
	require.NoError(t, err)
	require.EqualValues(t, 70, expired)
	requireErased(t, dir, map[int]bool{0: true, 69: true, 80: true, 90: true})
	require.NotEmpty(t, filesWith(t, dir, marker(99)))
	_, err = l.Get(t.Context(), 100)
	require.NoError(t, err)
}
