package admin_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/admin"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/testkit"
)

type letter struct {
	event
	Reason, Meaning, Error string
	Attempts               uint64
	LogSeq                 uint64 `json:"log_seq"`
}

type letterList struct {
	Total, Listed int
	Reasons       []struct {
		Reason, Meaning string
		Letters         []letter
	}
}

// TestLettersAreListedByReason.
func TestLettersAreListedByReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var list letterList
	w.get("/letters", &list)
	require.Equal(t, 0, list.Total)
	require.Contains(t, w.do("GET", "/letters").Body.String(), `"reasons":[]`)

	w.park(user(1), "wrong_instance", 0)
	w.park(user(2), "refused", 7)
	w.park(user(3), "refused", 8)
	w.get("/letters", &list)
	require.Equal(t, 3, list.Total)
	require.Len(t, list.Reasons, 2)
	refused := list.Reasons[0]
	require.Equal(t, "refused", refused.Reason)
	require.Contains(t, refused.Meaning, "PostgreSQL refuses its content")
	require.Len(t, refused.Letters, 2)
	l := refused.Letters[0]
	require.Equal(t, []any{uint64(3), "user.created", "user_3", "the text of the error", uint64(1), uint64(8)},
		[]any{l.Seq, l.Type, l.Entity, l.Error, l.Attempts, l.LogSeq})
	require.Equal(t, "wrong_instance", list.Reasons[1].Reason)
}

// TestListOfLettersIsLimited to the last, and says how many there are.
func TestListOfLettersIsLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 53 {
		w.park(user(i), "refused", uint64(i+1))
	}
	var list letterList
	w.get("/letters", &list)
	require.Equal(t, 53, list.Total)
	require.Equal(t, 50, list.Listed)
	require.EqualValues(t, 53, list.Reasons[0].Letters[0].Seq)
	require.EqualValues(t, 4, list.Reasons[0].Letters[49].Seq)
}

// TestEveryReasonIsExplained that an event can be parked for.
func TestEveryReasonIsExplained(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, reason := range []error{clerk.ErrUndecodable, clerk.ErrNoType, clerk.ErrNoID, clerk.ErrUnusableID, clerk.ErrWrongInstance} {
		var l letter
		w.get(fmt.Sprint("/letters/", w.park(user(i), reason.Error(), 0)), &l)
		require.NotEmpty(t, l.Meaning, reason)
	}
}

// TestRetry: what gets in is no dead letter any more; what does not stays one.
func TestRetry(t *testing.T) {
	t.Parallel()
	st := testkit.Store(t)
	w := newWorld(t, func(o *admin.Options) { o.Store = st })
	seq := w.append(user(1))
	w.park(user(1), "refused", seq)
	w.park(user(2), "refused", 0)
	exec := func(statement string) {
		_, err := st.Pool().Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	exec("ALTER TABLE users ADD CONSTRAINT nobody CHECK (clerk_id = 'user_2') NOT VALID")
	require.Equal(t, "dead", w.act("/letters/1/retry", 200).Outcome)
	letters := w.letters()
	require.Len(t, letters, 2)
	again := letters[1]
	require.EqualValues(t, 2, again.Letter().Attempts)
	require.EqualValues(t, seq, again.Letter().LogSeq)
	require.Contains(t, w.act("/letters/1/retry", http.StatusNotFound).Text, "not there any more")

	exec("ALTER TABLE users DROP CONSTRAINT nobody")
	require.Equal(t, "applied", w.act(fmt.Sprintf("/letters/%d/retry", again.Seq), 200).Outcome)
	letters = w.letters()
	require.Len(t, letters, 1)
	require.Equal(t, "msg_2", letters[0].Event.ID, "the other one was left alone")
	got, err := st.Show(t.Context(), clerk.KindUser, "user_1")
	require.NoError(t, err)
	require.EqualValues(t, seq, got.Head.EventSeq)
}

// TestRetryOfAnotherInstance needs to know which is the right one.
func TestRetryOfAnotherInstance(t *testing.T) {
	t.Parallel()
	st := testkit.Store(t)
	for instance, want := range map[string]string{"": "dead", "ins_other": "dead", "ins_test": "applied"} {
		w := newWorld(t, func(o *admin.Options) { o.Store, o.Instance = st, instance })
		w.park(user(1), "wrong_instance", 0)
		require.Equal(t, want, w.act("/letters/1/retry", 200).Outcome, instance)
	}
}

func TestDiscard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.park(user(1), "refused", 0)
	w.park(user(2), "refused", 0)
	require.Equal(t, outcome{"discarded", "It is deleted for good."}, w.act("/letters/1/discard", 200))
	require.Equal(t, "this dead letter is not there any more: it was retried, discarded or erased, or is too old", w.act("/letters/1/discard", 404).Text)
	letters := w.letters()
	require.Len(t, letters, 1)
	require.EqualValues(t, 2, letters[0].Seq)
}
