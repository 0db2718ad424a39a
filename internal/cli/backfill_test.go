package cli

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/archive"
	"github.com/clerksync/clerksync/internal/source"
)

// TestBackfillStopped: what is said depends on whether anything is in the log.
func TestBackfillStopped(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		p    source.Progress
		text string
		hint string
	}{
		{context.Canceled, source.Progress{}, "stopped before the first page; nothing was stored", "run it again"},
		{source.ErrKey, source.Progress{}, "nothing was stored: " + source.ErrKey.Error(), "copy CLERK_SECRET_KEY again from the Clerk dashboard → API keys"},
		{
			context.Canceled, source.Progress{Clerk: source.Totals{Users: 9}, Stored: archive.Counts{Stored: 1}}, // no checkpoint yet
			"stopped: 0 of 9 users, 0 of 0 organizations and 0 of 0 memberships are in the event log", "run it again: it goes on from there",
		},
		{
			errors.New("refused"),
			source.Progress{Read: source.Totals{Users: 5}, Clerk: source.Totals{Users: 9}},
			"refused: 5 of 9 users, 0 of 0 organizations and 0 of 0 memberships are in the event log", "run it again: it goes on from there",
		},
	} {
		err := (&backfillCmd{}).interrupted(&session{}, test.err, test.p)
		require.EqualError(t, err, test.text)
		require.Equal(t, test.hint, hintOf(err))
	}
}

func TestSnapshots(t *testing.T) {
	t.Parallel()
	require.Equal(t, "1 snapshot stored, 2 were there already", snapshots(archive.Counts{Stored: 1, Present: 2}))
	require.Equal(t, "0 snapshots stored, 1 was there already", snapshots(archive.Counts{Present: 1}))
}
