package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/archive"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/cli"
	"github.com/clerksync/clerksync/internal/testkit"
)

// writeArchive writes a file of n events of a few users.
func writeArchive(t *testing.T, n int) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "events.ndjson.zst")
	f, err := os.Create(name)
	require.NoError(t, err)
	defer f.Close()
	w, err := archive.NewWriter(f, true)
	require.NoError(t, err)
	for i := range n {
		at := 1768208400000 + int64(i)
		id := fmt.Sprintf("user_%d", i%7)
		e := testkit.Event(fmt.Sprintf("msg_%d", i), "user.updated", at, testkit.UserData(id, id+"@example.com", "Ada", at, at))
		e.ReceivedAt = time.UnixMilli(at)
		require.NoError(t, w.Write(&archive.Record{Seq: uint64(i + 1), StoredAt: time.UnixMilli(at), Event: e}))
	}
	require.NoError(t, w.Close())
	return name
}

// TestImportStoppedInTheMiddle: a second run stores the rest, and nothing twice.
func TestImportStoppedInTheMiddle(t *testing.T) {
	t.Parallel()
	const events = 3000
	server := testkit.NATS(t)
	nc := testkit.Connect(t, server)
	log := testkit.OpenLog(t, nc)
	file := writeArchive(t, events)
	run := func(ctx context.Context) (int, string, string) {
		var stdout, stderr bytes.Buffer
		status := cli.Main(ctx, []string{"events", "import", "--trust", "--nats-url", server.URL(), file}, nil, &stdout, &stderr)
		return status, stdout.String(), stderr.String()
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sub, err := nc.Subscribe("clerk.events.>", func(*nats.Msg) { cancel() })
	require.NoError(t, err)
	status, stdout, stderr := run(ctx)
	require.Equal(t, 1, status)
	require.Empty(t, stdout)
	require.NoError(t, sub.Unsubscribe())
	state, err := log.State(t.Context())
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("clerksync: stopped: %d of 3000 events were stored, 0 were there already\n"+
		"  → run the import again for the rest\n", state.Events), stderr)
	require.NotZero(t, state.Events)
	require.Less(t, state.Events, uint64(events))

	status, stdout, stderr = run(t.Context())
	require.Equal(t, 0, status, stderr)
	require.Equal(t, fmt.Sprintf("stored %d events, %d were there already\n", events-state.Events, state.Events), stdout)
	state, err = log.State(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, events, state.Events)
}

// TestExportStopped: it reports that its output is not complete.
func TestExportStopped(t *testing.T) {
	t.Parallel()
	server := testkit.NATS(t)
	log := testkit.OpenLog(t, testkit.Connect(t, server))
	for i := range 500 {
		body := fmt.Sprintf(`{"type":"user.created","data":{"id":"user_%d","pad":"%01000d"}}`, i, i)
		e := &clerk.Event{ID: fmt.Sprintf("msg_%d", i), Origin: clerk.OriginWebhook, Body: []byte(body)}
		e.Envelope = clerk.Envelope{Type: "user.created", EntityID: fmt.Sprintf("user_%d", i), UserID: fmt.Sprintf("user_%d", i)}
		_, err := log.Append(t.Context(), e)
		require.NoError(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout, stderr bytes.Buffer
	status := cli.Main(ctx, []string{"events", "export", "--nats-url", server.URL()}, nil, writer(func(p []byte) (int, error) {
		cancel() // Ctrl-C
		return stdout.Write(p)
	}), &stderr)
	require.Equal(t, 1, status)
	require.Equal(t, "clerksync: stopped: the output is not complete\n", stderr.String())
	require.NotZero(t, stdout.Len())

	dir := t.TempDir()
	status = cli.Main(ctx, []string{"events", "export", "--nats-url", server.URL(), filepath.Join(dir, "events.ndjson")}, nil, &stdout, &stderr)
	require.Equal(t, 1, status)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// TestImportFromABrokenPipe: what breaks off is an error.
func TestImportFromABrokenPipe(t *testing.T) {
	t.Parallel()
	server := testkit.NATS(t)
	testkit.OpenLog(t, testkit.Connect(t, server))
	var stdout, stderr bytes.Buffer
	status := cli.Main(t.Context(), []string{"events", "import", "--trust", "--nats-url", server.URL(), "-"}, iotest.ErrReader(errors.New("broken")), &stdout, &stderr)
	require.Equal(t, 1, status)
	require.Equal(t, "clerksync: nothing was imported: standard input: broken\n", stderr.String())
	require.Empty(t, stdout.String())
}
