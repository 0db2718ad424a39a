package eventlog_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestFindProbe finds a probe among other events, those of a load test too, and none before
// the given sequence.
func TestFindProbe(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{})
	for i := range 5 {
		e := event(i)
		if i != 2 {
			e.ID, e.Envelope.Type, e.Envelope.EntityID, e.Envelope.UserID = fmt.Sprint("probe_", i), "clerksync.probe", "probe", ""
		}
		if i == 1 {
			e.Envelope.EntityID = "loadtest"
		}
		_, err := l.Append(t.Context(), e)
		require.NoError(t, err)
	}
	m, err := l.FindProbe(t.Context(), "probe_3", 0)
	require.NoError(t, err)
	require.EqualValues(t, 4, m.Seq)
	m, err = l.FindProbe(t.Context(), "probe_4", 4)
	require.NoError(t, err)
	require.EqualValues(t, 5, m.Seq)
	for id, after := range map[string]uint64{"probe_0": 1, "probe_1": 0, "probe_9": 0, "msg_2": 0, "probe_4": 5} {
		_, err = l.FindProbe(t.Context(), id, after)
		require.ErrorIs(t, err, eventlog.ErrNotFound, id)
	}
}

// TestNextEvent skips probes, and costs one request for another event: finding pauses
// takes hundreds of calls.
func TestNextEvent(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{StoreEvents: []string{"user.*", "organization.*"}})
	for i := range 9 {
		e := event(i)
		if i < 2 || i > 3 && i != 7 {
			e.Envelope.Type, e.Envelope.EntityID, e.Envelope.UserID = "clerksync.probe", "probe", ""
		}
		appendAll(t, l, []*clerk.Event{e})
	}
	next := func(seq uint64) (found, messages uint64) {
		t.Helper()
		before := nc.Stats().InMsgs
		m, err := l.NextEvent(t.Context(), seq)
		if errors.Is(err, eventlog.ErrNotFound) {
			return 0, nc.Stats().InMsgs - before
		}
		require.NoError(t, err)
		return m.Seq, nc.Stats().InMsgs - before
	}
	for from, want := range []uint64{3, 3, 3, 4, 8, 8, 8, 8, 0, 0} {
		seq := uint64(from + 1)
		found, messages := next(seq)
		require.Equal(t, want, found, seq)
		if found == seq {
			require.EqualValues(t, 1, messages)
		}
	}
	first, last, err := l.FirstSince(t.Context(), time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, []uint64{10, 9}, []uint64{first, last})
}

// TestInstanceOfAnEvent is a header, so that listings need no body.
func TestInstanceOfAnEvent(t *testing.T) {
	t.Parallel()
	l := testkit.Log(t)
	e := event(0)
	require.NotEmpty(t, e.Envelope.InstanceID)
	odd := event(1)
	odd.Envelope.InstanceID = "not a token"
	appendAll(t, l, []*clerk.Event{e, odd})
	m, err := l.Get(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, e.Envelope.InstanceID, m.Event.Envelope.InstanceID)
	m, err = l.Get(t.Context(), 2)
	require.NoError(t, err)
	require.Empty(t, m.Event.Envelope.InstanceID)
}
