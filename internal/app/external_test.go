package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestExternalNATS: a delivery gets into the rows through servers of every kind.
func TestExternalNATS(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(t *testing.T, c *config.Config) (url string){
		"nkey": func(t *testing.T, c *config.Config) string {
			public, file := testkit.NKey(t)
			c.NATSNKey = file
			return testkit.ExternalNATS(t, func(o *natsserver.Options) { o.Nkeys = []*natsserver.NkeyUser{{Nkey: public}} }).ClientURL()
		},
		"credentials": func(t *testing.T, c *config.Config) string {
			operator := testkit.NewOperator(t)
			c.NATSCreds = operator.Creds(time.Hour)
			return testkit.ExternalNATS(t, operator.Apply).ClientURL()
		},
		"TLS": func(t *testing.T, c *config.Config) string {
			ca := testkit.NewAuthority(t)
			c.NATSCA = ca.File
			return testkit.ExternalNATS(t, func(o *natsserver.Options) { o.TLSConfig = ca.Server(time.Hour, false) }).ClientURL()
		},
		"mutual TLS": func(t *testing.T, c *config.Config) string {
			ca := testkit.NewAuthority(t)
			c.NATSCA = ca.File
			c.NATSCert, c.NATSKey = ca.Issue(time.Hour)
			return testkit.ExternalNATS(t, func(o *natsserver.Options) { o.TLSConfig = ca.Server(time.Hour, true) }).ClientURL()
		},
		"a domain behind a leaf node": func(t *testing.T, c *config.Config) string {
			c.NATSDomain = "hub"
			return leafOf(t, "hub").ClientURL()
		},
		"compressed": func(t *testing.T, c *config.Config) string {
			c.Compression = "s2"
			return testkit.ExternalNATS(t, nil).ClientURL()
		},
		"a user with few permissions": func(t *testing.T, _ *config.Config) string {
			return withPermissions(t, documented(t))
		},
		"streams that somebody else made": func(t *testing.T, _ *config.Config) string {
			p := documented(t)
			p.Publish.Deny = append(p.Publish.Deny, "$JS.API.STREAM.CREATE.*", "$JS.API.STREAM.UPDATE.*", "$JS.API.CONSUMER.CREATE.CLERK_EVENTS.projector")
			url := withPermissions(t, p)
			createDocumented(t, strings.Replace(url, "app:app@", "admin:admin@", 1))
			return url
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := start(t, options(t, database(testkit.DatabaseURL(t)), func(o *app.Options) {
				o.Config.NATSURL = config.Secret(prepare(t, &o.Config))
				require.NoError(t, o.Config.Validate(config.RoleReceiver|config.RoleWorker))
			}))
			post(t, a, "msg_1")
			awaitLag(t, a, "applied", func(l lag) bool { return l.InStep && *l.Pending == 0 && l.EndToEnd != nil })
			select {
			case err := <-a.Fatal():
				t.Fatal(err)
			default:
			}
		})
	}
}

// TestSeveralServers: the next one of NATS_URL is taken while one is away, at the start and
// later.
func TestSeveralServers(t *testing.T) {
	t.Parallel()
	address := strings.TrimPrefix(testkit.ExternalNATS(t, nil).ClientURL(), "nats://")
	one, two := testkit.NewProxy(t, address), testkit.NewProxy(t, address)
	one.Cut()
	a := start(t, options(t, database(testkit.DatabaseURL(t)), func(o *app.Options) {
		o.Config.NATSURL = config.Secret("nats://" + one.Addr() + ", nats://" + two.Addr())
	}))
	post(t, a, "msg_1")
	applied := func(l lag) bool { return l.InStep && *l.Pending == 0 && l.EndToEnd != nil }
	awaitLag(t, a, "applied", applied)
	one.Restore("")
	two.Cut()
	testkit.Eventually(t, "it takes a delivery", func() (bool, any) {
		status := postStatus(t, a, "msg_2")
		return status == http.StatusNoContent, status
	})
	awaitLag(t, a, "applied too", applied)
}

// TestServerIsReplacedWhileRunning by one with a certificate of another CA: the process
// goes on by itself when the right one is back.
func TestServerIsReplacedWhileRunning(t *testing.T) {
	t.Parallel()
	ca := testkit.NewAuthority(t)
	address := func(ca *testkit.Authority) string {
		s := testkit.ExternalNATS(t, func(o *natsserver.Options) { o.TLSConfig = ca.Server(time.Hour, false) })
		return strings.TrimPrefix(s.ClientURL(), "tls://")
	}
	right, wrong := address(ca), address(testkit.NewAuthority(t))
	p := testkit.NewProxy(t, right)
	a := start(t, options(t, func(o *app.Options) {
		o.Roles = config.RoleReceiver
		o.Config.NATSURL, o.Config.NATSCA = config.Secret("tls://"+p.Addr()), ca.File
	}))
	post(t, a, "msg_1")
	p.Cut()
	p.Restore(wrong)
	require.Equal(t, http.StatusServiceUnavailable, postStatus(t, a, "msg_2"))
	p.Cut()
	p.Restore(right)
	testkit.Eventually(t, "it takes a delivery", func() (bool, any) {
		status := postStatus(t, a, "msg_2")
		return status == http.StatusNoContent, status
	})
}

// TestRefusedAfterAnOutage: a server that was away at the start and then refuses ends the
// process.
func TestRefusedAfterAnOutage(t *testing.T) {
	t.Parallel()
	s := testkit.ExternalNATS(t, func(o *natsserver.Options) { o.JetStream, o.StoreDir = false, "" })
	p := testkit.NewProxy(t, strings.TrimPrefix(s.ClientURL(), "nats://"))
	p.Cut()
	a := start(t, options(t, func(o *app.Options) {
		o.Roles = config.RoleReceiver
		o.Config.NATSURL = config.Secret("nats://" + p.Addr())
	}))
	require.Equal(t, http.StatusServiceUnavailable, postStatus(t, a, "msg_1"))
	p.Restore("")
	require.ErrorContains(t, <-a.Fatal(), "the NATS server has no JetStream; add jetstream {} to its configuration")
}

// leafOf starts a server without JetStream that is a leaf node of one with it.
func leafOf(t *testing.T, domain string) *natsserver.Server {
	t.Helper()
	var hub *natsserver.Options // the server writes its port into it
	testkit.ExternalNATS(t, func(o *natsserver.Options) {
		o.JetStreamDomain, o.ServerName = domain, "hub"
		o.LeafNode.Host, o.LeafNode.Port = "127.0.0.1", natsserver.RANDOM_PORT
		hub = o
	})
	leaf := testkit.ExternalNATS(t, func(o *natsserver.Options) {
		o.JetStream, o.StoreDir, o.ServerName = false, "", "leaf"
		o.LeafNode.Remotes = []*natsserver.RemoteLeafOpts{{URLs: []*url.URL{{Scheme: "nats-leaf", Host: fmt.Sprintf("127.0.0.1:%d", hub.LeafNode.Port)}}}}
	})
	testkit.Eventually(t, "the leaf node is connected", func() (bool, any) { return leaf.NumLeafNodes() == 1, leaf.NumLeafNodes() })
	return leaf
}

// documented returns the permissions of deploy/nats.permissions.conf.
func documented(t *testing.T) natsserver.Permissions {
	t.Helper()
	text, err := os.ReadFile("../../deploy/nats.permissions.conf")
	require.NoError(t, err)
	o := &natsserver.Options{}
	require.NoError(t, o.ProcessConfigString("authorization {users: [{user: app, password: app\n"+string(text)+"}]}"))
	return *o.Users[0].Permissions
}

// withPermissions starts a server with an administrator, and returns its URL for a user with
// permissions.
func withPermissions(t *testing.T, p natsserver.Permissions) string {
	t.Helper()
	url := testkit.ExternalNATS(t, func(o *natsserver.Options) {
		o.Users = []*natsserver.User{{Username: "admin", Password: "admin"}, {Username: "app", Password: "app", Permissions: &p}}
	}).ClientURL()
	return strings.Replace(url, "nats://", "nats://app:app@", 1)
}

var codeBlock = regexp.MustCompile("(?s)```json\n(.*?)```")

// createDocumented creates the streams and the consumer of docs/configuration.md.
func createDocumented(t *testing.T, url string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/configuration.md")
	require.NoError(t, err)
	blocks := codeBlock.FindAllSubmatch(page, -1)
	require.Len(t, blocks, 3)
	nc, err := nats.Connect(url)
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	for _, block := range blocks[:2] {
		var c jetstream.StreamConfig
		require.NoError(t, json.Unmarshal(block[1], &c))
		_, err := js.CreateStream(t.Context(), c)
		require.NoError(t, err)
	}
	var c jetstream.ConsumerConfig
	require.NoError(t, json.Unmarshal(blocks[2][1], &c))
	_, err = js.CreateConsumer(t.Context(), "CLERK_EVENTS", c)
	require.NoError(t, err)
}
