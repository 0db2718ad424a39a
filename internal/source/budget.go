package source

import (
	"context"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// window is the time that Clerk counts requests over.
const window = 10 * time.Second

// The requests in a window that Clerk allows an instance, by its secret key.
const (
	liveRate = 1000
	testRate = 100
)

// RateOf returns how many requests Clerk allows in ten seconds, by a secret key.
func RateOf(secretKey string) int {
	if strings.HasPrefix(secretKey, "sk_live_") {
		return liveRate
	}
	return testRate
}

// budget holds requests back so that no window of ten seconds has more of them than are
// allowed. When Clerk refuses one nevertheless, all wait for as long as it says: others
// use the instance's requests too.
type budget struct {
	tokens *rate.Limiter

	mu    sync.Mutex
	until time.Time // no request before
}

// newBudget allows n requests in a window. Between the first and the last request of a
// window, which are less than its length apart, a bucket lets its burst through and less
// than its rate: burst + rate < n + 1 keeps to n. Of these, 1 % is for the burst. The
// window is taken for 1 % longer, since requests do not arrive as evenly as they leave.
func newBudget(n int) *budget {
	spare := n / 100
	return &budget{tokens: rate.NewLimiter(rate.Limit(float64(n-spare)/(window+window/100).Seconds()), 1+spare)}
}

// wait returns when a request may be sent.
func (b *budget) wait(ctx context.Context) error {
	for {
		if err := b.tokens.Wait(ctx); err != nil {
			return err
		}
		b.mu.Lock()
		pause := time.Until(b.until)
		b.mu.Unlock()
		if pause <= 0 {
			return nil
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// pause holds all requests back for a time.
func (b *budget) pause(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if until := time.Now().Add(d); until.After(b.until) {
		b.until = until
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
