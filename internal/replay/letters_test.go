package replay_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/replay"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

func (w *world) park(e *clerk.Event, reason string, seq uint64) {
	w.T.Helper()
	d := eventlog.Death{Reason: reason, Err: errors.New("the text of the error"), Attempts: 1, Seq: seq}
	w.Check(w.Log.Park(context.Background(), e, d))
}

// TestRetrySucceeds: the event is applied and the letter removed, right after the event was
// stored and parked: no duplicate window swallows it.
func TestRetrySucceeds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seq := w.Append(user(1))
	w.park(user(1), "refused", seq)
	require.Equal(t, replay.Counts{Applied: 1}, w.retry())
	require.Empty(t, w.Letters())
	require.Len(t, w.Events(), 1, "what is in the log is not published again")
	require.EqualValues(t, seq, w.Head("user_1").EventSeq)

	// A letter whose event was applied by other means is removed as well.
	d := eventlog.Death{Reason: "undecodable", Err: errors.New("the text of the error"), Attempts: 1, Seq: seq}
	require.NoError(t, w.Log.ParkAgain(t.Context(), user(1), d))
	require.Equal(t, replay.Counts{Duplicate: 1}, w.retry())
	require.Empty(t, w.Letters())
}

// TestRetryOfWhatWasNeverInTheLog puts it there, so that the tables can be rebuilt
// from the log.
func TestRetryOfWhatWasNeverInTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := user(1)
	w.Append(e) // the duplicate window knows its id
	require.NoError(t, w.Log.Erase(t.Context(), 1))
	e.Envelope = clerk.Envelope{} // as for a body that could not be read on its arrival
	w.park(e, "undecodable", 0)
	require.Equal(t, replay.Counts{Applied: 1}, w.retry())
	require.Empty(t, w.Letters())
	stored := w.Events()
	require.Len(t, stored, 1)
	require.Equal(t, "user_1", stored[0].Event.Envelope.EntityID)
	require.Equal(t, string(e.Body), string(stored[0].Event.Body))
	require.EqualValues(t, stored[0].Seq, w.Head("user_1").EventSeq)
}

// TestRetryFails: the letter stays one letter, with one attempt more.
func TestRetryFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bad := user(1)
	bad.Body = []byte(`{"type":"user.created","data":{"id":"user_1","id":"user_2"}}`)
	w.park(bad, "undecodable", 0)
	first := w.Letters()[0].Letter()
	for attempt := uint64(2); attempt < 5; attempt++ {
		require.Equal(t, replay.Counts{Dead: 1}, w.retry())
		letters := w.Letters()
		require.Len(t, letters, 1)
		letter := letters[0].Letter()
		require.Equal(t, attempt, letter.Attempts)
		require.Equal(t, first.FirstAt, letter.FirstAt)
		require.Equal(t, "undecodable", letter.Reason)
		require.Equal(t, string(bad.Body), string(letters[0].Event.Body))
	}
	require.Empty(t, w.Events())
}

// TestRetryOfWhatIsNotSynced: nothing is left to be done for it.
func TestRetryOfWhatIsNotSynced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.park(testkit.Event("msg_1", "session.created", testkit.Base, testkit.Object{"id": "sess_1"}), "undecodable", 0)
	require.Equal(t, replay.Counts{Ignored: 1}, w.retry())
	require.Empty(t, w.Letters())
	require.Empty(t, w.Events())
}

// TestRetryOfAnotherInstance: a letter that was parked because of its instance is applied only
// when it is of the one that is given now.
func TestRetryOfAnotherInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.park(user(1), "wrong_instance", 0) // of ins_test
	instance := func(id string) func(*replay.LettersOptions) {
		return func(o *replay.LettersOptions) { o.Instance = id }
	}
	require.Equal(t, replay.Counts{Dead: 1}, w.retry())
	require.Equal(t, replay.Counts{Dead: 1}, w.retry(instance("ins_other")))
	require.Len(t, w.Letters(), 1)
	require.EqualValues(t, 3, w.Letters()[0].Letter().Attempts)
	require.Equal(t, "wrong_instance", w.Letters()[0].Letter().Reason)
	require.Equal(t, "wrong_instance: of instance ins_test, wanted ins_other", w.Letters()[0].Letter().Error)
	require.Equal(t, replay.Counts{Applied: 1}, w.retry(instance("ins_test")))
	require.Empty(t, w.Letters())
}

// TestRetryOfSomeLetters leaves the others as they are.
func TestRetryOfSomeLetters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 3 {
		w.park(user(i), "refused", 0)
	}
	require.Equal(t, replay.Counts{Applied: 1}, w.retry(func(o *replay.LettersOptions) {
		o.Select = func(m *eventlog.Message) bool { return m.Event.ID == "msg_1" }
	}))
	left := w.Letters()
	require.Len(t, left, 2)
	require.Equal(t, "msg_0", left[0].Event.ID)
	require.Equal(t, "msg_2", left[1].Event.ID)
}

// TestRetryStopsInTheMiddle: what was done is done, and no letter is lost.
func TestRetryStopsInTheMiddle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 100 // more than is taken ahead
	for i := range n {
		w.park(user(i), "refused", 0)
	}
	scan, err := w.Log.Letters(t.Context(), eventlog.Filter{})
	require.NoError(t, err)
	defer scan.Close()
	ctx, cancel := context.WithCancel(t.Context())
	applied := 0
	r := replay.NewLetters(scan, replay.LettersOptions{Log: w.Log, Options: replay.Options{
		Appliers: 1, Batch: 5,
		Apply: func(ctx context.Context, entries []store.Entry) ([]store.Outcome, error) {
			if applied += len(entries); applied > n/2 {
				cancel()
			}
			return w.Store.Apply(ctx, entries)
		},
	}})
	require.ErrorIs(t, r.Run(ctx), context.Canceled)
	done := r.Counts().Applied
	require.Positive(t, done)
	require.Less(t, done, uint64(n))
	require.Len(t, w.Letters(), n-int(done))
	require.Equal(t, replay.Counts{Applied: n - done}, w.retry())
	require.Empty(t, w.Letters())
}
