package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/cli"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestServeRefusesNATS: serve ends with status 1, and names the setting and the fix, when it
// and the NATS server do not fit. So does a command that reads the log, where that can be
// known without writing to it.
func TestServeRefusesNATS(t *testing.T) {
	t.Parallel()
	ca, other := testkit.NewAuthority(t), testkit.NewAuthority(t)
	cert, key := ca.Issue(time.Hour)
	otherCert, otherKey := other.Issue(time.Hour)
	oldCert, oldKey := ca.Issue(-time.Minute)
	operator, otherOperator := testkit.NewOperator(t), testkit.NewOperator(t)
	public, _ := testkit.NKey(t)
	_, nkey := testkit.NKey(t)
	open := filepath.Join(t.TempDir(), "open.pem")
	text, err := os.ReadFile(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(open, text, 0o644))
	require.NoError(t, os.Chmod(open, 0o644)) // whatever the umask

	withTLS := func(left time.Duration, verify bool) func(*testing.T) string {
		return external(func(o *natsserver.Options) { o.TLSConfig = ca.Server(left, verify) })
	}
	plain, withCreds := external(nil), external(operator.Apply)
	const config = "clerksync: the configuration cannot be used:\n  "
	for name, tt := range map[string]struct {
		url    func(t *testing.T) string
		flags  []string
		worker bool
		want   []string
		reader bool // what the error of a command that reads is too
	}{
		"a wrong password": {
			url:    external(func(o *natsserver.Options) { o.Username, o.Password = "app", "another" }),
			want:   []string{"connect to NATS: nats: Authorization Violation", "NATS refuses the user or the password of NATS_URL: correct them"},
			reader: true,
		},
		"credentials of another operator": {
			url: withCreds, flags: []string{"--nats-creds", otherOperator.Creds(time.Hour)},
			want: []string{"NATS refuses the credentials of CLERKSYNC_NATS_CREDS: are they of this server's operator"}, reader: true,
		},
		"expired credentials": {
			url: withCreds, flags: []string{"--nats-creds", operator.Creds(-time.Minute)},
			want: []string{config + "CLERKSYNC_NATS_CREDS: the credentials expired at 2", "; make new ones: nsc generate creds\n"}, reader: true,
		},
		"credentials that are none": {
			url: withCreds, flags: []string{"--nats-creds", key},
			want: []string{config + "CLERKSYNC_NATS_CREDS: not a credentials file: it has no user's JWT; make new ones: nsc generate creds\n"}, reader: true,
		},
		"an unknown nkey": {
			url:   external(func(o *natsserver.Options) { o.Nkeys = []*natsserver.NkeyUser{{Nkey: public}} }),
			flags: []string{"--nats-nkey", nkey},
			want:  []string{"NATS does not know the nkey of CLERKSYNC_NATS_NKEY: add its public key to the server's users"}, reader: true,
		},
		"an nkey that is none, beside credentials": {
			url: withCreds, flags: []string{"--nats-creds", operator.Creds(time.Hour), "--nats-nkey", key},
			want: []string{
				config + "CLERKSYNC_NATS_NKEY: set beside CLERKSYNC_NATS_CREDS, which has a key of its own; unset one of them\n",
				"  CLERKSYNC_NATS_NKEY: not the seed of a user's nkey, SU…; make one: nk -gen user\n",
			}, reader: true,
		},
		"an expired certificate of the server": {
			url: withTLS(-time.Minute, false), flags: []string{"--nats-ca", ca.File},
			want: []string{"certificate has expired", "renew the certificate of the NATS server, or correct the clock of this machine"}, reader: true,
		},
		"a server of another CA": {
			url: withTLS(time.Hour, false), flags: []string{"--nats-ca", other.File},
			want: []string{"certificate signed by unknown authority", "CLERKSYNC_NATS_CA names another CA than that of the server's certificate"}, reader: true,
		},
		"a server of a CA that the system does not know": {
			url:  withTLS(time.Hour, false),
			want: []string{"certificate signed by unknown authority", "set CLERKSYNC_NATS_CA to the file with the CA certificate of the server"}, reader: true,
		},
		"a server of another name": {
			url: func(t *testing.T) string {
				return strings.Replace(withTLS(time.Hour, false)(t), "127.0.0.1", "localhost", 1)
			},
			flags: []string{"--nats-ca", ca.File},
			want:  []string{"name the server in NATS_URL as its certificate does"}, reader: true,
		},
		"a server without TLS": {
			url: plain, flags: []string{"--nats-ca", ca.File},
			want: []string{"secure connection not available", "the server has no TLS, which tls:// in NATS_URL, CLERKSYNC_NATS_CA and CLERKSYNC_NATS_CERT ask for"}, reader: true,
		},
		"no client certificate": {
			url: withTLS(time.Hour, true), flags: []string{"--nats-ca", ca.File},
			want: []string{"the server asks for a client certificate: set CLERKSYNC_NATS_CERT and CLERKSYNC_NATS_KEY"}, reader: true,
		},
		"a client certificate of another CA": {
			url: withTLS(time.Hour, true), flags: []string{"--nats-ca", ca.File, "--nats-cert", otherCert, "--nats-key", otherKey},
			want: []string{"the server refuses the certificate of CLERKSYNC_NATS_CERT: is it signed by the server's CA, and not expired?"}, reader: true,
		},
		"an expired client certificate": {
			url: withTLS(time.Hour, true), flags: []string{"--nats-ca", ca.File, "--nats-cert", oldCert, "--nats-key", oldKey},
			want: []string{config + "CLERKSYNC_NATS_CERT: valid from 2", " only; replace it; "}, reader: true,
		},
		"a key of another certificate": {
			url: withTLS(time.Hour, true), flags: []string{"--nats-ca", ca.File, "--nats-cert", cert, "--nats-key", otherKey},
			want: []string{config + "CLERKSYNC_NATS_KEY: not the private key of the certificate in CLERKSYNC_NATS_CERT\n"}, reader: true,
		},
		"a certificate without its key": {
			url: plain, flags: []string{"--nats-cert", cert},
			want: []string{config + "CLERKSYNC_NATS_KEY: not set, and CLERKSYNC_NATS_CERT is; set both, or none\n"}, reader: true,
		},
		"a key that others may read": {
			url: plain, flags: []string{"--nats-cert", cert, "--nats-key", open},
			want: []string{config + "CLERKSYNC_NATS_KEY: other users may use " + open + " (mode 0644); chmod 0640 " + open + ", or 0600\n"}, reader: true,
		},
		"files that are not there, or are something else": {
			url: plain, flags: []string{"--nats-ca", key, "--nats-cert", open + "x", "--nats-key", key, "--nats-creds", open + "x", "--nats-domain", "a.b"},
			want: []string{
				"  CLERKSYNC_NATS_CREDS: " + open + "x cannot be read: no such file or directory\n",
				"  CLERKSYNC_NATS_CA: without a certificate in PEM\n",
				"  CLERKSYNC_NATS_CERT: " + open + "x cannot be read: no such file or directory\n",
				"  CLERKSYNC_NATS_DOMAIN: not a name of letters, digits, underscores and hyphens\n",
			}, reader: true,
		},
		"no JetStream": {
			url:  external(func(o *natsserver.Options) { o.JetStream, o.StoreDir = false, "" }),
			want: []string{"the NATS server has no JetStream; add jetstream {} to its configuration; if another server has it, CLERKSYNC_NATS_DOMAIN names that one's domain"}, reader: true,
		},
		"an account without JetStream": {
			url:  ofAccount(nil),
			want: []string{"JetStream is not enabled for the NATS account; enable it (jetstream: enabled, or nsc edit account), or name a user of another account in NATS_URL"}, reader: true,
		},
		"an unknown domain": {
			url: plain, flags: []string{"--nats-domain", "nowhere"},
			want: []string{"no JetStream answers in the domain nowhere; correct CLERKSYNC_NATS_DOMAIN"}, reader: true,
		},
		"a server that is too old": {
			url: ofOldServer, want: []string{" is too old; clerksync needs 2.12 or newer: upgrade the server"}, reader: true,
		},
		"an account with room for one stream": {
			url:  ofAccount(&natsserver.JetStreamAccountLimits{MaxStore: -1, MaxMemory: -1, MaxStreams: 1, MaxConsumers: -1}),
			want: []string{"create or update stream CLERK_DEAD: ", "maximum number of streams reached; the log needs two streams, CLERK_EVENTS and CLERK_DEAD"},
		},
		"an account with too little room": {
			url:   ofAccount(&natsserver.JetStreamAccountLimits{MaxStore: 1 << 20, MaxMemory: -1, MaxStreams: -1, MaxConsumers: -1}),
			flags: []string{"--log-max-bytes", "2000000"},
			want:  []string{"create or update stream CLERK_EVENTS: ", "CLERKSYNC_LOG_MAX_BYTES or CLERKSYNC_DEAD_MAX_BYTES asks for more than the server or the account has"},
		},
		"an account without room for a consumer": {
			url:    ofAccount(&natsserver.JetStreamAccountLimits{MaxStore: -1, MaxMemory: -1, MaxStreams: -1, MaxConsumers: 1}, stream("CLERK_EVENTS", "clerk.events.>"), consumer("CLERK_EVENTS")),
			worker: true,
			want:   []string{"create or update consumer projector: ", "maximum consumers limit reached; the worker needs one consumer"},
		},
		"more replicas than servers": {
			url: plain, flags: []string{"--log-replicas", "3"},
			want: []string{"CLERKSYNC_LOG_REPLICAS asks for more copies than there are servers with JetStream"},
		},
		"a stream of somebody else": {
			url:  permitted(nil, stream("CLERK_EVENTS", "orders.>")),
			want: []string{"stream CLERK_EVENTS is not clerksync's: its subjects are orders.>, and should be clerk.events.>; delete or rename that stream, or use another NATS account"},
		},
		"a stream that drops what was delivered": {
			url:  permitted(nil, stream("CLERK_EVENTS", "clerk.events.>", func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy })),
			want: []string{"create or update stream CLERK_EVENTS: ", "stream configuration update can not change retention policy to/from workqueue", "; JetStream cannot change this in place: export the events"},
		},
		"a stream that would lose events, and may not be changed": {
			url: permitted([]string{"$JS.API.STREAM.UPDATE.>"}, stream("CLERK_EVENTS", "clerk.events.>", func(c *jetstream.StreamConfig) {
				c.Discard, c.MaxAge, c.Retention = jetstream.DiscardOld, time.Hour, jetstream.InterestPolicy
			})),
			want: []string{
				"stream CLERK_EVENTS cannot be used as it is, and the NATS user may not change it: retention is Interest and should be Limits; discard is DiscardOld and should be DiscardNew; max age is 1h0m0s and should be no limit",
				"; change it: nats stream edit CLERK_EVENTS, or let the NATS user publish to $JS.API.STREAM.UPDATE.CLERK_EVENTS",
			},
		},
		"a consumer that loses events, and may not be changed": {
			url: permitted([]string{"$JS.API.CONSUMER.CREATE.>"},
				stream("CLERK_EVENTS", "clerk.events.>"), consumer("CLERK_EVENTS", func(c *jetstream.ConsumerConfig) { c.Durable, c.MaxDeliver = "projector", 5 })),
			worker: true,
			want: []string{
				"consumer projector cannot be used as it is, and the NATS user may not change it: ", "max deliver is 5 and should be no limit",
				"; change it: nats consumer edit CLERK_EVENTS projector, or let the NATS user publish to $JS.API.CONSUMER.CREATE.CLERK_EVENTS.>",
			},
		},
		"no stream, and none may be created": {
			url:  permitted([]string{"$JS.API.STREAM.CREATE.>"}),
			want: []string{"there is no stream CLERK_EVENTS, and the NATS user may not create it; create it (docs/configuration.md, NATS of your own), or let the user publish to $JS.API.STREAM.CREATE.CLERK_EVENTS"},
		},
		"no consumer, and none may be created": {
			url: permitted([]string{"$JS.API.CONSUMER.CREATE.>"}), worker: true,
			want: []string{"there is no consumer projector, and the NATS user may not create it; create it"},
		},
		"no permission to ask JetStream": {
			url:  permitted([]string{"$JS.API.INFO"}),
			want: []string{`Permissions Violation for Publish to "$JS.API.INFO"`, "let the NATS user publish to $JS.API.INFO"}, reader: true,
		},
		"no permission to read a stream": {
			url:  permitted([]string{"$JS.API.STREAM.INFO.*"}),
			want: []string{"let the NATS user publish to $JS.API.STREAM.INFO.CLERK_EVENTS"}, reader: true,
		},
		"no permission to store events": {
			url:  permitted([]string{"clerk.events.>"}),
			want: []string{"let the NATS user publish to clerk.events.>"},
		},
		"no permission to store dead letters": {
			url:  permitted([]string{"clerk.dead.>"}),
			want: []string{"let the NATS user publish to clerk.dead.>"},
		},
		"no permission to receive answers": {
			url: external(func(o *natsserver.Options) {
				o.Users = users(natsserver.Permissions{Subscribe: &natsserver.SubjectPermission{Deny: []string{"_INBOX.>"}}})
			}),
			want: []string{"let the NATS user subscribe to _INBOX.>"}, reader: true,
		},
		"no permission to be delivered events": {
			url: permitted([]string{"$JS.API.CONSUMER.MSG.NEXT.>"}), worker: true,
			want: []string{"let the NATS user publish to $JS.API.CONSUMER.MSG.NEXT.CLERK_EVENTS.projector"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := strings.Replace(tt.url(t), "://", "://app:app@", 1)
			run := func(args ...string) string {
				t.Helper()
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				var out, errs bytes.Buffer
				status := cli.Main(ctx, append(append(args, "--nats-url", url), tt.flags...), nil, &out, &errs)
				require.NoError(t, ctx.Err(), "it did not refuse to start: %s", errs.String())
				require.Equal(t, 1, status, errs.String())
				return errs.String()
			}
			role := []string{"--role", "receiver", "--signing-secret", markerSecret}
			if tt.worker {
				role = []string{"--role", "worker", "--database-url", testkit.DatabaseURL(t)}
			}
			printed := run(append([]string{"serve", "--addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"}, role...)...)
			for _, part := range tt.want {
				require.Contains(t, printed, part)
			}
			if tt.reader {
				printed = strings.ReplaceAll(run("events", "ls"), "\n  → ", "; ")
				for _, part := range tt.want {
					require.Contains(t, printed, part)
				}
			}
		})
	}
}

// external returns the start of a NATS server, which returns its URL.
func external(change func(*natsserver.Options)) func(t *testing.T) string {
	return func(t *testing.T) string { return testkit.ExternalNATS(t, change).ClientURL() }
}

// users are an administrator, and app.
func users(p natsserver.Permissions) []*natsserver.User {
	return []*natsserver.User{{Username: "admin", Password: "admin"}, {Username: "app", Password: "app", Permissions: &p}}
}

// permitted is external for a server that denies app to publish to subjects, on which the
// administrator has prepared something.
func permitted(denied []string, prepare ...func(*testing.T, jetstream.JetStream)) func(t *testing.T) string {
	return func(t *testing.T) string {
		s := testkit.ExternalNATS(t, func(o *natsserver.Options) {
			o.Users = users(natsserver.Permissions{Publish: &natsserver.SubjectPermission{Allow: []string{">"}, Deny: denied}})
		})
		prepared(t, s, prepare)
		return s.ClientURL()
	}
}

// ofAccount is external for a server that limits the JetStream of its account; without
// limits, the account has none.
func ofAccount(limits *natsserver.JetStreamAccountLimits, prepare ...func(*testing.T, jetstream.JetStream)) func(t *testing.T) string {
	return func(t *testing.T) string {
		s := testkit.ExternalNATS(t, func(o *natsserver.Options) {
			account := natsserver.NewAccount("APP")
			o.Accounts, o.Users = []*natsserver.Account{account}, users(natsserver.Permissions{})
			for _, u := range o.Users {
				u.Account, u.Permissions = account, nil
			}
		})
		if limits != nil {
			account, err := s.LookupAccount("APP")
			require.NoError(t, err)
			require.NoError(t, account.EnableJetStream(map[string]natsserver.JetStreamAccountLimits{"": *limits}, nil))
		}
		prepared(t, s, prepare)
		return s.ClientURL()
	}
}

func prepared(t *testing.T, s *natsserver.Server, prepare []func(*testing.T, jetstream.JetStream)) {
	t.Helper()
	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo("admin", "admin"))
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	for _, f := range prepare {
		f(t, js)
	}
}

func stream(name, subject string, change ...func(*jetstream.StreamConfig)) func(*testing.T, jetstream.JetStream) {
	return func(t *testing.T, js jetstream.JetStream) {
		c := jetstream.StreamConfig{Name: name, Subjects: []string{subject}}
		for _, f := range change {
			f(&c)
		}
		_, err := js.CreateStream(t.Context(), c)
		require.NoError(t, err)
	}
}

func consumer(stream string, change ...func(*jetstream.ConsumerConfig)) func(*testing.T, jetstream.JetStream) {
	return func(t *testing.T, js jetstream.JetStream) {
		c := jetstream.ConsumerConfig{Durable: "other", AckPolicy: jetstream.AckExplicitPolicy}
		for _, f := range change {
			f(&c)
		}
		_, err := js.CreateConsumer(t.Context(), stream, c)
		require.NoError(t, err)
	}
}

// ofOldServer starts a server whose JetStream answers as that of 2.11 does.
func ofOldServer(t *testing.T) string {
	url := external(func(o *natsserver.Options) { o.JetStream, o.StoreDir = false, "" })(t)
	nc, err := nats.Connect(url)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	answer, err := json.Marshal(jetstream.AccountInfo{API: jetstream.APIStats{Level: 1}})
	require.NoError(t, err)
	_, err = nc.Subscribe("$JS.API.INFO", func(msg *nats.Msg) { _ = msg.Respond(answer) })
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	return url
}
