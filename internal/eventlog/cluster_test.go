package eventlog_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// clusterNode is the environment variable that makes this test binary a server of a
// cluster, with the node that it holds as JSON.
const clusterNode = "CLERKSYNC_TEST_CLUSTER_NODE"

type node struct {
	Dir, Name          string
	Port, Routes       int
	ClusterRoutesComma string
}

// serveNode runs a server of a cluster until its input ends.
func serveNode(options string) error {
	var n node
	if err := json.Unmarshal([]byte(options), &n); err != nil {
		return err
	}
	s, err := natsserver.NewServer(&natsserver.Options{
		ServerName: n.Name, Host: "127.0.0.1", Port: n.Port, JetStream: true, StoreDir: n.Dir, NoSigs: true, Tags: []string{"disk:ssd"},
		Cluster: natsserver.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: n.Routes},
		Routes:  natsserver.RoutesFromStr(n.ClusterRoutesComma),
	})
	if err != nil {
		return err
	}
	s.Start()
	defer s.Shutdown()
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// cluster is three servers, each in a process of its own.
type cluster struct {
	urls  map[string]string // by the name of the server
	kills map[string]func()
}

func startCluster(t *testing.T) cluster {
	t.Helper()
	var listeners []net.Listener
	port := func() int {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		listeners = append(listeners, l)
		return l.Addr().(*net.TCPAddr).Port
	}
	var nodes []node
	var routes []string
	c := cluster{urls: map[string]string{}, kills: map[string]func(){}}
	for i := range 3 {
		n := node{Dir: t.TempDir(), Name: fmt.Sprintf("n%d", i), Port: port(), Routes: port()}
		nodes = append(nodes, n)
		c.urls[n.Name] = fmt.Sprintf("nats://127.0.0.1:%d", n.Port)
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", n.Routes))
	}
	for _, l := range listeners {
		l.Close()
	}
	for _, n := range nodes {
		n.ClusterRoutesComma = strings.Join(routes, ",")
		options, err := json.Marshal(n)
		require.NoError(t, err)
		c.kills[n.Name] = startNode(t, string(options))
	}
	return c
}

// startNode starts a server and returns how to kill it.
func startNode(t *testing.T, options string) (kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), clusterNode+"="+options)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = endsWithUs
	_, err := cmd.StdinPipe() // so that it ends with this process
	require.NoError(t, err)
	started, ended := make(chan error, 1), make(chan struct{})
	killed := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // see startOldServer
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		<-killed
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	require.NoError(t, <-started)
	kill = sync.OnceFunc(func() {
		close(killed)
		<-ended
	})
	t.Cleanup(kill)
	return kill
}

// TestLeaderKilledWhileAppending: nothing that was acknowledged is lost, nothing is
// stored twice, and appends are acknowledged again soon after NATS has elected another
// leader, which takes 4 to 9 seconds.
func TestLeaderKilledWhileAppending(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	connect := func(urls string) *nats.Conn {
		nc, err := nats.Connect(urls, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.ReconnectBufSize(-1),
			nats.RetryOnFailedConnect(true), nats.IgnoreDiscoveredServers())
		require.NoError(t, err)
		t.Cleanup(nc.Close)
		return nc
	}
	nc := connect(strings.Join(slices.Collect(maps.Values(c.urls)), ","))
	testkit.Eventually(t, "the cluster takes a log", func() (bool, any) {
		l, err := eventlog.Open(t.Context(), nc, eventlog.Options{Replicas: 3, Cluster: "test", Tags: []string{"disk:ssd"}})
		if err == nil {
			l.Close()
		}
		return err == nil, err
	})
	placement := &jetstream.Placement{Cluster: "test", Tags: []string{"disk:ssd"}}
	require.Equal(t, placement, streamOf(t, nc, eventlog.Stream).CachedInfo().Config.Placement)
	_, err := eventlog.Open(t.Context(), nc, eventlog.Options{Replicas: 3, Tags: []string{"disk:tape"}})
	require.ErrorContains(t, err, "than CLERKSYNC_LOG_CLUSTER and CLERKSYNC_LOG_TAGS leave")
	require.Equal(t, placement, streamOf(t, nc, eventlog.DeadStream).CachedInfo().Config.Placement, "without a setting it stays")
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	leader := func() (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // nobody may answer
		defer cancel()
		stream, err := js.Stream(ctx, eventlog.Stream)
		if err != nil {
			return "", err
		}
		return stream.CachedInfo().Cluster.Leader, nil
	}
	var former string
	testkit.Eventually(t, "there is a leader", func() (bool, any) {
		former, err = leader()
		return err == nil && former != "", err
	})
	// The connection stays: a lost one would tell at once that the leader is gone.
	delete(c.urls, former)
	var l *eventlog.Log
	testkit.Eventually(t, "the log is open", func() (bool, any) {
		l, err = eventlog.Attach(t.Context(), connect(strings.Join(slices.Collect(maps.Values(c.urls)), ",")), "")
		return err == nil, err
	})
	t.Cleanup(l.Close)

	var mu sync.Mutex
	acknowledged := map[string]bool{}
	var last time.Time
	var gap time.Duration
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 32 {
		writers.Go(func() {
			for i := 0; ; i++ {
				e := event(w*1_000_000 + i)
				for {
					select {
					case <-stop:
						return
					default:
					}
					_, err := l.Append(t.Context(), e)
					if err == nil {
						break
					}
					if !errors.Is(err, eventlog.ErrUnavailable) {
						t.Error(err)
						return
					}
					// Svix would deliver it again.
				}
				mu.Lock()
				acknowledged[e.ID] = true
				now := time.Now()
				if !last.IsZero() {
					gap = max(gap, now.Sub(last))
				}
				last = now
				mu.Unlock()
			}
		})
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(acknowledged)
	}
	testkit.Eventually(t, "events are acknowledged", func() (bool, any) { return count() > 500, count() })
	at := time.Now()
	c.kills[former]()
	var elected time.Duration
	testkit.Eventually(t, "another leader is elected", func() (bool, any) {
		now, err := leader()
		if err == nil && now != "" && now != former && elected == 0 {
			elected = time.Since(at)
		}
		return elected != 0, fmt.Sprint(now, err)
	})
	before := count()
	testkit.Eventually(t, "events are acknowledged again", func() (bool, any) { return count() > before+500, count() })
	close(stop)
	writers.Wait()
	t.Logf("elected after %s, longest time without an acknowledgement %s, %d acknowledged", elected, gap, count())
	require.Less(t, gap, elected+2*time.Second)

	stored := map[string]int{}
	var s *eventlog.Scan
	testkit.Eventually(t, "the log can be read", func() (bool, any) {
		s, err = l.Events(t.Context(), eventlog.Filter{}, false)
		return err == nil, err
	})
	defer s.Close()
	for _, m := range readAll(t, s) {
		stored[m.Event.ID]++
	}
	for id, n := range stored {
		require.Equal(t, 1, n, id)
	}
	for id := range acknowledged {
		require.Equal(t, 1, stored[id], id)
	}
}
