package replay_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/replay"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestMain runs the tests, or is the process that they kill.
func TestMain(m *testing.M) {
	if natsURL := os.Getenv("REPLAY_NATS_URL"); natsURL != "" {
		if err := replayEverything(natsURL, os.Getenv("REPLAY_DATABASE_URL")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	testkit.Main(m)
}

func replayEverything(natsURL, databaseURL string) error {
	ctx := context.Background()
	nc, err := nats.Connect(natsURL)
	if err != nil {
		return err
	}
	log, err := eventlog.Attach(ctx, nc, "")
	if err != nil {
		return err
	}
	st, err := store.Open(ctx, store.Options{URL: databaseURL, Schema: "clerk"})
	if err != nil {
		return err
	}
	scan, err := log.Events(ctx, eventlog.Filter{}, false)
	if err != nil {
		return err
	}
	fmt.Println("begins")
	return replay.NewEvents(scan, log, replay.Options{Apply: st.Apply, Appliers: appliers, Batch: 20}).Run(ctx)
}

// TestReplayKilled: processes that replay everything are killed at any moment, two at
// once, concurrently with a projector that applies the same events. The rows are those of the
// history in order, and nothing is left that stops the next.
func TestReplayKilled(t *testing.T) {
	t.Parallel()
	url := testkit.DatabaseURL(t)
	server := testkit.NATS(t)
	w := &world{&testkit.World{T: t, NC: testkit.Connect(t, server), Store: testkit.OpenStore(t, url)}, t}
	w.Log = testkit.OpenLog(t, w.NC)
	history := testkit.ManyHistories(20)
	shuffled := slices.Clone(history)
	rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	w.Append(shuffled...)
	want := testkit.InOrder(t, testkit.Store(t), history)

	p := projector.New(projector.Options{Log: w.Log, Apply: w.Store.Apply, Appliers: 1, Batch: 10})
	p.Start()
	t.Cleanup(func() { require.NoError(t, p.Stop(context.Background())) })
	began := func() (*exec.Cmd, *bytes.Buffer) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "REPLAY_NATS_URL="+server.URL(), "REPLAY_DATABASE_URL="+url)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		_, err = out.Read(make([]byte, 1)) // it begins
		require.NoError(t, err)
		return cmd, &stderr
	}
	for range 4 {
		first, _ := began()
		second, _ := began()
		<-time.After(time.Duration(rand.IntN(60_000)) * time.Microsecond) // a random moment
		require.NoError(t, first.Process.Kill())
		require.NoError(t, second.Process.Kill())
		first.Wait()
		second.Wait()
	}
	last, stderr := began()
	require.NoError(t, last.Wait(), stderr.String())
	testkit.Eventually(t, "the projector is done", func() (bool, any) {
		b, err := w.Log.Backlog(context.Background())
		return err == nil && b.Pending == 0, fmt.Sprint(b, err)
	})
	if diff := cmp.Diff(want, testkit.Tables(t, w.Store)); diff != "" {
		t.Fatalf("(-in order +after the kills):\n%s", diff)
	}
}
