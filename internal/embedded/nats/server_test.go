//go:build linux || darwin

package nats

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// natsChildEnv makes TestNATSChild a program that runs a server on the named folder
// and stores events until it is killed.
const natsChildEnv = "EMBEDDED_TEST_NATS_CHILD_OF"

// natsWriters is how many writers the child has.
const natsWriters = 4

// TestNATSChild does something only in the child.
func TestNATSChild(t *testing.T) {
	dir := os.Getenv(natsChildEnv)
	if dir == "" {
		return
	}
	if err := runNATSChild(dir); err != nil {
		fmt.Println("error:", err)
	}
}

// runNATSChild prints a line for every event that was acknowledged.
func runNATSChild(dir string) error {
	n, err := Start(context.Background(), Options{Dir: dir, Token: natsToken})
	if err != nil {
		return err
	}
	nc, err := n.Connect()
	if err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	if _, err := js.CreateStream(context.Background(), natsStream); err != nil {
		return err
	}
	failed := make(chan error)
	for writer := range natsWriters {
		go func() {
			for i := 0; ; i++ {
				ack, err := js.Publish(context.Background(), natsSubject, natsBody(writer, i))
				if err != nil {
					failed <- err
					return
				}
				fmt.Println("stored", ack.Sequence, writer, i)
			}
		}()
	}
	return <-failed
}

const (
	natsToken   = "token-of-the-tests"
	natsSubject = "events.stored"
)

var natsStream = jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}, Storage: jetstream.FileStorage}

func natsBody(writer, i int) []byte {
	return []byte(strings.Repeat(fmt.Sprintf("event %d of writer %d\n", i, writer), 50))
}

func startNATS(t *testing.T, o Options) *Server {
	t.Helper()
	n, err := Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(n.Stop)
	return n
}

func connectNATS(t *testing.T, n *Server) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := n.Connect()
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	return nc, js
}

func TestNATSKeepsEventsFromStartToStart(t *testing.T) {
	t.Parallel()
	o := Options{Dir: filepath.Join(t.TempDir(), "made", "by the server"), Token: natsToken}
	for start := range 3 {
		n := startNATS(t, o)
		nc, js := connectNATS(t, n)
		_, err := js.CreateOrUpdateStream(t.Context(), natsStream)
		require.NoError(t, err)
		for i := range 20 {
			ack, err := js.Publish(t.Context(), natsSubject, natsBody(start, i))
			require.NoError(t, err)
			require.Equal(t, uint64(start*20+i+1), ack.Sequence)
		}
		stream, err := js.Stream(t.Context(), natsStream.Name)
		require.NoError(t, err)
		for seq := range (start + 1) * 20 {
			msg, err := stream.GetMsg(t.Context(), uint64(seq+1))
			require.NoError(t, err)
			require.Equal(t, string(natsBody(seq/20, seq%20)), string(msg.Data))
		}
		n.Stop()
		n.Stop() // does nothing
		require.Eventually(t, func() bool { return !nc.IsConnected() }, 20*time.Second, time.Millisecond)
		_, err = n.Connect(nats.Timeout(time.Second))
		require.ErrorContains(t, err, "connect to the embedded NATS server: ")
	}
}

func TestNATSAsksForTheToken(t *testing.T) {
	t.Parallel()
	for _, token := range []string{natsToken, "with/@:?#%20 and more"} {
		n := startNATS(t, Options{Dir: t.TempDir(), Token: token})
		nc, err := nats.Connect(n.URL())
		require.NoError(t, err, "the URL has the token in it")
		require.NoError(t, nc.Flush())
		require.Equal(t, "127.0.0.1:", nc.ConnectedAddr()[:10])
		address := "nats://" + nc.ConnectedAddr()
		nc.Close()
		connectNATS(t, n) // within the process
		for _, option := range []nats.Option{
			nats.Name("none"), nats.Token(""), nats.Token("wrong"), nats.Token(token + "x"), nats.UserInfo(token, ""), nats.UserInfo("", token),
		} {
			_, err := nats.Connect(address, option)
			require.ErrorIs(t, err, nats.ErrAuthorization)
		}
	}
}

// TestNATSSync checks that acknowledged messages are in the files that Sync syncs.
func TestNATSSync(t *testing.T) {
	t.Parallel()
	o := Options{Dir: t.TempDir()}
	n := startNATS(t, o)
	_, js := connectNATS(t, n)
	require.ErrorIs(t, n.Sync(natsStream.Name), os.ErrNotExist)
	_, err := js.CreateStream(t.Context(), natsStream)
	require.NoError(t, err)
	for i := range 10 {
		body := natsBody(0, i)
		_, err := js.Publish(t.Context(), natsSubject, body)
		require.NoError(t, err)
		require.NoError(t, n.Sync(natsStream.Name))
		block, err := os.ReadFile(n.streams[natsStream.Name].block(n.streams[natsStream.Name].last))
		require.NoError(t, err)
		require.Contains(t, string(block), string(body))
	}
}

func TestNATSPayload(t *testing.T) {
	t.Parallel()
	nc, _ := connectNATS(t, startNATS(t, Options{Dir: t.TempDir()}))
	require.Equal(t, int64(2<<20), nc.MaxPayload())
}

// TestNATSKilled kills a process with a server in it while events are acknowledged: the
// next start has all of them.
func TestNATSKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestNATSChild$")
	child.Env = append(os.Environ(), natsChildEnv+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	kill := sync.OnceFunc(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	})
	t.Cleanup(kill)
	stuck := time.AfterFunc(20*time.Second, func() { _ = child.Process.Kill() })
	defer stuck.Stop()

	type event struct{ writer, i int }
	acknowledged := map[uint64]event{}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var seq uint64
		var e event
		if _, err := fmt.Sscanf(lines.Text(), "stored %d %d %d", &seq, &e.writer, &e.i); err != nil {
			if errors.Is(child.Process.Signal(nil), os.ErrProcessDone) || len(acknowledged) >= 200 {
				break // the last line may be cut off
			}
			require.NoError(t, err, lines.Text())
		}
		if acknowledged[seq] = e; len(acknowledged) == 200 {
			require.NoError(t, child.Process.Kill()) // and read what it still wrote
		}
	}
	require.GreaterOrEqual(t, len(acknowledged), 200)
	kill()
	require.Equal(t, "signal: killed", child.ProcessState.String())

	n := startNATS(t, Options{Dir: dir, Token: natsToken})
	_, js := connectNATS(t, n)
	stream, err := js.Stream(t.Context(), natsStream.Name)
	require.NoError(t, err)
	for seq, e := range acknowledged {
		msg, err := stream.GetMsg(t.Context(), seq)
		require.NoError(t, err, "event %d of writer %d", e.i, e.writer)
		require.Equal(t, string(natsBody(e.writer, e.i)), string(msg.Data))
	}
	ack, err := js.Publish(t.Context(), natsSubject, natsBody(0, 0))
	require.NoError(t, err)
	require.GreaterOrEqual(t, ack.Sequence, uint64(len(acknowledged)+1))
	// At most the one in flight of each writer was stored without an acknowledgement.
	require.LessOrEqual(t, ack.Sequence, uint64(len(acknowledged)+1+natsWriters))
}

func TestNATSNamesTheFolderItCannotUse(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "thesis.txt")
	require.NoError(t, os.WriteFile(file, []byte("mine"), 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := Start(ctx, Options{Dir: file})
	require.ErrorContains(t, err, file)
	require.FileExists(t, file)
}
