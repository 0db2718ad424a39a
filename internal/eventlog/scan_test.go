package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// scan starts a scan, which ends with the test at the latest.
func scan(t *testing.T, l *eventlog.Log, f eventlog.Filter) *eventlog.Scan {
	t.Helper()
	s, err := l.Events(t.Context(), f, false)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// read reads n events.
func read(t *testing.T, s *eventlog.Scan, n int) []*eventlog.Message {
	t.Helper()
	var all []*eventlog.Message
	for range n {
		m, err := s.Next(t.Context())
		require.NoError(t, err)
		all = append(all, m)
	}
	return all
}

// readAll reads what is left.
func readAll(t *testing.T, s *eventlog.Scan) []*eventlog.Message {
	t.Helper()
	all, err := rest(t.Context(), s)
	require.NoError(t, err)
	return all
}

// appendMany appends events in large groups.
func appendMany(t *testing.T, l *eventlog.Log, all []*clerk.Event) {
	t.Helper()
	for group := range slices.Chunk(all, 250) {
		_, errs := l.CommitGroup(group...)
		require.NoError(t, errors.Join(errs...))
	}
}

func TestScanOfAnEmptyLogEndsAtOnce(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{})
	empty := func() {
		t.Helper()
		for _, f := range []eventlog.Filter{
			{},
			{Since: time.Now().Add(-time.Hour)},
			{Until: time.Now().Add(time.Hour)},
			{Until: time.Now().Add(-time.Hour)},
			{Last: 5},
			{Limit: 5},
			{From: 1},
			{To: 1},
			{Types: []string{"user.*", "session.ended"}, Last: 2},
		} {
			s := scan(t, l, f)
			total, err := s.Total(t.Context())
			require.NoError(t, err)
			require.Zero(t, total)
			require.Empty(t, readAll(t, s))
		}
	}
	empty()
	appendAll(t, l, events(0, 3))
	require.NoError(t, streamOf(t, nc, eventlog.Stream).Purge(t.Context()))
	empty()
}

func TestScanHasNothingStoredAfterItBegan(t *testing.T) {
	t.Parallel()
	l := testkit.Log(t)
	appendAll(t, l, events(0, 10))
	var scans []*eventlog.Scan
	for _, f := range []eventlog.Filter{{}, {Types: []string{"user.*", "*.created"}}, {Last: 10}, {To: 1000}} {
		scans = append(scans, scan(t, l, f))
	}
	read(t, scans[0], 5)
	appendAll(t, l, events(10, 20))
	require.Equal(t, upTo(10)[5:], seqsOf(readAll(t, scans[0])))
	for _, s := range scans[1:] {
		require.Equal(t, upTo(10), seqsOf(readAll(t, s)))
		_, err := s.Next(t.Context())
		require.Equal(t, io.EOF, err, "the end stays the end")
	}
}

// TestScanOfTheLastWhileEventsArrive finds and counts the last events of a log under load.
func TestScanOfTheLastWhileEventsArrive(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{})
	appendMany(t, l, events(0, 500))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		for i := 500; ctx.Err() == nil; i++ {
			if _, err := l.Append(context.Background(), event(i)); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for i := range 3 {
		for _, types := range [][]string{nil, {"user.*"}, {"use*.created"}} {
			before := streamOf(t, nc, eventlog.Stream).CachedInfo().State.LastSeq
			s := scan(t, l, eventlog.Filter{Last: 50, Types: types})
			total, err := s.Total(t.Context())
			require.NoError(t, err)
			require.GreaterOrEqual(t, total, uint64(50), i)
			got := seqsOf(readAll(t, s))
			require.Len(t, got, 50)
			require.GreaterOrEqual(t, got[49], before)
			for i := range got[1:] {
				require.Equal(t, got[i]+1, got[i+1])
			}

			s = scan(t, l, eventlog.Filter{Types: types})
			total, err = s.Total(t.Context())
			require.NoError(t, err)
			require.GreaterOrEqual(t, total, uint64(len(readAll(t, s))))
		}
	}
	cancel()
	require.NoError(t, <-done)
}

func TestScanOfHeadersHasNoBodies(t *testing.T) {
	t.Parallel()
	l := testkit.Log(t)
	e := event(3)
	appendAll(t, l, []*clerk.Event{e})
	s, err := l.Events(t.Context(), eventlog.Filter{}, true)
	require.NoError(t, err)
	defer s.Close()
	m := readAll(t, s)[0]
	require.Empty(t, m.Event.Body)
	require.Equal(t, fmt.Sprint(len(e.Body)), m.Header.Get("Nats-Msg-Size"), "the size is there")
	want := *e
	want.Body = m.Event.Body
	require.Equal(t, want.Envelope, m.Event.Envelope)
	require.Equal(t, want.ID, m.Event.ID)
	require.NoError(t, m.Ack(), "settling it does nothing")
	require.NoError(t, m.Return(), "settling it does nothing")
}

func TestScanWhoseEventsArePurgedEnds(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{})
	appendMany(t, l, events(0, 3000))
	unread, begun := scan(t, l, eventlog.Filter{}), scan(t, l, eventlog.Filter{})
	late := scan(t, l, eventlog.Filter{From: 10, To: 2900})
	read(t, begun, 10)
	require.NoError(t, streamOf(t, nc, eventlog.Stream).Purge(t.Context(), jetstream.WithPurgeKeep(50)))
	finish(t, patience, "reading what is left", func() {
		require.Equal(t, upTo(3000)[2950:], seqsOf(readAll(t, unread)))
	})
	finish(t, patience, "reading what is left", func() {
		require.Empty(t, readAll(t, late), "what is left is after its end")
	})
	require.NoError(t, streamOf(t, nc, eventlog.Stream).Purge(t.Context()))
	finish(t, patience, "reading what was in flight", func() {
		got := seqsOf(readAll(t, begun))
		require.Less(t, len(got), 2000, "not more than was sent ahead")
		require.IsIncreasing(t, got)
	})
}

func TestScanGoesOnWhenTheServerForgotItsConsumers(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{})
	appendMany(t, l, events(0, 5000))
	s := scan(t, l, eventlog.Filter{Types: []string{"user.created", "*.deleted"}})
	require.NoError(t, s.ForgetConsumers(t.Context()))
	require.Equal(t, upTo(100), seqsOf(read(t, s, 100)))
	require.NoError(t, s.ForgetConsumers(t.Context()))
	finish(t, patience, "reading on", func() {
		require.Equal(t, upTo(5000)[100:], seqsOf(readAll(t, s)))
	})
	s.Close()
	requireNoConsumers(t, nc)
}

func TestScanGoesOnWhenTheServerRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := startIn(t, dir)
	way := newLink(t, n)
	l := open(t, way.connect(t), eventlog.Options{})
	appendMany(t, l, events(0, 5000))
	s := scan(t, l, eventlog.Filter{})
	require.Equal(t, upTo(10), seqsOf(read(t, s, 10)))
	n.Stop()
	n = startIn(t, dir)
	way.to(t, n)
	finish(t, patience, "reading on", func() {
		require.Equal(t, upTo(5000)[10:], seqsOf(readAll(t, s)))
	})
}

// requireInterrupted reads a scan of so many events that cannot reach its end.
func requireInterrupted(t *testing.T, s *eventlog.Scan, of int) {
	t.Helper()
	s.SetPatience(200 * time.Millisecond)
	finish(t, patience, "reading from a server that is away", func() {
		got, err := rest(t.Context(), s)
		require.ErrorIs(t, err, eventlog.ErrInterrupted)
		require.Less(t, len(got), of)
	})
	finish(t, prompt, "closing", s.Close)
	s.Close()
}

func TestScanOverALostConnectionIsNotAtItsEnd(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	direct := testkit.Connect(t, n)
	l := open(t, direct, eventlog.Options{})
	appendMany(t, l, events(0, 5000))
	for _, already := range []int{0, 10, 900} {
		t.Run(fmt.Sprint(already), func(t *testing.T) {
			t.Parallel()
			way := newLink(t, n)
			far, err := eventlog.Attach(t.Context(), way.connect(t), "")
			require.NoError(t, err)
			t.Cleanup(far.Close)
			s := scan(t, far, eventlog.Filter{})
			read(t, s, already)
			way.cut()
			requireInterrupted(t, s, 5000-already)
		})
	}
	t.Run("messages in flight are lost", func(t *testing.T) {
		t.Parallel()
		way := newLink(t, n)
		far, err := eventlog.Attach(t.Context(), way.connect(t), "")
		require.NoError(t, err)
		t.Cleanup(far.Close)
		s := scan(t, far, eventlog.Filter{})
		first := seqsOf(read(t, s, 10))
		way.hold() // the server sends, and nothing arrives
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		got, err := rest(ctx, s)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		first = append(first, seqsOf(got)...)
		way.cut()
		way.to(t, n)
		s.SetPatience(2 * time.Second)
		finish(t, patience, "reading on", func() {
			got, err := rest(t.Context(), s)
			first = append(first, seqsOf(got)...)
			if err != nil {
				require.ErrorIs(t, err, eventlog.ErrInterrupted)
				require.Equal(t, upTo(5000)[:len(first)], first, "everything before is right")
				return
			}
			require.Equal(t, upTo(5000), first)
		})
	})
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		nc := testkit.Connect(t, n)
		far, err := eventlog.Attach(t.Context(), nc, "")
		require.NoError(t, err)
		t.Cleanup(far.Close)
		s := scan(t, far, eventlog.Filter{})
		read(t, s, 10)
		nc.Close()
		requireInterrupted(t, s, 4990)
	})
}

func TestScanOfAStoppedServerIsNotAtItsEnd(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	l := open(t, testkit.Connect(t, n), eventlog.Options{})
	appendMany(t, l, events(0, 5000))
	unread, begun := scan(t, l, eventlog.Filter{}), scan(t, l, eventlog.Filter{})
	read(t, begun, 10)
	n.Stop()
	requireInterrupted(t, unread, 5000)
	requireInterrupted(t, begun, 4990)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := l.Events(ctx, eventlog.Filter{}, false)
	require.Error(t, err)
}

func TestScanOfADeletedStreamIsNotAtItsEnd(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{})
	appendMany(t, l, events(0, 3000))
	s := scan(t, l, eventlog.Filter{})
	read(t, s, 10)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	require.NoError(t, js.DeleteStream(t.Context(), eventlog.Stream))
	requireInterrupted(t, s, 2990)
}

func TestScanEndsWithItsContext(t *testing.T) {
	t.Parallel()
	way := newLink(t, testkit.NATS(t))
	l := open(t, way.connect(t), eventlog.Options{})
	appendAll(t, l, events(0, 10))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.Events(ctx, eventlog.Filter{}, false)
	require.ErrorIs(t, err, context.Canceled)

	s := scan(t, l, eventlog.Filter{})
	_, err = s.Next(ctx)
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Total(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, upTo(10), seqsOf(readAll(t, s)), "another context goes on")

	s = scan(t, l, eventlog.Filter{})
	way.hold()
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	finish(t, prompt, "waiting for a message", func() { _, err = s.Next(ctx) })
	require.ErrorIs(t, err, context.Canceled)
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = s.Next(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	way.release()
}

// TestScanDoesNotReadWhatItCanSkip: the server skips it, and two events of 20,000 cost a
// few messages.
func TestScanDoesNotReadWhatItCanSkip(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{StoreEvents: []string{"user.*", "organization.*", "organizationMembership.*"}})
	all := events(0, 20_000)
	member := testkit.Event("msg_member", "organizationMembership.created", 1767225600000,
		testkit.MembershipData("orgmem_1", "user_777", "org_1", "org:member", 1767225600000, 1767225600000))
	all[15_000] = member
	appendMany(t, l, all)
	stored := func(seq uint64) time.Time {
		m, err := l.Get(t.Context(), seq)
		require.NoError(t, err)
		return m.StoredAt
	}
	since, until := stored(12_345), stored(12_347)
	for _, test := range []struct {
		filter eventlog.Filter
		want   []uint64
		most   uint64 // messages from the server, replies included
	}{
		{eventlog.Filter{User: "user_777"}, []uint64{778, 15_001}, 16},
		{eventlog.Filter{User: "user_777", Types: []string{"user.*"}}, []uint64{778}, 8},
		{eventlog.Filter{Org: "org_1"}, []uint64{15_001}, 12},
		{eventlog.Filter{Entity: "orgmem_1"}, []uint64{15_001}, 8},
		{eventlog.Filter{From: 12_345, To: 12_346}, []uint64{12_345, 12_346}, 1100}, // sent ahead
		{eventlog.Filter{Since: since, Until: until}, []uint64{12_345, 12_346}, 1100},
		{eventlog.Filter{Last: 2}, []uint64{19_999, 20_000}, 24},
		{eventlog.Filter{Last: 1, Types: []string{"organizationM*.*"}, To: 15_010}, []uint64{15_001}, 120},
		{eventlog.Filter{Last: 1, User: "user_777", Types: []string{"user.*"}}, []uint64{778}, 60},
		{eventlog.Filter{Last: 5, Types: []string{"organizationM*.*"}}, []uint64{15_001}, 28_000}, // the log once, and the match with all after it
		{eventlog.Filter{Last: 5, User: "user_777"}, []uint64{778, 15_001}, 120},
		{eventlog.Filter{Limit: 2}, []uint64{1, 2}, 1100},
	} {
		before := nc.Stats().InMsgs
		s := scan(t, l, test.filter)
		require.Equal(t, test.want, seqsOf(readAll(t, s)), "%+v", test.filter)
		s.Close()
		require.NoError(t, nc.Flush())
		require.LessOrEqual(t, nc.Stats().InMsgs-before, test.most, "%+v", test.filter)
	}
	requireNoConsumers(t, nc)
}

func TestScanLeavesNothingOnTheServer(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{})
	appendAll(t, l, events(0, 20))
	now := time.Now()
	for _, f := range []eventlog.Filter{
		{},
		{Types: []string{"user.*", "session.*", "*.created"}, Last: 3},
		{Since: now.Add(-time.Hour), Until: now, Limit: 1},
		{Types: []string{"u*.*"}, Last: 5},
		{From: 100},
	} {
		s := scan(t, l, f)
		_, err := s.Total(t.Context())
		require.NoError(t, err)
		_, err = s.Next(t.Context())
		require.True(t, err == nil || err == io.EOF, "%v", err)
		s.Close()
		s.Close()
		_, err = s.Next(t.Context())
		require.Equal(t, io.EOF, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.Events(ctx, eventlog.Filter{Types: []string{"user.*", "session.*"}}, false)
	require.Error(t, err)
	_, err = l.Events(t.Context(), eventlog.Filter{Limit: -1}, false)
	require.EqualError(t, err, "limit is negative")
	requireNoConsumers(t, nc)
}

func requireNoConsumers(t *testing.T, nc *nats.Conn) {
	t.Helper()
	for _, name := range []string{eventlog.Stream, eventlog.DeadStream} {
		require.Zero(t, streamOf(t, nc, name).CachedInfo().State.Consumers)
	}
}

// TestScanByTimeNextToErasedEvents, for which servers differ.
func TestScanByTimeNextToErasedEvents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := startIn(t, dir)
	times, gone := testByTime(t, testkit.Connect(t, n))
	killed := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.CopyFS(killed, os.DirFS(dir)))
	n.Stop()
	for _, dir := range []string{dir, killed} {
		requireByTime(t, open(t, testkit.Connect(t, startIn(t, dir)), eventlog.Options{}), times, gone)
	}
}

// testByTime erases events at the beginning, in the middle and at the end of blocks.
func testByTime(t *testing.T, nc *nats.Conn) (times []time.Time, gone map[uint64]bool) {
	t.Helper()
	l := open(t, nc, eventlog.Options{})
	for i := range 26 { // 10 MB, which is two blocks
		e := event(i)
		e.Body = append(e.Body, strings.Repeat(" ", 400<<10)...)
		appendAll(t, l, []*clerk.Event{e})
	}
	for _, m := range readHeaders(t, l, eventlog.Filter{}) {
		times = append(times, m.StoredAt)
	}
	gone = map[uint64]bool{}
	for _, erased := range [][]uint64{{26, 25}, {1, 2}, {18, 19, 20, 21, 22}, {8, 10, 12}} {
		for _, seq := range erased {
			require.NoError(t, l.Erase(t.Context(), seq))
			gone[seq] = true
		}
		if len(gone) <= 2 { // the end of the log is empty
			requireByTime(t, l, times, gone)
		}
	}
	requireByTime(t, l, times, gone)
	return times, gone
}

// requireByTime reads the two events before and after the time of each event.
func requireByTime(t *testing.T, l *eventlog.Log, times []time.Time, gone map[uint64]bool) {
	t.Helper()
	for i, at := range times {
		if !gone[uint64(i)] && !gone[uint64(i+1)] && !gone[uint64(i+2)] {
			continue
		}
		var since, until []uint64
		for _, seq := range upTo(len(times)) {
			switch {
			case gone[seq]:
			case seq <= uint64(i):
				until = append(until, seq)
			default:
				since = append(since, seq)
			}
		}
		since, until = since[:min(2, len(since))], until[max(0, len(until)-2):]
		require.ElementsMatch(t, since, seqsOf(readHeaders(t, l, eventlog.Filter{Since: at, Limit: 2})), "since %d without %v", i+1, gone)
		require.ElementsMatch(t, until, seqsOf(readHeaders(t, l, eventlog.Filter{Until: at, Last: 2})), "until %d without %v", i+1, gone)
	}
}

// TestScanFindsWhatIsLeftOfASubject after its first and last event were erased.
func TestScanFindsWhatIsLeftOfASubject(t *testing.T) {
	t.Parallel()
	testWhatIsLeft(t, testkit.Connect(t, testkit.NATS(t)))
}

func testWhatIsLeft(t *testing.T, nc *nats.Conn) {
	t.Helper()
	l := open(t, nc, eventlog.Options{})
	for i := range 3 {
		e := event(1)
		e.ID = fmt.Sprintf("msg_1_%d", i)
		appendAll(t, l, []*clerk.Event{e})
		require.NoError(t, l.Park(t.Context(), e, refused(1, uint64(i+1))))
	}
	for _, seq := range []uint64{1, 3} {
		require.NoError(t, l.Erase(t.Context(), seq))
		require.NoError(t, l.RemoveLetters(t.Context(), seq))
	}
	for _, f := range []eventlog.Filter{{User: "user_1"}, {}, {Last: 1}} {
		require.Equal(t, []uint64{2}, seqsOf(readHeaders(t, l, f)))
		require.Equal(t, []uint64{2}, seqsOf(lettersOf(t, l, f)))
	}
}

func readHeaders(t *testing.T, l *eventlog.Log, f eventlog.Filter) []*eventlog.Message {
	t.Helper()
	s, err := l.Events(t.Context(), f, true)
	require.NoError(t, err)
	defer s.Close()
	return readAll(t, s)
}
