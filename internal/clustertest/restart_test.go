package clustertest

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/testkit"
)

// drainLimit bounds the stop of a process. It has to finish a few requests, or one batch; the
// rest is for a busy machine. Parts have 15 s each.
const drainLimit = 15 * time.Second

// TestRollingRestart: each receiver and each worker is replaced by a new process while webhooks
// arrive. Every webhook that gets an answer is acknowledged, the others meet a closed port and
// go to the other receiver, and nothing is applied twice.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	natsURL, databaseURL := testkit.NATS(t).URL(), testkit.DatabaseURL(t)
	conn := applied(ctx, t, databaseURL)
	d := newDeployment(t, natsURL, databaseURL, "CLERKSYNC_BATCH=20")
	receivers := []*process{d.serve(ctx, "receiver"), d.serve(ctx, "receiver")}
	workers := []*process{d.serve(ctx, "worker"), d.serve(ctx, "worker")}
	s := newSvix(ctx, t, receivers[0].endpoint, receivers[1].endpoint)
	s.awaitService(ctx)
	s.begin()
	duplicates := func(p *process) { t.Helper(); require.Zero(t, p.applied(ctx, t, "duplicate"), p.out) }

	for range 2 {
		for i, p := range receivers {
			took := p.terminate(ctx, t)
			require.Less(t, took, drainLimit)
			receivers[i] = d.serve(ctx, "receiver")
			s.replace(p.endpoint, receivers[i].endpoint)
			s.awaitService(ctx)
			t.Logf("a receiver stopped within %s", took.Round(time.Millisecond))
		}
		for i, p := range workers {
			await(ctx, t, "the worker applies", func() (bool, any) { return p.applied(ctx, t, "applied") > 0, p.out })
			duplicates(p)
			took := p.terminate(ctx, t)
			require.Less(t, took, drainLimit)
			workers[i] = d.serve(ctx, "worker")
			s.awaitService(ctx)
			t.Logf("a worker stopped within %s", took.Round(time.Millisecond))
		}
	}
	all, _ := s.gaps()
	s.check(ctx, conn, natsURL)
	require.Zero(t, s.busy, "answers 503")
	for _, p := range workers {
		duplicates(p)
	}
	t.Logf("the longest time without an acknowledgement %s", all.Round(time.Millisecond))
}

// applied returns how many events a worker has applied with an outcome.
func (p *process) applied(ctx context.Context, t *testing.T, outcome string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.admin+"/metrics", nil)
	require.NoError(t, err)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	found := regexp.MustCompile(`(?m)^clerksync_applied_total\{outcome="` + outcome + `"\} (\d+)$`).FindSubmatch(text)
	require.NotNil(t, found, "%s", text)
	n, err := strconv.Atoi(string(found[1]))
	require.NoError(t, err)
	return n
}
