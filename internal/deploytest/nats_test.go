package deploytest

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
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

const (
	signingSecret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
	password      = "12e4-begins-with-a-digit"
	user          = "user_2synth00000000000000000Ada1"
)

// freePorts returns ports of the loopback that nobody listens on.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// natsConfig copies a configuration of deploy and what it includes, with some of its texts
// replaced: what a container would give it.
func natsConfig(t *testing.T, name string, replace map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "nats.permissions.conf"), read(t, deploy+"nats.permissions.conf"))
	text := read(t, deploy+name)
	for _, was := range slices.Sorted(maps.Keys(replace)) {
		require.Contains(t, text, was)
		text = strings.ReplaceAll(text, was, replace[was])
	}
	return write(t, filepath.Join(dir, name), text)
}

// startNATS starts a server and returns its port for clients.
func startNATS(t *testing.T, name string, env []string, replace map[string]string) (*process, int) {
	t.Helper()
	ports := freePorts(t, 2)
	all := map[string]string{
		`"0.0.0.0:4222"`: fmt.Sprintf(`"127.0.0.1:%d"`, ports[0]), `"127.0.0.1:8222"`: fmt.Sprintf(`"127.0.0.1:%d"`, ports[1]),
		`"/data"`: strconv.Quote(t.TempDir()),
	}
	maps.Copy(all, replace)
	return start(t, "Server is ready", "nats-server", env, "--config", natsConfig(t, name, all)), ports[0]
}

// TestOneNATS: clerksync works on a server with nats.conf, with every permission that the
// file gives, and with no other.
func TestOneNATS(t *testing.T) {
	t.Parallel()
	server, port := startNATS(t, "nats.conf", []string{"NATS_PASSWORD=" + strconv.Quote(password)}, nil)
	r := record(t, fmt.Sprintf("127.0.0.1:%d", port))
	url := fmt.Sprintf("nats://clerksync:%s@%s", password, r.addr)
	env, stop := serve(t, "NATS_URL="+url)
	clerksync := func(args ...string) string {
		t.Helper()
		return run(t, "clerksync", env, args...)
	}
	require.Contains(t, clerksync("events", "ls"), "user.created")
	require.Contains(t, clerksync("events", "show", "1"), " msg_")
	exported := filepath.Join(t.TempDir(), "events.ndjson")
	clerksync("events", "export", exported)
	clerksync("events", "import", exported)
	clerksync("replay")
	clerksync("verify")
	clerksync("show", user)
	require.Contains(t, clerksync("dead", "ls"), "no_id")
	clerksync("dead", "show", "1")
	clerksync("dead", "discard", "--yes", "1")
	clerksync("erase", "--yes", user)
	stop()

	// A worker does this with what is older than an hour.
	nc, err := nats.Connect(url)
	require.NoError(t, err)
	defer nc.Close()
	l, err := eventlog.Attach(t.Context(), nc, "")
	require.NoError(t, err)
	defer l.Close()
	_, err = l.Append(t.Context(), testkit.Event("msg_last", "user.created", 1767225600000, testkit.UserData("user_last", "", "Last", 1, 1)))
	require.NoError(t, err) // the newest event stays
	backlog, err := l.Backlog(t.Context())
	require.NoError(t, err)
	expired, err := l.Expire(t.Context(), time.Now(), backlog.AppliedThrough)
	require.NoError(t, err)
	require.Positive(t, expired)

	require.NotContains(t, server.output.String(), "Violation")
	options, err := natsserver.ProcessConfigFile(natsConfig(t, "nats.conf", map[string]string{"$NATS_PASSWORD": "x"}))
	require.NoError(t, err)
	for _, u := range options.Users {
		// A scan asks for its consumer only when nothing arrives for a while.
		require.Subset(t, []string{"$JS.API.CONSUMER.INFO.CLERK_DEAD.*"}, r.unused("PUB", u.Permissions.Publish.Allow))
		require.Empty(t, r.unused("SUB", u.Permissions.Subscribe.Allow))
	}
	requireConfined(t, url)
}

// TestNATSCluster: clerksync works on three servers with nats.cluster.conf and the
// certificates of nats-certs.sh, also when one of them is gone.
func TestNATSCluster(t *testing.T) {
	t.Parallel()
	certs := t.TempDir()
	names := []string{"nats-1", "nats-2", "nats-3"}
	args := []string{certs}
	for _, name := range names {
		args = append(args, name+",127.0.0.1")
	}
	out, err := exec.Command(deploy+"nats-certs.sh", args...).CombinedOutput()
	require.NoError(t, err, string(out))

	routePorts := freePorts(t, len(names))
	var routes, urls []string
	for _, p := range routePorts {
		routes = append(routes, fmt.Sprintf(`"nats://route:%s@127.0.0.1:%d"`, password, p))
	}
	var servers []*process
	for i, name := range names {
		server, port := startNATS(t, "nats.cluster.conf", []string{
			"NATS_NAME=" + strconv.Quote(name), "NATS_ROUTES=[" + strings.Join(routes, ", ") + "]",
			"NATS_PASSWORD=" + strconv.Quote(password), "NATS_ADMIN_PASSWORD=" + strconv.Quote(password), "NATS_ROUTE_PASSWORD=" + strconv.Quote(password),
		}, map[string]string{
			`"0.0.0.0:6222"`: fmt.Sprintf(`"127.0.0.1:%d"`, routePorts[i]), "/etc/nats/certs": filepath.Join(certs, name),
		})
		servers = append(servers, server)
		urls = append(urls, fmt.Sprintf("tls://clerksync:%s@127.0.0.1:%d", password, port))
	}

	_, stop := serve(t, "NATS_URL="+strings.Join(urls, ","), "CLERKSYNC_LOG_REPLICAS=3", "CLERKSYNC_LOG_MAX_BYTES=8589934592",
		"SSL_CERT_DIR="+filepath.Join(certs, "ca"))
	stop()
	for _, server := range servers {
		require.NotContains(t, server.output.String(), "Violation")
	}
	ca := filepath.Join(certs, "ca", "ca.pem")
	requireConfined(t, urls[0], nats.RootCAs(ca))
	requireTLS(t, urls[0], routePorts[0], ca)

	nc, err := nats.Connect(urls[1], nats.RootCAs(ca))
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	for _, name := range []string{eventlog.Stream, eventlog.DeadStream} {
		testkit.Eventually(t, "there are three copies", func() (bool, any) {
			stream, err := js.Stream(t.Context(), name)
			if err != nil {
				return false, err
			}
			copies := stream.CachedInfo().Cluster.Replicas // but the leader's
			return len(copies) == 2 && copies[0].Current && copies[1].Current, copies
		})
	}
	l, err := eventlog.Attach(t.Context(), nc, "")
	require.NoError(t, err)
	defer l.Close()
	require.NoError(t, servers[0].cmd.Process.Kill())
	testkit.Eventually(t, "two servers take events", func() (bool, any) {
		_, err := l.Append(t.Context(), testkit.Event("msg_late", "user.created", 1767225600000, testkit.UserData("user_late", "", "Late", 1, 1)))
		return err == nil, err
	})
}

// requireTLS checks that a server has a certificate of the CA, and wants one from another
// server.
func requireTLS(t *testing.T, url string, routePort int, caFile string) {
	t.Helper()
	_, err := nats.Connect(url)
	require.ErrorContains(t, err, "x509: certificate signed by unknown authority")
	ca := x509.NewCertPool()
	require.True(t, ca.AppendCertsFromPEM([]byte(read(t, caFile))))
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", routePort), &tls.Config{RootCAs: ca})
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.ReadAll(conn)
	require.ErrorContains(t, err, "certificate required")
}

// serve starts a receiver and a worker on NATS servers, sends events, one of which becomes a
// dead letter, and returns when all are applied. The variables are for commands.
func serve(t *testing.T, natsEnv ...string) (env []string, stop func()) {
	t.Helper()
	env = append(natsEnv, "DATABASE_URL="+testkit.DatabaseURL(t), "CLERK_WEBHOOK_SIGNING_SECRET="+signingSecret,
		"CLERKSYNC_ADDR=127.0.0.1:0", "CLERKSYNC_ADMIN_ADDR=127.0.0.1:0")
	const ready = "clerksync is at work"
	receiver := start(t, ready, "clerksync", env, "serve", "--role", "receiver")
	worker := start(t, ready, "clerksync", env, "serve", "--role", "worker")
	tail := start(t, "clerksync: following", "clerksync", env, "tail")
	endpoint := regexp.MustCompile(`endpoint=(\S+)`).FindStringSubmatch(receiver.output.String())[1]
	events, err := filepath.Abs("../../testdata/events")
	require.NoError(t, err)
	for id, file := range map[string]string{
		"msg_ada":        filepath.Join(events, "user.created.json"),
		"msg_acme":       filepath.Join(events, "organization.created.json"),
		"msg_membership": filepath.Join(events, "organizationMembership.created.json"),
		"msg_odd":        write(t, filepath.Join(t.TempDir(), "odd.json"), `{"object":"event","type":"user.created","timestamp":1767225600000,"data":{}}`),
	} {
		// A new cluster has no leader for a while. Svix delivers again, too.
		testkit.Eventually(t, id+" is received", func() (bool, any) {
			out, err := command(t, "clerksync", env, "send", "--url", endpoint, "--id", id, file).CombinedOutput()
			return err == nil, string(out)
		})
	}
	tail.await(t, " applied ")
	tail.stop(t)
	testkit.Eventually(t, "it is in step", func() (bool, any) {
		out, _ := command(t, "clerksync", env, "lag", "--json").Output() // status 1 until then
		var lag struct {
			Pending     *int   `json:"pending"`
			DeadLetters int    `json:"dead_letters"`
			LastEvent   string `json:"last_event_received_at"`
		}
		err := json.Unmarshal(out, &lag)
		return err == nil && lag.Pending != nil && *lag.Pending == 0 && lag.DeadLetters == 1 && lag.LastEvent != "", string(out)
	})
	return env, func() {
		worker.stop(t)
		receiver.stop(t)
	}
}

// requireConfined checks that the user of a URL may do nothing but what clerksync does.
func requireConfined(t *testing.T, url string, options ...nats.Option) {
	t.Helper()
	refused := make(chan error, 1)
	nc, err := nats.Connect(url, append(options, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))...)
	require.NoError(t, err)
	defer nc.Close()
	expect := func(what string) {
		t.Helper()
		select {
		case err := <-refused:
			require.ErrorIs(t, err, nats.ErrPermissionViolation, what)
		case <-time.After(testkit.Patience):
			t.Fatalf("%s is allowed", what)
		}
	}
	for _, subject := range []string{
		"orders.created", "clerk.other", "clerk.tail.other", "$SYS.REQ.SERVER.PING",
		"$JS.API.STREAM.DELETE.CLERK_EVENTS", "$JS.API.STREAM.DELETE.CLERK_DEAD", "$JS.API.STREAM.SNAPSHOT.CLERK_EVENTS", "$JS.API.STREAM.RESTORE.CLERK_EVENTS",
		"$JS.API.STREAM.CREATE.ORDERS", "$JS.API.STREAM.INFO.ORDERS", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.PURGE.CLERK_DEAD",
		"$JS.API.CONSUMER.CREATE.ORDERS.c", "$JS.API.CONSUMER.MSG.NEXT.ORDERS.c", "$JS.API.CONSUMER.DELETE.CLERK_EVENTS.projector",
		"$JS.API.STREAM.LEADER.STEPDOWN.CLERK_EVENTS", "$JS.API.META.LEADER.STEPDOWN", "$JS.API.SERVER.REMOVE", "$JS.ACK.ORDERS.c.1.1.1.1.0",
	} {
		require.NoError(t, nc.Publish(subject, nil))
		expect("publishing to " + subject)
	}
	for _, subject := range []string{">", "clerk.events.>", "clerk.erase", "clerk.sync", "$JS.API.>", "$SYS.>", "orders.>"} {
		_, err := nc.SubscribeSync(subject)
		require.NoError(t, err)
		expect("subscribing to " + subject)
	}
}

// recorder is a proxy before a NATS server that records what clients publish and subscribe
// to.
type recorder struct {
	addr string

	mu   sync.Mutex
	used map[string]map[string]bool // by PUB and SUB, subjects
}

func record(t *testing.T, target string) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &recorder{addr: l.Addr().String(), used: map[string]map[string]bool{"PUB": {}, "SUB": {}}}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		l.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer client.Close()
				server, err := net.Dial("tcp", target)
				if err != nil {
					return
				}
				defer context.AfterFunc(ctx, func() { client.Close(); server.Close() })()
				running.Go(func() {
					_, _ = io.Copy(client, server)
					client.Close()
				})
				r.copy(server, bufio.NewReader(client))
				server.Close()
			})
		}
	})
	return r
}

// copy copies what a client sends.
func (r *recorder) copy(to io.Writer, from *bufio.Reader) {
	for {
		line, err := from.ReadString('\n')
		if _, writeErr := io.WriteString(to, line); err != nil || writeErr != nil {
			return
		}
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		verb := strings.TrimPrefix(words[0], "H")
		if verb != "PUB" && verb != "SUB" {
			continue
		}
		r.mu.Lock()
		r.used[verb][words[1]] = true
		r.mu.Unlock()
		if verb == "PUB" {
			size, err := strconv.Atoi(words[len(words)-1])
			if err != nil {
				return
			}
			if _, err := io.CopyN(to, from, int64(size+len("\r\n"))); err != nil {
				return
			}
		}
	}
}

// unused returns those of the patterns that match no recorded subject.
func (r *recorder) unused(verb string, patterns []string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(patterns), func(pattern string) bool {
		for subject := range r.used[verb] {
			if natsserver.SubjectsCollide(subject, pattern) {
				return true
			}
		}
		return false
	})
}
