package eventlog_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/eventlog"
)

// TestOldServer runs the log on the oldest server that it works with, a real one.
func TestOldServer(t *testing.T) {
	t.Parallel()
	binary := buildOldServer(t)
	start := func(t *testing.T) string {
		t.Parallel()
		return startOldServer(t, binary)
	}
	connect := func(t *testing.T, url string) *nats.Conn {
		nc, err := nats.Connect(url)
		require.NoError(t, err)
		t.Cleanup(nc.Close)
		require.Equal(t, "2.9.25", nc.ConnectedServerVersion())
		return nc
	}

	t.Run("Append", func(t *testing.T) {
		testAppend(t, connect(t, start(t)))
	})
	t.Run("AppendMany", func(t *testing.T) {
		messages, commits, batches := testAppendMany(t, connect(t, start(t)))
		require.Equal(t, messages, commits, "each event is published by itself")
		require.Zero(t, batches)
	})
	t.Run("Duplicates", func(t *testing.T) {
		nc := connect(t, start(t))
		testDuplicates(t, nc)
		require.False(t, open(t, nc, eventlog.Options{}).Atomic())
	})
	t.Run("Consume", func(t *testing.T) {
		testConsume(t, connect(t, start(t)))
	})
	t.Run("Return", func(t *testing.T) {
		url := start(t)
		// 2.9 offers the first returned event to the request of the client that leaves.
		// When that fails, it steps back by one in the log, although the event was not
		// new (consumer.go, "We will redo this one"): the last event is delivered twice,
		// and this one after ackWait.
		testReturn(t, connect(t, url), connect(t, url), 489)
	})
	t.Run("Park", func(t *testing.T) {
		testPark(t, connect(t, start(t)))
	})
	t.Run("ParkAgain", func(t *testing.T) {
		testParkAgain(t, connect(t, start(t)))
	})
	t.Run("Letters", func(t *testing.T) {
		testLetter(t, connect(t, start(t)))
	})
	t.Run("Scan", func(t *testing.T) {
		testScanIsTheFilterOfTheWholeLog(t, connect(t, start(t)), []string{"user.*"}, false) // see ScanOfWhatIsLeft
	})
	t.Run("ScanOfWhatIsLeft", func(t *testing.T) {
		testWhatIsLeft(t, connect(t, start(t)))
	})
	t.Run("ScanByTime", func(t *testing.T) {
		testByTime(t, connect(t, start(t)))
	})
	t.Run("PersonalEvents", func(t *testing.T) {
		testPersonalEvents(t, connect(t, start(t)))
	})
	t.Run("Erase", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		nc := connect(t, startOldServerIn(t, binary, dir))
		testErase(t, open(t, nc, eventlog.Options{}), dir)
	})
	t.Run("Resources", func(t *testing.T) { // it keeps no metadata
		nc := connect(t, start(t))
		for range 2 {
			require.Equal(t, []string{"*"}, open(t, nc, eventlog.Options{StoreEvents: []string{"user.*"}}).Resources())
		}
	})
	t.Run("Expire", func(t *testing.T) {
		testExpire(t, connect(t, start(t)))
	})
	t.Run("ID", func(t *testing.T) {
		testID(t, connect(t, start(t)))
	})
	t.Run("SurvivesTheConsumer", func(t *testing.T) {
		testSurvivesTheConsumer(t, connect(t, start(t)))
	})
	t.Run("Exclusive", func(t *testing.T) { // it cannot reset a consumer, and works all the same
		l := open(t, connect(t, start(t)), eventlog.Options{Exclusive: true})
		appendAll(t, l, events(0, 10))
		ch := make(chan *eventlog.Message)
		stop := consume(t, l, into(ch))
		take(t, ch, 10, prompt) // and settles nothing
		stop()
		_, err := l.TakeBack(t.Context())
		require.NoError(t, err)
		appendAll(t, l, events(10, 15))
		ch = make(chan *eventlog.Message)
		consume(t, l, into(ch))
		require.Equal(t, upTo(15)[10:], seqsOf(take(t, ch, 5, prompt)))
	})
}

// buildOldServer builds the server that internal/tools/oldnats pins.
func buildOldServer(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "nats-server")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/nats-io/nats-server/v2")
	cmd.Dir = filepath.Join("..", "tools", "oldnats")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=readonly")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

// startOldServer starts a server for one test and returns its URL. The server chooses
// the port and writes it into a file.
func startOldServer(t *testing.T, binary string) string {
	t.Helper()
	return startOldServerIn(t, binary, t.TempDir())
}

func startOldServerIn(t *testing.T, binary, dir string) string {
	t.Helper()
	var log bytes.Buffer
	cmd := exec.Command(binary, "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", filepath.Join(dir, "data"), "--ports_file_dir", dir)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = endsWithUs
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		// endsWithUs is tied to the thread that starts the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	require.NoError(t, <-started)
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // this child, by its handle; fails when it has ended
		<-ended
		if t.Failed() {
			t.Logf("the server's log:\n%s", log.String())
		}
	})

	deadline := time.After(patience)
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		var ports struct {
			Nats []string `json:"nats"`
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.ports"))
		require.NoError(t, err)
		if len(files) == 1 {
			text, err := os.ReadFile(files[0])
			require.NoError(t, err)
			if json.Unmarshal(text, &ports) == nil && len(ports.Nats) > 0 { // it may be half written
				tick.Stop()
				return ports.Nats[0]
			}
		}
		select {
		case <-tick.C:
		case <-ended:
			t.Fatalf("the server ended:\n%s", log.String())
		case <-deadline:
			t.Fatalf("the server did not write its port within %s", patience)
		}
	}
}
