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
	for name, test := range map[string]func(t *testing.T, nc *nats.Conn){
		"Append":              testAppend,
		"AppendMany":          testAppendMany,
		"Duplicates":          testDuplicates,
		"Consume":             testConsume,
		"Park":                testPark,
		"ParkAgain":           testParkAgain,
		"Letters":             testLetter,
		"ScanOfWhatIsLeft":    testWhatIsLeft,
		"ScanByTime":          func(t *testing.T, nc *nats.Conn) { testByTime(t, nc) },
		"PersonalEvents":      testPersonalEvents,
		"Expire":              testExpire,
		"ID":                  testID,
		"SurvivesTheConsumer": testSurvivesTheConsumer,
		"Scan":                func(t *testing.T, nc *nats.Conn) { testScanIsTheFilterOfTheWholeLog(t, nc, nil) },
		"Return": func(t *testing.T, nc *nats.Conn) {
			other, err := nats.Connect(nc.ConnectedUrl())
			require.NoError(t, err)
			t.Cleanup(other.Close)
			testReturn(t, nc, other)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, connectOldServer(t, startOldServer(t, binary, t.TempDir())))
		})
	}
	t.Run("Erase", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		testErase(t, open(t, connectOldServer(t, startOldServer(t, binary, dir)), eventlog.Options{}), dir)
	})
}

func connectOldServer(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	require.Equal(t, "2.12.1", nc.ConnectedServerVersion())
	return nc
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
func startOldServer(t *testing.T, binary, dir string) string {
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
