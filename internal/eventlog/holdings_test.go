package eventlog_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

func TestHoldings(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{})
	var same []*clerk.Event // of one user
	for i := range 20 {
		e := event(1)
		e.ID = fmt.Sprintf("msg_same%d", i)
		same = append(same, e)
	}
	appendAll(t, l, append([]*clerk.Event{event(2)}, same[:10]...))
	h := l.Holdings()
	has := func(e *clerk.Event) bool {
		t.Helper()
		found, err := h.Has(t.Context(), e)
		require.NoError(t, err)
		return found
	}
	var all sync.WaitGroup
	for i, e := range same {
		all.Go(func() {
			found, err := h.Has(t.Context(), e)
			if err != nil || found != (i < 10) {
				t.Errorf("%s: %t, %v", e.ID, found, err)
			}
		})
	}
	all.Wait()
	require.True(t, has(event(2)))
	require.False(t, has(event(3)))

	// An event stored later is known once it is added.
	h.Add(same[10])
	require.True(t, has(same[10]))
	require.False(t, has(same[11]))
	h.Add(event(4)) // its subject is not read yet: the log decides
	require.False(t, has(event(4)))

	// The same id under another subject is another event.
	moved := event(2)
	moved.Envelope.Type = "user.updated"
	require.False(t, has(moved))
}
