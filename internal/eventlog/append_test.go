package eventlog_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

func TestAppend(t *testing.T) {
	t.Parallel()
	testAppend(t, testkit.Connect(t, testkit.NATS(t)))
}

// testAppend appends one event after the other: each is its own commit.
func testAppend(t *testing.T, nc *nats.Conn) {
	l := open(t, nc, eventlog.Options{})
	w := watch(t, nc)
	all := events(0, 20)
	require.Equal(t, upTo(20), appendAll(t, l, all))
	for i, msg := range readBack(t, nc, eventlog.Stream) {
		require.Equal(t, uint64(i+1), msg.Sequence)
		requireStored(t, all[i], msg)
	}
	w.await(t, 20)
	_, commits, batches := w.counts()
	require.Equal(t, 20, commits)
	require.Zero(t, batches)
	require.NoError(t, l.Check(t.Context()))
}

func TestAppendSharesCommits(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	testAppendMany(t, nc)
}

// testAppendMany appends from 64 goroutines, and counts what they publish.
func testAppendMany(t *testing.T, nc *nats.Conn) {
	const writers, each = 64, 16
	l := open(t, nc, eventlog.Options{})
	w := watch(t, nc)
	all := events(0, writers*each)
	seqs := make([]uint64, len(all))
	errs := make([]error, len(all))
	var start, done sync.WaitGroup
	start.Add(1)
	for writer := range writers {
		done.Go(func() {
			start.Wait()
			for i := writer * each; i < (writer+1)*each; i++ {
				var stored eventlog.Stored
				stored, errs[i] = l.Append(t.Context(), all[i])
				if seqs[i] = stored.Seq; stored.Duplicate {
					errs[i] = errors.New("is no duplicate")
				}
			}
		})
	}
	start.Done()
	finish(t, patience, "appending", done.Wait)
	require.NoError(t, errors.Join(errs...))

	stored := readBack(t, nc, eventlog.Stream)
	require.Len(t, stored, len(all))
	for i, e := range all {
		require.Equal(t, seqs[i], stored[seqs[i]-1].Sequence)
		requireStored(t, e, stored[seqs[i]-1])
	}
	for writer := range writers { // the order of one caller is kept
		require.IsIncreasing(t, seqs[writer*each:(writer+1)*each])
	}
	w.await(t, len(all))
	messages, commits, batches := w.counts()
	require.Equal(t, messages, len(all))
	require.Less(t, commits, messages/2)
	require.Positive(t, batches)
}

func TestGroupIsCommittedAtOnce(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{})
	require.True(t, l.Atomic())
	w := watch(t, nc)
	all := events(0, 256)
	stored, errs := l.CommitGroup(all...)
	require.NoError(t, errors.Join(errs...))
	for i, msg := range readBack(t, nc, eventlog.Stream) {
		require.Equal(t, eventlog.Stored{Seq: msg.Sequence}, stored[i])
		requireStored(t, all[i], msg)
	}
	w.await(t, 256)
	_, commits, batches := w.counts()
	require.Equal(t, 1, commits)
	require.Equal(t, 1, batches)
}

func TestSyncIsShared(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	nc := testkit.Connect(t, n)
	var syncs atomic.Int64
	l := open(t, nc, eventlog.Options{Sync: func(stream string) error {
		if stream == eventlog.Stream {
			syncs.Add(1)
		}
		return n.Sync(stream)
	}})
	before := syncs.Load()
	all := events(0, 512)
	var done sync.WaitGroup
	for _, e := range all {
		done.Go(func() {
			if _, err := l.Append(t.Context(), e); err != nil {
				t.Error(err)
			}
		})
	}
	finish(t, patience, "appending", done.Wait)
	require.Less(t, syncs.Load()-before, int64(len(all)/2))
	requireOnce(t, nc, all)
	before = syncs.Load()
	appendAll(t, l, events(600, 610))
	require.Equal(t, before+10, syncs.Load(), "a single event does not wait for others")
}

// TestSyncFails acknowledges nothing that is not on the disk, and nothing at all after a failure.
func TestSyncFails(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	nc := testkit.Connect(t, n)
	var broken atomic.Bool
	l := open(t, nc, eventlog.Options{Sync: func(stream string) error {
		if broken.Swap(false) {
			return errors.New("input/output error")
		}
		return n.Sync(stream)
	}})
	appendAll(t, l, events(0, 1))
	broken.Store(true)
	for i := range 3 { // the disk works again after the first, but has lost something
		_, err := l.Append(t.Context(), event(1))
		require.ErrorIs(t, err, eventlog.ErrUnavailable, i)
		require.ErrorContains(t, err, "input/output error")
		err = l.Park(t.Context(), event(0), eventlog.Death{Reason: "refused", Err: errors.New("no"), Seq: 1})
		require.ErrorIs(t, err, eventlog.ErrUnavailable, i)
	}
	require.ErrorIs(t, l.Check(t.Context()), eventlog.ErrUnavailable)
}

func TestAppendDuplicates(t *testing.T) {
	t.Parallel()
	testDuplicates(t, testkit.Connect(t, testkit.NATS(t)))
}

func testDuplicates(t *testing.T, nc *nats.Conn) {
	l := open(t, nc, eventlog.Options{})

	first, err := l.Append(t.Context(), event(0))
	require.NoError(t, err)
	require.Equal(t, eventlog.Stored{Seq: 1}, first)
	again, err := l.Append(t.Context(), event(0))
	require.NoError(t, err)
	require.Equal(t, eventlog.Stored{Seq: 1, Duplicate: true}, again)

	// A known id in the middle of a group.
	stored, errs := l.CommitGroup(append(events(1, 8), event(0), event(8), event(9))...)
	require.NoError(t, errors.Join(errs...))
	for i := range stored {
		require.Equal(t, i == 7, stored[i].Duplicate, i)
	}
	require.Equal(t, uint64(1), stored[7].Seq)

	// The same id twice in a group: one of the two is stored.
	stored, errs = l.CommitGroup(append(events(10, 20), event(10), event(20))...)
	require.NoError(t, errors.Join(errs...))
	require.NotEqual(t, stored[0].Duplicate, stored[10].Duplicate)
	require.Equal(t, stored[0].Seq, stored[10].Seq)
	for i := range stored {
		require.True(t, i == 0 || i == 10 || !stored[i].Duplicate, i)
	}

	// Groups and single appends concurrently: each of 20 ids four times.
	var mu sync.Mutex
	var done sync.WaitGroup
	fresh := map[string]uint64{}
	seqs := map[string][]uint64{}
	for i := range 80 {
		done.Go(func() {
			e := event(100 + i%20)
			stored, err := l.Append(t.Context(), e)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			seqs[e.ID] = append(seqs[e.ID], stored.Seq)
			if !stored.Duplicate {
				fresh[e.ID]++
			}
		})
	}
	finish(t, patience, "appending", done.Wait)
	for _, e := range events(100, 120) {
		require.Equal(t, uint64(1), fresh[e.ID], e.ID)
		require.Equal(t, []uint64{seqs[e.ID][0], seqs[e.ID][0], seqs[e.ID][0], seqs[e.ID][0]}, seqs[e.ID])
	}
	requireOnce(t, nc, append(events(0, 21), events(100, 120)...))
}

// requireOnce checks that the log holds these events, each once, and no others.
func requireOnce(t *testing.T, nc *nats.Conn, all []*clerk.Event) {
	t.Helper()
	byID := map[string]*clerk.Event{}
	for _, e := range all {
		byID[e.ID] = e
	}
	for _, msg := range readBack(t, nc, eventlog.Stream) {
		e := byID[msg.Header.Get("Svix-Id")]
		require.NotNil(t, e, "%s is stored twice, or should not be there", msg.Header.Get("Svix-Id"))
		requireStored(t, e, msg)
		delete(byID, e.ID)
	}
	require.Empty(t, byID)
}

func TestFullLogRefusesAndLosesNothing(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{MaxBytes: 64 << 10})
	var stored []*clerk.Event
	var full error
	for i := 0; full == nil; i++ {
		require.Less(t, i, 1000)
		if _, full = l.Append(t.Context(), event(i)); full == nil {
			stored = append(stored, event(i))
		}
	}
	require.ErrorIs(t, full, eventlog.ErrUnavailable)
	require.ErrorContains(t, full, "maximum bytes exceeded")
	require.NotErrorIs(t, full, eventlog.ErrTooLarge)
	requireOnce(t, nc, stored)

	_, errs := l.CommitGroup(events(2000, 2010)...)
	for _, err := range errs {
		require.ErrorIs(t, err, eventlog.ErrUnavailable)
	}
	known, err := l.Append(t.Context(), stored[0])
	require.NoError(t, err, "a duplicate needs no room")
	require.Equal(t, eventlog.Stored{Seq: 1, Duplicate: true}, known)
	require.NoError(t, l.Park(t.Context(), event(0), eventlog.Death{Reason: "refused", Err: errors.New("no"), Seq: 1}))
	requireOnce(t, nc, stored)

	require.NoError(t, streamOf(t, nc, eventlog.Stream).Purge(t.Context()))
	_, err = l.Append(t.Context(), event(2000))
	require.NoError(t, err, "there is room again")
	_, errs = l.CommitGroup(events(2001, 2010)...)
	require.NoError(t, errors.Join(errs...))
	requireOnce(t, nc, events(2000, 2010))
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{})
	sized := func(id, size int) *clerk.Event {
		e := event(id)
		e.Body = []byte(strings.Repeat("x", size))
		return e
	}
	limit := int(nc.MaxPayload())
	for _, size := range []int{limit, limit + 1, 4 * limit} {
		_, err := l.Append(t.Context(), sized(0, size))
		require.ErrorIs(t, err, eventlog.ErrTooLarge)
		require.NotErrorIs(t, err, eventlog.ErrUnavailable)
		require.ErrorIs(t, l.Park(t.Context(), sized(0, size), eventlog.Death{Reason: "undecodable", Err: errors.New("no")}), eventlog.ErrTooLarge)
	}

	// The largest event that Append takes.
	small, large := 0, limit
	for large-small > 1 {
		middle := (small + large) / 2
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // checked before anything is sent
		if _, err := l.Append(ctx, sized(0, middle)); errors.Is(err, eventlog.ErrTooLarge) {
			large = middle
		} else {
			small = middle
		}
	}
	require.Greater(t, small, limit-2048)
	// It can be committed in a batch, and parked for any reason.
	_, errs := l.CommitGroup(append(events(3, 13), sized(2, small), event(1))...)
	require.NoError(t, errors.Join(errs...))
	require.NoError(t, l.Park(t.Context(), sized(2, small), eventlog.Death{
		Reason: "wrong_instance", Err: errors.New(strings.Repeat("ä", 5000)), Attempts: 1<<64 - 1, Seq: 1<<64 - 1,
	}))
	letters := readBack(t, nc, eventlog.DeadStream)
	require.Len(t, letters, 1)
	require.Len(t, letters[0].Data, small)
	require.Equal(t, strings.Repeat("ä", 256), letters[0].Header.Get("Clerksync-Dead-Error"))
}

func TestServerStoppedAndStartedAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := startIn(t, dir)
	way := newLink(t, n)
	l := open(t, way.connect(t), eventlog.Options{})

	const writers = 32
	var mu sync.Mutex
	acknowledged := map[uint64]*clerk.Event{}
	var all []*clerk.Event // acknowledged or not
	var done sync.WaitGroup
	errs := make([]error, writers)
	for writer := range writers {
		done.Go(func() {
			for i := 0; errs[writer] == nil; i++ {
				e := event(writer*1_000_000 + i)
				var stored eventlog.Stored
				stored, errs[writer] = l.Append(t.Context(), e)
				mu.Lock()
				if all = append(all, e); errs[writer] == nil {
					acknowledged[stored.Seq] = e
				}
				mu.Unlock()
			}
		})
	}
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(acknowledged) >= 500
	}, patience, time.Millisecond)
	n.Stop()
	finish(t, prompt, "appending to a stopped server", done.Wait)
	for _, err := range errs {
		require.ErrorIs(t, err, eventlog.ErrUnavailable)
	}
	var appended, parked error
	finish(t, prompt, "appending and parking after that", func() {
		_, appended = l.Append(t.Context(), event(90_000_001))
		parked = l.Park(t.Context(), event(90_000_001), eventlog.Death{Reason: "refused", Err: errors.New("no")})
	})
	require.ErrorIs(t, appended, eventlog.ErrUnavailable)
	require.ErrorIs(t, parked, eventlog.ErrUnavailable)

	n = startIn(t, dir)
	way.to(t, n)
	require.Eventually(t, func() bool {
		_, err := l.Append(t.Context(), event(90_000_002))
		return err == nil
	}, patience, 10*time.Millisecond, "the same log works again")
	nc := testkit.Connect(t, n)
	for seq, e := range acknowledged {
		msg, err := streamOf(t, nc, eventlog.Stream).GetMsg(t.Context(), seq)
		require.NoError(t, err)
		requireStored(t, e, msg)
	}
	// After a retry, everything is stored once.
	for _, e := range append(all, event(90_000_001)) {
		_, err := l.Append(t.Context(), e)
		require.NoError(t, err)
	}
	requireOnce(t, nc, append(all, event(90_000_001), event(90_000_002)))
}

// inFlight starts appends whose acknowledgements are held back, and waits until the
// server has received the first.
func inFlight(t *testing.T, way *link, l *eventlog.Log, direct *nats.Conn, ctx context.Context, all []*clerk.Event) (errs []error, wait func()) {
	t.Helper()
	w := watch(t, direct)
	way.hold()
	errs = make([]error, len(all))
	var done sync.WaitGroup
	for i, e := range all {
		done.Go(func() { _, errs[i] = l.Append(ctx, e) })
	}
	require.Eventually(t, func() bool {
		n, _, _ := w.counts()
		return n > 0
	}, patience, time.Millisecond)
	return errs, done.Wait
}

func TestConnectionLostWhileAppending(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	way := newLink(t, n)
	l := open(t, way.connect(t), eventlog.Options{})
	direct := testkit.Connect(t, n)
	all := events(0, 20)
	errs, wait := inFlight(t, way, l, direct, t.Context(), all)
	way.cut()
	finish(t, prompt, "appending over a lost connection", wait)
	for _, err := range errs {
		require.ErrorIs(t, err, eventlog.ErrUnavailable)
	}

	way.to(t, n)
	require.Eventually(t, func() bool {
		_, err := l.Append(t.Context(), all[0])
		return err == nil
	}, patience, 10*time.Millisecond)
	for _, e := range all { // those that had arrived are duplicates
		_, err := l.Append(t.Context(), e)
		require.NoError(t, err)
	}
	requireOnce(t, direct, all)
}

// TestLostAnswerIsAskedForAgain: in a cluster, a message or a batch without an answer is
// sent again. Whether or not the first copy was stored, each event is stored once, and is
// no duplicate for the caller.
func TestLostAnswerIsAskedForAgain(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 20} { // singly, and as a batch
		n := testkit.NATS(t)
		way := newLink(t, n)
		l := open(t, way.connect(t), eventlog.RetryLikeACluster(eventlog.Options{}))
		direct := testkit.Connect(t, n)
		all := events(0, size)
		w := watch(t, direct)
		way.hold()
		stored, errs := []eventlog.Stored(nil), []error(nil)
		var done sync.WaitGroup
		done.Go(func() { stored, errs = l.CommitGroup(all...) })
		require.Eventually(t, func() bool {
			n, _, _ := w.counts()
			return n >= size
		}, patience, time.Millisecond)
		way.cut() // with the answer
		way.to(t, n)
		finish(t, prompt, "appending over a lost connection", done.Wait)
		for i := range all {
			require.NoError(t, errs[i])
			require.False(t, stored[i].Duplicate)
			require.NotZero(t, stored[i].Seq)
		}
		requireOnce(t, direct, all)

		// An event that was stored before is a duplicate.
		again, err := l.Append(t.Context(), all[0])
		require.NoError(t, err)
		require.True(t, again.Duplicate)
	}
}

func TestAppendCancelled(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	way := newLink(t, n)
	l := open(t, way.connect(t), eventlog.Options{})
	direct := testkit.Connect(t, n)
	all := events(0, 20)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	errs, wait := inFlight(t, way, l, direct, ctx, all)
	cancel()
	finish(t, prompt, "appending after the caller left", wait)
	for _, err := range errs {
		require.ErrorIs(t, err, eventlog.ErrUnavailable)
		require.ErrorIs(t, err, context.Canceled)
	}
	way.release()
	for _, e := range all {
		_, err := l.Append(t.Context(), e)
		require.NoError(t, err)
	}
	requireOnce(t, direct, all)
}

func TestCloseWhileAppending(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	way := newLink(t, n)
	l := open(t, way.connect(t), eventlog.Options{})
	direct := testkit.Connect(t, n)
	all := events(0, 40)
	errs, wait := inFlight(t, way, l, direct, t.Context(), all)
	var closed sync.WaitGroup
	for range 3 {
		closed.Go(l.Close)
	}
	way.release()
	finish(t, prompt, "closing", closed.Wait)
	finish(t, prompt, "appending to a closed log", wait)
	_, err := l.Append(t.Context(), event(100))
	require.ErrorIs(t, err, eventlog.ErrUnavailable)

	var stored []*clerk.Event
	for i, err := range errs {
		if err == nil {
			stored = append(stored, all[i])
		} else {
			require.ErrorIs(t, err, eventlog.ErrUnavailable)
		}
	}
	require.NotEmpty(t, stored, "Close waits for the commit in flight")
	requireOnce(t, direct, stored)
}

func TestOpenUpdatesAnOlderStream(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: eventlog.Stream, Subjects: []string{"clerk.events.>"}, MaxAge: time.Hour, Discard: jetstream.DiscardOld,
		Duplicates: time.Minute,
	})
	require.NoError(t, err)
	_, err = js.Publish(t.Context(), "clerk.events.user.created.user_0.-.user_0", []byte("kept"))
	require.NoError(t, err)

	l := open(t, nc, eventlog.Options{MaxBytes: 1 << 20})
	config := streamOf(t, nc, eventlog.Stream).CachedInfo().Config
	require.Zero(t, config.MaxAge, "it would drop what is not applied")
	require.Equal(t, int64(1<<20), config.MaxBytes)
	require.Equal(t, jetstream.DiscardNew, config.Discard)
	require.Equal(t, 10*time.Minute, config.Duplicates)
	require.True(t, config.AllowAtomicPublish)
	require.True(t, config.AllowDirect)
	require.True(t, l.Atomic())
	stored, err := l.Append(t.Context(), event(1))
	require.NoError(t, err)
	require.Equal(t, uint64(2), stored.Seq)
	require.Equal(t, "kept", string(readBack(t, nc, eventlog.Stream)[0].Data))
}

func TestOpenTwice(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	var done sync.WaitGroup
	var ids [4]string
	for i := range ids {
		done.Go(func() {
			l, err := eventlog.Open(t.Context(), nc, eventlog.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			defer l.Close()
			ids[i] = l.ID()
			if _, err := l.Append(t.Context(), event(i)); err != nil {
				t.Error(err)
			}
		})
	}
	finish(t, patience, "opening", done.Wait)
	l := open(t, nc, eventlog.Options{})
	for id := range ids {
		require.Equal(t, l.ID(), ids[id])
	}
	stored, err := l.Append(t.Context(), event(0))
	require.NoError(t, err)
	require.True(t, stored.Duplicate)
	requireOnce(t, nc, events(0, 4))
	require.Zero(t, streamOf(t, nc, eventlog.Stream).CachedInfo().Config.MaxAge)
}
