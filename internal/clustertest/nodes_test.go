package clustertest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// nodeVariable is the environment variable that makes this test binary a node of a NATS
// cluster, with its nodeOptions as JSON.
const nodeVariable = "CLERKSYNC_TEST_NATS_NODE"

type nodeOptions struct {
	Name, Dir, Advertise, Routes string
}

// nodePorts are printed by a node when it listens.
type nodePorts struct{ Clients, Routes, Monitor string }

// serveNode runs a node until its input ends.
func serveNode(options string) error {
	var o nodeOptions
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		return err
	}
	const free = natsserver.RANDOM_PORT
	s, err := natsserver.NewServer(&natsserver.Options{
		ServerName: o.Name, Host: "127.0.0.1", Port: free, HTTPHost: "127.0.0.1", HTTPPort: free, ClientAdvertise: o.Advertise,
		JetStream: true, StoreDir: o.Dir, NoSigs: true,
		Cluster: natsserver.ClusterOpts{
			Name: "test", Host: "127.0.0.1", Port: free,
			Advertise: "127.0.0.1:1", // nobody listens there: all go through the proxies
		},
		Routes: natsserver.RoutesFromStr(o.Routes),
	})
	if err != nil {
		return err
	}
	s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(time.Minute) {
		return fmt.Errorf("%s does not listen", o.Name)
	}
	ports, err := json.Marshal(nodePorts{s.Addr().String(), s.ClusterAddr().String(), s.MonitorAddr().String()})
	if err != nil {
		return err
	}
	fmt.Println(string(ports))
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// cluster is three NATS servers, each a process. Everybody reaches a node through a proxy,
// so that a node can be cut off, and can come back on other ports.
type cluster struct {
	ctx   context.Context
	t     *testing.T
	nodes []*node
}

type node struct {
	name, dir string
	routes    string
	clients   *testkit.Proxy
	peers     []*testkit.Proxy // from the others to this one
	cmd       *exec.Cmd        // nil while it is down
	monitor   string
}

func startCluster(ctx context.Context, t *testing.T) *cluster {
	t.Helper()
	c := &cluster{ctx: ctx, t: t}
	routes := make([][]string, 3) // from each node to the others
	for i := range 3 {
		n := &node{name: fmt.Sprintf("n%d", i), dir: t.TempDir(), clients: testkit.NewProxy(t, "")}
		for from := range 3 {
			if from != i {
				p := testkit.NewProxy(t, "")
				n.peers = append(n.peers, p)
				routes[from] = append(routes[from], "nats://"+p.Addr())
			}
		}
		c.nodes = append(c.nodes, n)
	}
	for i, n := range c.nodes {
		n.routes = strings.Join(routes[i], ",")
		c.start(n)
		t.Cleanup(func() {
			if n.cmd != nil {
				c.kill(n)
			}
		})
	}
	c.awaitLeader("")
	return c
}

// urls returns the addresses for clients.
func (c *cluster) urls() string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, "nats://"+n.clients.Addr())
	}
	return strings.Join(all, ",")
}

func (c *cluster) start(n *node) {
	c.t.Helper()
	options, err := json.Marshal(nodeOptions{n.name, n.dir, n.clients.Addr(), n.routes})
	require.NoError(c.t, err)
	n.cmd = exec.Command(os.Args[0])
	n.cmd.Env = append(os.Environ(), nodeVariable+"="+string(options))
	n.cmd.Stderr = os.Stderr
	_, err = n.cmd.StdinPipe()
	require.NoError(c.t, err)
	out, err := n.cmd.StdoutPipe()
	require.NoError(c.t, err)
	require.NoError(c.t, n.cmd.Start())
	line, err := bufio.NewReader(out).ReadBytes('\n')
	require.NoError(c.t, err, "%s does not start", n.name)
	var ports nodePorts
	require.NoError(c.t, json.Unmarshal(line, &ports))
	n.monitor = "http://" + ports.Monitor
	n.clients.Restore(ports.Clients)
	for _, p := range n.peers {
		p.Restore(ports.Routes)
	}
}

// kill is kill -9.
func (c *cluster) kill(n *node) {
	c.t.Helper()
	require.NoError(c.t, n.cmd.Process.Kill())
	n.cmd.Wait()
	n.cmd = nil
}

func (c *cluster) signal(n *node, s syscall.Signal) {
	c.t.Helper()
	require.NoError(c.t, n.cmd.Process.Signal(s))
}

// links returns the proxies of a node: to it from everybody, and from it to the others.
func (c *cluster) links(n *node) []*testkit.Proxy {
	all := append([]*testkit.Proxy{n.clients}, n.peers...)
	for _, other := range c.nodes {
		for _, p := range other.peers {
			if strings.Contains(n.routes, p.Addr()) {
				all = append(all, p)
			}
		}
	}
	return all
}

// raft is a Raft group as a node sees it.
type raft struct {
	Leader   string `json:"leader"`
	Replicas []struct {
		Name    string `json:"name"`
		Current bool   `json:"current"`
		Offline bool   `json:"offline"`
	} `json:"replicas"`
}

// groups asks a node for what it knows: by stream, with "" for the group that manages all.
// The consumer of a stream is stream/consumer.
func (n *node) groups(ctx context.Context) (map[string]raft, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.monitor+"/jsz?accounts=true&streams=true&consumers=true", nil)
	if err != nil {
		return nil, err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Meta     raft `json:"meta_cluster"`
		Accounts []struct {
			Streams []struct {
				Name      string `json:"name"`
				Cluster   raft   `json:"cluster"`
				Consumers []struct {
					Name    string `json:"name"`
					Cluster raft   `json:"cluster"`
				} `json:"consumer_detail"`
			} `json:"stream_detail"`
		} `json:"account_details"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	all := map[string]raft{"": answer.Meta}
	for _, a := range answer.Accounts {
		for _, s := range a.Streams {
			all[s.Name] = s.Cluster
			for _, c := range s.Consumers {
				all[s.Name+"/"+c.Name] = c.Cluster
			}
		}
	}
	return all, nil
}

// leader returns the node that leads a group in the eyes of itself and of another, nil when
// there is none. The nodes of without are not asked.
func (c *cluster) leader(group string, without ...*node) *node {
	votes := map[string]int{}
	for _, n := range c.nodes {
		if n.cmd == nil || slices.Contains(without, n) {
			continue
		}
		if groups, err := n.groups(c.ctx); err == nil {
			votes[groups[group].Leader]++
		}
	}
	for _, n := range c.nodes {
		if votes[n.name] >= 2 {
			return n
		}
	}
	return nil
}

func (c *cluster) awaitLeader(group string) (n *node) {
	c.t.Helper()
	await(c.ctx, c.t, "there is a leader", func() (bool, any) {
		n = c.leader(group)
		return n != nil, group
	})
	return n
}

// awaitWhole waits until every group has a leader and all its replicas are up to date.
func (c *cluster) awaitWhole(groups ...string) {
	c.t.Helper()
	await(c.ctx, c.t, "the cluster is whole", func() (bool, any) {
		for _, group := range groups {
			leader := c.leader(group)
			if leader == nil {
				return false, "no leader of " + group
			}
			known, err := leader.groups(c.ctx)
			if err != nil {
				return false, err
			}
			current := 0
			for _, r := range known[group].Replicas {
				if r.Current && !r.Offline {
					current++
				}
			}
			if current != 2 {
				return false, fmt.Sprintf("%q: %+v", group, known[group])
			}
		}
		return true, nil
	})
}

// allGroups are those of clerksync, and the one that manages all.
var allGroups = []string{"", eventlog.Stream, eventlog.DeadStream, eventlog.Stream + "/" + eventlog.ConsumerName}
