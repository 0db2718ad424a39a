package lag

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// stream returns the log as other programs see it.
func (w *world) stream() jetstream.Stream {
	w.t.Helper()
	js, err := jetstream.New(w.nc)
	require.NoError(w.t, err)
	stream, err := js.Stream(w.t.Context(), eventlog.Stream)
	require.NoError(w.t, err)
	return stream
}

// configure changes the stream, as somebody else might.
func (w *world) configure(change func(*jetstream.StreamConfig)) {
	w.t.Helper()
	js, err := jetstream.New(w.nc)
	require.NoError(w.t, err)
	config := w.stream().CachedInfo().Config
	change(&config)
	_, err = js.UpdateStream(w.t.Context(), config)
	require.NoError(w.t, err)
}

func (w *world) purge(options ...jetstream.StreamPurgeOpt) {
	w.t.Helper()
	require.NoError(w.t, w.stream().Purge(w.t.Context(), options...))
}

// observe does what a worker does every few seconds.
func (w *world) observe() *Loss {
	w.t.Helper()
	b, err := w.log.Backlog(w.t.Context())
	require.NoError(w.t, err)
	lost, _, err := Observe(w.t.Context(), w.log, w.store, b)
	require.NoError(w.t, err)
	return lost
}

// settle waits until a worker has settled all that is stored.
func (w *world) settle() {
	w.t.Helper()
	testkit.Eventually(w.t, "all is settled", func() (bool, any) {
		b, err := w.log.Backlog(context.Background())
		return err == nil && b.Floor.Seq == b.Last && b.InWork == 0, b
	})
}

// stopped is a world in which ten events were applied, the worker is stopped, and ten more
// wait.
func stopped(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	require.NoError(t, CheckLog(t.Context(), w.log, w.store))
	p := w.worker("first", w.store.Apply)
	w.emit(10, 0)
	w.settle()
	require.Nil(t, w.observe())
	w.stop(p)
	w.emit(10, 0)
	require.Nil(t, w.observe())
	return w
}

// span is what is lost, without the time.
type span struct{ Events, From, To uint64 }

func (l *Loss) span() span {
	if l == nil {
		return span{}
	}
	return span{l.Events, l.From, l.To}
}

// TestLostWhileNoWorkerRuns: what leaves the log before it is applied shows, whoever
// removed it and by whatever means, before and after a worker starts again.
func TestLostWhileNoWorkerRuns(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		remove        func(*world)
		before, after span
	}{
		"purged to a sequence": {func(w *world) { w.purge(jetstream.WithPurgeSequence(15)) }, span{4, 11, 14}, span{4, 11, 14}},
		"purged":               {func(w *world) { w.purge() }, span{10, 11, 20}, span{10, 11, 20}},
		"a limit": {func(w *world) {
			w.configure(func(c *jetstream.StreamConfig) { c.MaxMsgs, c.Discard = 3, jetstream.DiscardOld })
		}, span{7, 11, 17}, span{8, 11, 18}}, // it drops one for each that is stored,
		"an age": {func(w *world) {
			w.configure(func(c *jetstream.StreamConfig) {
				c.MaxAge, c.Duplicates = 100*time.Millisecond, 100*time.Millisecond
			})
			testkit.Eventually(w.t, "all is expired", func() (bool, any) {
				b, err := w.log.Backlog(context.Background())
				return err == nil && b.Events == 0, b
			})
			w.configure(func(c *jetstream.StreamConfig) { c.MaxAge = 0 })
		}, span{10, 11, 20}, span{10, 11, 20}},
		"single ones": {func(w *world) { // the range is known when the worker has passed them
			for _, seq := range []uint64{12, 15} {
				require.NoError(w.t, w.stream().DeleteMsg(w.t.Context(), seq))
			}
		}, span{}, span{2, 11, 21}},
		"those of a subject": {func(w *world) {
			w.purge(jetstream.WithPurgeSubject("clerk.events.user.created.user_13.>"))
		}, span{}, span{1, 11, 21}},
		"nothing":    {func(*world) {}, span{}, span{}},
		"applied":    {func(w *world) { w.purge(jetstream.WithPurgeSequence(11)) }, span{}, span{}},
		"an applied": {func(w *world) { require.NoError(w.t, w.stream().DeleteMsg(w.t.Context(), 4)) }, span{}, span{}},
		"an erasure": {func(w *world) { w.erase(11, 12, 15) }, span{}, span{}},
		"an erasure at the front": {func(w *world) {
			w.purge(jetstream.WithPurgeSequence(11))
			w.erase(11, 12)
		}, span{}, span{}},
		"an erasure of all": {func(w *world) {
			w.purge(jetstream.WithPurgeSequence(11))
			w.erase(11, 12, 13, 14, 15, 16, 17, 18, 19, 20)
		}, span{}, span{}},
		"an erasure and one more": {func(w *world) {
			w.erase(11, 12, 14)
			require.NoError(w.t, w.stream().DeleteMsg(w.t.Context(), 13))
		}, span{}, span{1, 11, 21}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := stopped(t)
			tc.remove(w)
			require.Equal(t, tc.before, w.observe().span())
			require.Equal(t, tc.before, w.observe().span(), "it stays, and is counted once")
			w.emit(1, 0)
			w.worker("second", w.store.Apply)
			w.settle()
			require.Equal(t, tc.after, w.observe().span())
			require.Equal(t, tc.after, w.observe().span())
			read, err := ReadLost(t.Context(), w.store)
			require.NoError(t, err)
			require.Equal(t, tc.after, read.span())
		})
	}
}

// erase removes events as an erasure does.
func (w *world) erase(seqs ...uint64) {
	w.t.Helper()
	require.NoError(w.t, w.store.NoteErased(w.t.Context(), seqs))
	for _, seq := range seqs {
		require.NoError(w.t, w.log.Erase(w.t.Context(), seq))
	}
}

// TestLostWhileNobodyObserved: the first observation after that shows it.
func TestLostWhileNobodyObserved(t *testing.T) {
	t.Parallel()
	w := stopped(t)
	w.purge(jetstream.WithPurgeSequence(15))
	w.worker("second", w.store.Apply)
	w.settle()
	require.Equal(t, span{4, 11, 14}, w.observe().span())
}

// TestLostBesideAWorker that waits for PostgreSQL: the events in its hands are applied.
func TestLostBesideAWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, CheckLog(t.Context(), w.log, w.store))
	blocked, asked := make(chan struct{}), make(chan struct{}, 100)
	w.worker("first", func(ctx context.Context, entries []store.Entry) ([]store.Outcome, error) {
		asked <- struct{}{}
		select {
		case <-blocked:
			return w.store.Apply(ctx, entries)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	w.emit(5, 0)
	testkit.Eventually(t, "all are in work", func() (bool, any) {
		b, err := w.log.Backlog(context.Background())
		return err == nil && b.InWork == 5, b
	})
	<-asked
	w.purge()
	require.Nil(t, w.observe())
	close(blocked)
	w.emit(1, 0)
	w.settle()
	require.Nil(t, w.observe())
}

// TestNeverLostInNormalRunning: with erasure, retention, redeliveries, a reset of the
// consumer and the loss of it, with observations in between.
func TestNeverLostInNormalRunning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// Erased by somebody who notes nothing, before the first worker starts.
	w.emit(5, 0)
	require.NoError(t, w.log.Erase(t.Context(), 1))
	require.NoError(t, w.log.Erase(t.Context(), 3))
	require.NoError(t, CheckLog(t.Context(), w.log, w.store))
	js, err := jetstream.New(w.nc)
	require.NoError(t, err)
	for round := range uint64(4) {
		log, err := eventlog.Open(t.Context(), testkit.Connect(t, w.server), eventlog.Options{Exclusive: true})
		require.NoError(t, err)
		w.log = log // of a process that starts and resets the consumer
		require.NoError(t, CheckLog(t.Context(), w.log, w.store))
		p := w.worker("first", w.store.Apply)
		for range 20 {
			w.emit(7, 0)
			require.Nil(t, w.observe())
		}
		b, err := w.log.Backlog(t.Context())
		require.NoError(t, err)
		w.erase(b.Last, b.Last-1, b.Last-5)
		require.Nil(t, w.observe())
		w.settle()
		require.Nil(t, w.observe())
		_, settled, err := Observe(t.Context(), w.log, w.store, b)
		require.NoError(t, err)
		_, err = w.log.Expire(t.Context(), time.Now().Add(time.Hour), settled-3)
		require.NoError(t, err)
		require.Nil(t, w.observe())
		w.stop(p)
		w.emit(5, 0)
		hold(t, js, 3) // delivered to a worker that dies
		require.Nil(t, w.observe())
		if round%2 == 1 {
			require.NoError(t, js.DeleteConsumer(t.Context(), eventlog.Stream, eventlog.ConsumerName))
			require.Nil(t, w.observe())
		}
		w.log.Close()
	}
}

// TestManyWorkersObserve at the same time, while events arrive, with readings that are
// older than what another one has recorded.
func TestManyWorkersObserve(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, CheckLog(t.Context(), w.log, w.store))
	w.worker("first", w.store.Apply)
	w.worker("second", w.store.Apply)
	old, err := w.log.Backlog(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var observers sync.WaitGroup
	for range 3 {
		observers.Go(func() {
			for ctx.Err() == nil {
				b, err := w.log.Backlog(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				if lost, _, err := Observe(context.Background(), w.log, w.store, b); err != nil || lost != nil {
					t.Error(lost, err)
					return
				}
			}
		})
	}
	for range 100 {
		w.emit(3, 0)
	}
	w.settle()
	cancel()
	observers.Wait()
	require.Nil(t, w.observe())
	lost, _, err := Observe(t.Context(), w.log, w.store, old)
	require.NoError(t, err)
	require.Nil(t, lost)
	w.emit(3, 0)
	w.settle()
	require.Nil(t, w.observe())
}

// TestResetIsNoLoss: after a reset, the consumer counts its deliveries from 0 again.
func TestResetIsNoLoss(t *testing.T) {
	t.Parallel()
	w := stopped(t)
	js, err := jetstream.New(w.nc)
	require.NoError(t, err)
	hold(t, js, 1)
	log, err := eventlog.Open(t.Context(), testkit.Connect(t, w.server), eventlog.Options{Exclusive: true})
	require.NoError(t, err)
	t.Cleanup(log.Close)
	w.log = log
	require.NoError(t, CheckLog(t.Context(), w.log, w.store))
	w.emit(50, 0)
	w.worker("first", w.store.Apply)
	w.settle()
	require.Nil(t, w.observe())
	w.emit(50, 0)
	w.settle()
	require.Nil(t, w.observe())
}

// TestResetBesideAMeter: a reading counts the deliveries before the reset or those after it,
// never some of both.
func TestResetBesideAMeter(t *testing.T) {
	t.Parallel()
	w := stopped(t)
	js, err := jetstream.New(w.nc)
	require.NoError(t, err)
	for range 5 {
		hold(t, js, 1)
		log, err := eventlog.Open(t.Context(), testkit.Connect(t, w.server), eventlog.Options{Exclusive: true})
		require.NoError(t, err)
		w.log = log
		m := w.meter()
		ctx, cancel := context.WithCancel(t.Context())
		var meters sync.WaitGroup
		for range 3 {
			meters.Go(func() {
				for ctx.Err() == nil {
					m.Measure(context.WithoutCancel(ctx))
				}
			})
		}
		require.NoError(t, m.CheckLog(t.Context()))
		p := w.worker("first", w.store.Apply)
		w.settle()
		cancel()
		meters.Wait()
		require.Nil(t, w.observe())
		w.emit(3, 0)
		w.settle()
		require.Nil(t, w.observe())
		w.stop(p)
		w.emit(3, 0)
		log.Close()
	}
}

// TestGapsAreRecordedWithTheLog: an observation that ends between the two leaves no record,
// with which erased events would count as lost.
func TestGapsAreRecordedWithTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.emit(10, 0)
	require.NoError(t, w.log.Erase(t.Context(), 5))
	b, err := w.log.Backlog(t.Context())
	require.NoError(t, err)
	nc := testkit.Connect(t, w.server)
	gone, err := eventlog.Attach(t.Context(), nc, "")
	require.NoError(t, err)
	defer gone.Close()
	nc.Close()
	_, _, err = Observe(t.Context(), gone, w.store, b)
	require.Error(t, err)
	require.NoError(t, CheckLog(t.Context(), w.log, w.store))
	w.worker("first", w.store.Apply)
	w.settle()
	require.Nil(t, w.observe())
}

// TestAppliedBeforeItIsOnTheDisk: what the database says of the log is on the disk first, so
// that a power failure does not make it another log.
func TestAppliedBeforeItIsOnTheDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var onDisk atomic.Uint64
	log, err := eventlog.Open(t.Context(), testkit.Connect(t, w.server), eventlog.Options{Sync: func(name string) error {
		if name != eventlog.Stream {
			return nil
		}
		info, err := w.stream().Info(context.Background())
		if err == nil {
			onDisk.Store(info.State.LastSeq)
		}
		return err
	}})
	require.NoError(t, err)
	defer log.Close()
	require.NoError(t, CheckLog(t.Context(), log, w.store))
	w.worker("first", w.store.Apply)
	w.emit(3, 0) // through a log that does not force them
	w.settle()
	b, err := log.Backlog(t.Context())
	require.NoError(t, err)
	_, settled, err := Observe(t.Context(), log, w.store, b)
	require.NoError(t, err)
	require.EqualValues(t, 3, settled)
	require.EqualValues(t, 3, onDisk.Load())
}

// hold takes events from the consumer and never acknowledges them.
func hold(t *testing.T, js jetstream.JetStream, n int) {
	t.Helper()
	consumer, err := js.Consumer(t.Context(), eventlog.Stream, eventlog.ConsumerName)
	require.NoError(t, err)
	batch, err := consumer.Fetch(n)
	require.NoError(t, err)
	taken := 0
	for range batch.Messages() {
		taken++
	}
	require.Equal(t, n, taken)
}

// TestOlderDatabase: after a restore of PostgreSQL, the log is ahead of what the database
// knows, and nothing is lost that the log still has.
func TestOlderDatabase(t *testing.T) {
	t.Parallel()
	w := stopped(t)
	w.worker("second", w.store.Apply)
	w.settle()
	for _, deliveries := range []string{"3", "1000"} { // the consumer counts on, or was made anew since
		_, err := w.store.Pool().Exec(t.Context(), "UPDATE event_log SET settled = 3, deliveries = "+deliveries)
		require.NoError(t, err)
		require.Nil(t, w.observe())
	}
}

// TestAcknowledgeLost: it stays until then, and what is lost later counts anew.
func TestAcknowledgeLost(t *testing.T) {
	t.Parallel()
	w := stopped(t)
	w.purge(jetstream.WithPurgeSequence(13))
	first := w.observe()
	require.Equal(t, span{2, 11, 12}, first.span())
	w.purge(jetstream.WithPurgeSequence(14))
	second := w.observe()
	require.Equal(t, span{3, 11, 13}, second.span())
	require.Equal(t, first.Since, second.Since)
	done, err := w.store.AcknowledgeLost(t.Context(), first.To)
	require.NoError(t, err)
	require.False(t, done, "more was lost than was seen")
	require.Equal(t, second, w.observe())
	done, err = w.store.AcknowledgeLost(t.Context(), second.To)
	require.NoError(t, err)
	require.True(t, done)
	require.Nil(t, w.observe())
	w.purge(jetstream.WithPurgeSequence(16))
	require.Equal(t, span{2, 14, 15}, w.observe().span())
}

// TestOtherLog: a worker refuses a log that is not the one of its rows, until an operator
// adopts it.
func TestOtherLog(t *testing.T) {
	t.Parallel()
	w := stopped(t)
	other := newWorld(t).log
	err := CheckLog(t.Context(), other, w.store)
	require.ErrorIs(t, err, ErrOtherLog)
	require.EqualError(t, err, "the event log is not the one that the rows come from: its id is "+other.ID()+", and that of the rows "+w.log.ID())
	require.NoError(t, CheckLog(t.Context(), w.log, w.store), "the right one")

	// The marks of erased people are about the former log.
	_, err = w.store.Pool().Exec(t.Context(), "UPDATE entity_heads SET deleted = true, erased_at = now() WHERE clerk_id = 'user_3'")
	require.NoError(t, err)
	due := func() []string {
		ids, err := w.store.UsersToErase(t.Context(), time.Now().Add(time.Hour), 10)
		require.NoError(t, err)
		return ids
	}
	require.Empty(t, due())
	known, err := w.store.ForgetLog(t.Context())
	require.NoError(t, err)
	require.True(t, known)
	require.NoError(t, CheckLog(t.Context(), other, w.store))
	require.Equal(t, []string{"user_3"}, due())
	require.ErrorIs(t, CheckLog(t.Context(), w.log, w.store), ErrOtherLog)
}

// TestOlderCopyOfALog has the right identity, and ends before what was applied.
func TestOlderCopyOfALog(t *testing.T) {
	t.Parallel()
	w := stopped(t)
	_, err := w.store.Pool().Exec(t.Context(), "UPDATE event_log SET settled = 25")
	require.NoError(t, err)
	err = CheckLog(t.Context(), w.log, w.store)
	require.ErrorIs(t, err, ErrOtherLog)
	require.EqualError(t, err, "the event log is not the one that the rows come from: it ends with sequence 20, and events up to 25 were applied: an older copy of it was restored")
	_, err = w.store.ForgetLog(t.Context())
	require.NoError(t, err)
	require.NoError(t, CheckLog(t.Context(), w.log, w.store))
}

// TestReadingOfWhatIsLost: every process tells.
func TestReadingOfWhatIsLost(t *testing.T) {
	t.Parallel()
	w := stopped(t)
	r := w.measure(w.meter())
	require.Nil(t, r.Lost)
	require.Equal(t, w.log.ID(), r.EventLog.ID)
	w.purge(jetstream.WithPurgeSequence(15))
	require.Equal(t, span{4, 11, 14}, w.measure(w.meter()).Lost.span())
	command := NewMeter(w.log, w.store, false, w.meter().logger)
	require.Equal(t, span{4, 11, 14}, w.measure(command).Lost.span())
}
