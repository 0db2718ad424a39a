package projector

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/store"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	refused := fmt.Errorf("apply batch: %w by PostgreSQL", store.ErrRefused)
	for _, tt := range []struct {
		err           error
		size, attempt int
		want          action
	}{
		{nil, 1, 1, settle},
		{nil, 500, 99, settle},
		{refused, 500, 1, halve},
		{refused, 2, 7, halve},
		{refused, 1, 1, park},
		{refused, 1, 1000, park},
		{errors.New("deadlock detected (SQLSTATE 40P01)"), 1, 1, retry},
		{errors.New("deadlock detected (SQLSTATE 40P01)"), 500, 1, retry},
		{errors.New("connection refused"), 1, 1_000_000, retry}, // never given up
		{context.DeadlineExceeded, 500, 3, retry},
	} {
		act, pause := decide(tt.err, tt.size, tt.attempt)
		require.Equal(t, tt.want, act, "%v, %d events, attempt %d", tt.err, tt.size, tt.attempt)
		require.Equal(t, tt.want == retry, pause > 0, "only who tries again waits: %v", tt)
	}
}

// TestBackoffBounds: it doubles, less up to a half, and ends at maxBackoff.
func TestBackoffBounds(t *testing.T) {
	t.Parallel()
	full := minBackoff
	for attempt := 1; attempt <= 40; attempt++ {
		least, most := time.Duration(1<<62), time.Duration(0)
		for range 300 {
			d := backoff(attempt)
			least, most = min(least, d), max(most, d)
		}
		require.Greater(t, least, full/2-1, "attempt %d", attempt)
		require.LessOrEqual(t, most, full, "attempt %d", attempt)
		require.Greater(t, most-least, full/8, "attempt %d: not all at the same time", attempt)
		full = min(2*full, maxBackoff)
	}
	for _, attempt := range []int{63, 64, 65, 1 << 40} {
		require.LessOrEqual(t, backoff(attempt), maxBackoff)
		require.Positive(t, backoff(attempt))
	}
}
