package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/config"
)

const signingSecret = "whsec_b2YtdGhlLWVuZHBvaW50LW9mLWFub3RoZXI="

// publicKey was made for these tests; nobody has its private key.
const publicKey = `-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA6zrlz8HEPqTtqA1fCYND
a3DtggwTxqmFuwp8YG3FAex2iKXGpTkwroueAIAe0Lqyc7slSAisYVfFSpPgP4dF
fWjkW2MH+cE23n+bqRFvYOP5lIPhArTVQNgrFaOynyGsgDJvxawn+W1hGNpiAS2p
x8zVosiyOuhVV4FOBoF8rrbYzom3tJm9GKMulicyS6PMkuQNqbYFv85D3NbSFPEQ
TvtkfJw6jKXYtxPjI4uEjnj/86NRJ6wY4SnLGlH2oPcWX1s5BqE0w7QBEMnWXbY3
5PVCR6uSeg4xLPLuu9XgHS9gQJIeW0ExEc9lezeNQPRx6aJffX0sdeiLkUFnaDAh
uQIDAQAB
-----END PUBLIC KEY-----`

// usable is a configuration without a fault, for every role.
func usable() config.Config {
	c := config.Default()
	c.Database.URL = "postgres://user:hidden@db.internal:5432/app"
	c.SigningSecrets = []config.Secret{signingSecret}
	return c
}

var (
	both     = config.RoleReceiver | config.RoleWorker
	api      = config.RoleAPI
	receiver = config.RoleReceiver
	worker   = config.RoleWorker
)

func TestValidate(t *testing.T) {
	t.Parallel()
	const (
		badURL   = "DATABASE_URL: not of the form postgres://user:password@host:port/database"
		badNATS  = "NATS_URL: not of the form nats://host:port"
		noNATS   = "NATS_URL: not set; a receiver or a worker alone needs it: an embedded event log serves only its own process"
		badName  = "CLERKSYNC_SCHEMA: not a plain name of up to 63 letters, digits, underscores and hyphens"
		badAddr  = "CLERKSYNC_ADDR: not of the form host:port or :port"
		badAdmin = "CLERKSYNC_ADMIN_ADDR: not of the form host:port or :port"
		noToken  = "CLERKSYNC_ADMIN_TOKEN: not set, and CLERKSYNC_ADMIN_ADDR is beyond the loopback; make one: openssl rand -hex 24"
		badID    = "CLERK_INSTANCE_ID: not of the form ins_…; it is in the Clerk dashboard → Settings"
	)
	for _, test := range []struct {
		name   string
		roles  config.Roles
		change func(*config.Config)
		faults []string
	}{
		{name: "usable", roles: both},
		{name: "usable cluster", roles: both, change: func(c *config.Config) { c.NATSURL, c.Replicas = "nats://a:4222, nats://b:4222", 3 }},
		{name: "usable DSN", roles: both, change: func(c *config.Config) { c.Database.URL = "host=/run/postgresql dbname=app" }},
		{name: "usable other scheme", roles: both, change: func(c *config.Config) { c.Database.URL = "postgresql://db/app" }},
		{name: "usable instance", roles: both, change: func(c *config.Config) { c.InstanceID = "ins_2abc" }},
		{name: "usable limits", roles: both, change: func(c *config.Config) { c.Appliers, c.Batch, c.MaxAge = 64, 5000, time.Hour }},
		{name: "usable schema", roles: both, change: func(c *config.Config) { c.Schema = strings.Repeat("a", 63) }},
		{name: "a receiver needs no database", roles: receiver, change: func(c *config.Config) {
			c.NATSURL, c.Database.URL, c.Appliers, c.Batch = "nats://a:4222", "", 0, 0
		}},
		{name: "a worker needs nothing of the receiver's", roles: worker, change: func(c *config.Config) {
			c.NATSURL, c.Receiver = "nats://a:4222", config.Receiver{InstanceID: "x", StoreEvents: []string{"["}}
		}},

		{name: "no secret", roles: both, change: func(c *config.Config) { c.SigningSecrets = nil }, faults: []string{
			"CLERK_WEBHOOK_SIGNING_SECRET: not set; copy the secret from the Clerk dashboard → Webhooks → your endpoint",
		}},
		{name: "bad secrets", roles: both, change: func(c *config.Config) {
			c.SigningSecrets = []config.Secret{"hidden", signingSecret, "whsec_hidden!", "whsec_aGlkZGVu"}
		}, faults: []string{
			"CLERK_WEBHOOK_SIGNING_SECRET: secret 1: a signing secret begins with whsec_",
			"CLERK_WEBHOOK_SIGNING_SECRET: secret 3: what follows whsec_ is not base64: was it copied whole?",
			"CLERK_WEBHOOK_SIGNING_SECRET: secret 4: the signing secret has 6 bytes, at least 24 are needed: was it copied whole?",
		}},
		{name: "bad globs", roles: both, change: func(c *config.Config) { c.StoreEvents = []string{"user.*", "[", ""} }, faults: []string{
			`CLERKSYNC_STORE_EVENTS: not a glob of event types such as user.* or session.created: "["`,
			`CLERKSYNC_STORE_EVENTS: not a glob of event types such as user.* or session.created: ""`,
		}},
		{name: "bad address", roles: both, change: func(c *config.Config) { c.Receiver.Addr = "8080" }, faults: []string{badAddr}},
		{name: "bad admin address", roles: both, change: func(c *config.Config) { c.Admin.Addr = "" }, faults: []string{badAdmin}},
		{name: "usable admin address", roles: both, change: func(c *config.Config) { c.Admin.Addr = "localhost:8081" }},
		{name: "usable admin address of IPv6", roles: both, change: func(c *config.Config) { c.Admin.Addr = "[::1]:8081" }},
		{name: "a short token on the loopback", roles: both, change: func(c *config.Config) { c.Admin.Addr, c.Admin.Token = "127.8.9.10:1", "hidden" }},
		{name: "a token beyond the loopback", roles: both, change: func(c *config.Config) { c.Admin.Addr, c.Admin.Token = ":8081", "0123456789abcdef" }},
		{name: "no token beyond the loopback", roles: receiver, change: func(c *config.Config) {
			c.NATSURL, c.Admin.Addr = "nats://a:4222", "10.0.0.5:8081"
		}, faults: []string{noToken}},
		{name: "no token on all interfaces", roles: both, change: func(c *config.Config) { c.Admin.Addr = ":8081" }, faults: []string{noToken}},
		{name: "no token under a name", roles: both, change: func(c *config.Config) { c.Admin.Addr = "admin.internal:8081" }, faults: []string{noToken}},
		{name: "a short token beyond the loopback", roles: both, change: func(c *config.Config) {
			c.Admin.Addr, c.Admin.Token = "0.0.0.0:8081", "hidden-as-it-is"
		}, faults: []string{
			"CLERKSYNC_ADMIN_TOKEN: shorter than 16 characters, and CLERKSYNC_ADMIN_ADDR is beyond the loopback; make one: openssl rand -hex 24",
		}},
		{name: "bad instance", roles: both, change: func(c *config.Config) { c.InstanceID = "production" }, faults: []string{badID}},
		{name: "bad instance token", roles: both, change: func(c *config.Config) { c.InstanceID = "ins_a.b" }, faults: []string{badID}},

		{name: "usable probe", roles: both, change: func(c *config.Config) {
			c.ProbeURL, c.ProbeEvery = "https://public.example/api/webhooks/clerk", 10*time.Second
		}},
		{name: "bad probe", roles: both, change: func(c *config.Config) {
			c.ProbeURL, c.ProbeEvery = "hidden.example/api/webhooks/clerk", 9*time.Second
		}, faults: []string{
			"CLERKSYNC_PROBE_URL: not of the form https://host/api/webhooks/clerk",
			"CLERKSYNC_PROBE_EVERY: 9s is less than 10s; every probe is kept in the event log",
		}},
		{name: "a probe with a password", roles: both, change: func(c *config.Config) {
			c.ProbeURL, c.ProbeEvery = "https://me:hidden@public.example/", time.Minute
		}, faults: []string{"CLERKSYNC_PROBE_URL: there is a user or a password in it, which Svix does not send"}},
		{name: "no probe", roles: both, change: func(c *config.Config) { c.ProbeEvery = 1 }},
		{name: "a worker does not probe", roles: worker, change: func(c *config.Config) { c.NATSURL, c.ProbeURL = "nats://a:4222", "x" }},

		{name: "no database", roles: both, change: func(c *config.Config) { c.Database.URL = "" }, faults: []string{
			"DATABASE_URL: not set; postgres://user:password@host:port/database",
		}},
		{name: "other database", roles: both, change: func(c *config.Config) { c.Database.URL = "mysql://user:hidden@db/app" }, faults: []string{badURL}},
		{name: "bad database", roles: both, change: func(c *config.Config) { c.Database.URL = "postgres://user:hidden@d b/app" }, faults: []string{badURL}},
		{name: "bad schema", roles: both, change: func(c *config.Config) { c.Schema = "my schema" }, faults: []string{badName}},
		{name: "no schema", roles: both, change: func(c *config.Config) { c.Schema = "" }, faults: []string{badName}},
		{name: "long schema", roles: both, change: func(c *config.Config) { c.Schema = strings.Repeat("a", 64) }, faults: []string{badName}},
		{name: "no appliers", roles: both, change: func(c *config.Config) { c.Appliers = 0 }, faults: []string{"CLERKSYNC_APPLIERS: 0 is not between 1 and 64"}},
		{name: "many appliers", roles: both, change: func(c *config.Config) { c.Appliers = 65 }, faults: []string{"CLERKSYNC_APPLIERS: 65 is not between 1 and 64"}},
		{name: "no batch", roles: both, change: func(c *config.Config) { c.Batch = 0 }, faults: []string{"CLERKSYNC_BATCH: 0 is not between 1 and 5000"}},
		{name: "large batch", roles: both, change: func(c *config.Config) { c.Batch = 5001 }, faults: []string{"CLERKSYNC_BATCH: 5001 is not between 1 and 5000"}},

		{name: "reconcile", roles: both, change: func(c *config.Config) { c.ReconcileEvery, c.SecretKey = 10*time.Minute, "sk_test_abc" }},
		{name: "reconcile without a key", roles: both, change: func(c *config.Config) { c.ReconcileEvery = time.Minute }, faults: []string{
			"CLERKSYNC_RECONCILE_EVERY: 1m0s is less than 10m0s; every run reads everything that Clerk has",
			"CLERK_SECRET_KEY: not set; CLERKSYNC_RECONCILE_EVERY needs it; copy it from the Clerk dashboard → API keys",
		}},
		{name: "a receiver does not reconcile", roles: config.RoleReceiver, change: func(c *config.Config) { c.NATSURL, c.ReconcileEvery = "nats://a:4222", 1 }},

		{name: "bad NATS", roles: both, change: func(c *config.Config) { c.NATSURL = "localhost:4222" }, faults: []string{badNATS}},
		{name: "one bad NATS", roles: both, change: func(c *config.Config) { c.NATSURL = "nats://a:4222,nats://user:hidden@b c" }, faults: []string{badNATS}},
		{name: "two copies", roles: both, change: func(c *config.Config) { c.NATSURL, c.Replicas = "nats://a:4222", 2 }, faults: []string{
			"CLERKSYNC_LOG_REPLICAS: 2 is not 1, 3 or 5",
		}},
		{name: "copies of an embedded log", roles: both, change: func(c *config.Config) { c.Replicas = 3 }, faults: []string{
			"CLERKSYNC_LOG_REPLICAS: 3 copies need a NATS cluster; set NATS_URL",
		}},
		{name: "settings of NATS without NATS", roles: both, change: func(c *config.Config) {
			c.NATSAccess = config.NATSAccess{NATSCreds: "a", NATSNKey: "a", NATSCA: "a", NATSCert: "a", NATSKey: "a", NATSDomain: "a"}
			c.Cluster, c.Tags, c.Compression = "a", []string{"a"}, "s2"
		}, faults: []string{
			"CLERKSYNC_NATS_CREDS: set, and NATS_URL is not; set NATS_URL too",
			"CLERKSYNC_NATS_NKEY: set, and NATS_URL is not; set NATS_URL too",
			"CLERKSYNC_NATS_CA: set, and NATS_URL is not; set NATS_URL too",
			"CLERKSYNC_NATS_CERT: set, and NATS_URL is not; set NATS_URL too",
			"CLERKSYNC_NATS_KEY: set, and NATS_URL is not; set NATS_URL too",
			"CLERKSYNC_NATS_DOMAIN: set, and NATS_URL is not; set NATS_URL too",
			"CLERKSYNC_LOG_CLUSTER: set, and NATS_URL is not; set NATS_URL too",
			"CLERKSYNC_LOG_TAGS: set, and NATS_URL is not; set NATS_URL too",
			"CLERKSYNC_LOG_COMPRESSION: set, and NATS_URL is not; set NATS_URL too",
		}},
		{name: "bad compression", roles: both, change: func(c *config.Config) { c.NATSURL, c.Compression = "nats://a:4222", "zstd" }, faults: []string{
			"CLERKSYNC_LOG_COMPRESSION: not none or s2",
		}},
		{name: "short age", roles: both, change: func(c *config.Config) { c.MaxAge = 59 * time.Minute }, faults: []string{
			"CLERKSYNC_LOG_MAX_AGE: 59m0s is less than an hour; Svix alone retries for 28",
		}},
		{name: "negative size", roles: both, change: func(c *config.Config) { c.MaxBytes = -1 }, faults: []string{"CLERKSYNC_LOG_MAX_BYTES: -1 is negative"}},

		{name: "short age of dead letters", roles: both, change: func(c *config.Config) { c.DeadMaxAge = time.Minute }, faults: []string{
			"CLERKSYNC_DEAD_MAX_AGE: 1m0s is less than an hour: too short to notice them",
		}},
		{name: "negative size of dead letters", roles: both, change: func(c *config.Config) { c.DeadMaxBytes = -1 }, faults: []string{
			"CLERKSYNC_DEAD_MAX_BYTES: -1 is negative",
		}},
		{name: "negative patience", roles: both, change: func(c *config.Config) { c.EraseAfter = -1 }, faults: []string{
			"CLERKSYNC_ERASE_AFTER: -1ns is negative; 0s is at once",
		}},

		{name: "usable alerts", roles: both, change: func(c *config.Config) {
			c.AlertURL, c.AlertSecret = "https://hooks.slack.com/services/T0/B0/hidden", signingSecret
		}},
		{name: "bad alerts", roles: both, change: func(c *config.Config) {
			c.AlertURL, c.AlertSecret = "hooks.slack.com/services/hidden", "hidden"
		}, faults: []string{
			"CLERKSYNC_ALERT_URL: not of the form https://host/path",
			"CLERKSYNC_ALERT_SECRET: a signing secret begins with whsec_",
		}},

		{name: "usable key", roles: config.AllRoles, change: func(c *config.Config) { c.JWTKey = publicKey }},
		{name: "usable issuer", roles: config.AllRoles, change: func(c *config.Config) { c.FrontendAPIURL = "https://app.example/__clerk/" }},
		{name: "usable issuer on this machine", roles: api, change: func(c *config.Config) { c.FrontendAPIURL = "http://127.0.0.1:4000" }},
		{name: "usable publishable key", roles: api, change: func(c *config.Config) { c.PublishableKey = "pk_live_Y2xlcmsuYXBwLmV4YW1wbGUk" }},
		{name: "usable parties and audiences", roles: api, change: func(c *config.Config) {
			c.JWTKey, c.AuthorizedParties = publicKey, []string{"https://app.example", " http://localhost:3000", "chrome-extension://abcdefgh", "none", ""}
			c.Audiences = []string{"orders", "https://api.example/v1", ""}
		}},
		{name: "the API needs neither a secret nor NATS", roles: api, change: func(c *config.Config) {
			c.JWTKey, c.SigningSecrets, c.Appliers = publicKey, nil, 0
		}},
		{name: "only the API verifies tokens", roles: both, change: func(c *config.Config) { c.Tokens = config.Tokens{JWTKey: "x", Audiences: []string{"a b"}} }},
		{name: "an API without anything", roles: api, change: func(c *config.Config) { c.Database.URL, c.Receiver.Addr = "", "8080" }, faults: []string{
			"CLERK_JWT_KEY: not set; the role api needs it, CLERK_FRONTEND_API_URL or CLERK_PUBLISHABLE_KEY to verify tokens (Clerk dashboard → API keys)",
			badAddr, "DATABASE_URL: not set; postgres://user:password@host:port/database",
		}},
		{name: "an API and a receiver", roles: api | receiver, change: func(c *config.Config) { c.JWTKey = publicKey }, faults: []string{noNATS}},
		{name: "bad tokens", roles: api, change: func(c *config.Config) {
			c.Tokens = config.Tokens{
				JWTKey: "sk_live_hidden", FrontendAPIURL: "clerk.app.example", PublishableKey: "pk_live_hidden",
				AuthorizedParties: []string{"app.example", "https://app.example/"}, Audiences: []string{"a b", strings.Repeat("a", 201)},
			}
		}, faults: []string{
			"CLERK_JWT_KEY: not a public key in PEM: was it copied whole? It is the key itself, not the name of a file, and is in the Clerk dashboard → API keys",
			"CLERK_FRONTEND_API_URL: not of the form https://clerk.example.com; it is in the Clerk dashboard → API keys",
			"CLERK_PUBLISHABLE_KEY: not of the form pk_live_… or pk_test_…, which contains the host of the Frontend API; it is in the Clerk dashboard → API keys",
			`CLERK_AUTHORIZED_PARTIES: "app.example" is not an origin such as https://app.example.com, in lower case and without a path, or none`,
			`CLERK_AUTHORIZED_PARTIES: "https://app.example/" is not an origin such as https://app.example.com, in lower case and without a path, or none`,
			`CLERK_AUDIENCE: "a b" has characters other than those of ASCII that can be seen`,
			"CLERK_AUDIENCE: longer than 200 characters",
		}},
		{name: "keys that anyone could replace", roles: api, change: func(c *config.Config) { c.FrontendAPIURL = "http://clerk.app.example" }, faults: []string{
			"CLERK_FRONTEND_API_URL: http:// would let anyone on the way replace the keys: only the loopback may have it",
		}},

		{name: "a receiver alone", roles: receiver, faults: []string{noNATS}},
		{name: "a worker alone", roles: worker, faults: []string{noNATS}},
		{name: "several at once", roles: both, change: func(c *config.Config) {
			c.Receiver.Addr, c.Admin.Addr, c.Schema, c.NATSURL, c.Database.URL = "x", "y", "a b", "z", "mysql://user:hidden@db/app"
		}, faults: []string{badAddr, badURL, badName, badNATS, badAdmin}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := usable()
			if test.change != nil {
				test.change(&c)
			}
			err := c.Validate(test.roles)
			if test.faults == nil {
				require.NoError(t, err)
				return
			}
			var faults config.Faults
			require.ErrorAs(t, err, &faults)
			require.Equal(t, test.faults, texts(faults))
			require.EqualError(t, err, "the configuration cannot be used:\n  "+strings.Join(test.faults, "\n  "))
			require.NotContains(t, err.Error(), "hidden")
		})
	}
}

// TestIssuer: the Frontend API is known from its URL, or else from the publishable key.
func TestIssuer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		url, key, issuer string
	}{
		{"", "", ""},
		{"https://clerk.app.example/", "", "https://clerk.app.example"},
		{"https://app.example/__clerk", "pk_live_Y2xlcmsuYXBwLmV4YW1wbGUk", "https://app.example/__clerk"},
		{"", "pk_live_Y2xlcmsuYXBwLmV4YW1wbGUk", "https://clerk.app.example"},
		{"", "pk_test_a2VlbgkuY2xlcmsk", ""}, // a control character
		{"", "pk_test_a2Vlbi1mb3gtMS5jbGVyay5hY2NvdW50cy5kZXYk", "https://keen-fox-1.clerk.accounts.dev"},
		{"", "pk_test_a2Vlbi1mb3gtMS5jbGVyay5hY2NvdW50cy5kZXYk==", "https://keen-fox-1.clerk.accounts.dev"},
		{"", "sk_test_a2Vlbi1mb3gtMS5jbGVyay5hY2NvdW50cy5kZXYk", ""},
		{"", "pk_live_Y2xlcmsuYXBwLmV4YW1wbGU", ""},         // without the $ at its end
		{"", "pk_live_Y2xlcmsuYXBwLmV4YW1wbGUvcGF0aCQ", ""}, // with a path
		{"", "pk_live_JA", ""}, // nothing but $
	} {
		tokens := config.Tokens{FrontendAPIURL: test.url, PublishableKey: test.key}
		require.Equal(t, test.issuer, tokens.TokenOptions().Issuer, "%s %s", test.url, test.key)
	}
}

// TestListsOfTokens: the variable of compose.yaml is there and empty when nothing sets it.
func TestListsOfTokens(t *testing.T) {
	t.Parallel()
	tokens := config.Tokens{AuthorizedParties: []string{""}, Audiences: []string{" orders ", ""}}
	require.Empty(t, tokens.TokenOptions().AuthorizedParties)
	require.Equal(t, []string{"orders"}, tokens.TokenOptions().Audiences)
}

// TestEveryRole: the API is one of all roles when tokens can be verified.
func TestEveryRole(t *testing.T) {
	t.Parallel()
	c := usable()
	require.Equal(t, both, c.EveryRole())
	for _, tokens := range []config.Tokens{{JWTKey: "x"}, {FrontendAPIURL: "x"}, {PublishableKey: "x"}} {
		c.Tokens = tokens
		require.Equal(t, config.AllRoles, c.EveryRole())
	}
}

func TestCheckSet(t *testing.T) {
	t.Parallel()
	c := usable()
	require.Empty(t, c.CheckSet())
	c.SigningSecrets, c.Database.URL = nil, ""
	require.Empty(t, c.CheckSet(), "what is not set is not missed")
	c.SigningSecrets, c.NATSURL = []config.Secret{"whsec_aGlkZGVu"}, "localhost:4222"
	require.Equal(t, []string{
		"CLERK_WEBHOOK_SIGNING_SECRET: secret 1: the signing secret has 6 bytes, at least 24 are needed: was it copied whole?",
		"NATS_URL: not of the form nats://host:port",
	}, texts(c.CheckSet()))
}

func texts(faults config.Faults) []string {
	var all []string
	for _, f := range faults {
		all = append(all, f.String())
	}
	return all
}

// TestShortAge: shorter than Svix retries.
func TestShortAge(t *testing.T) {
	t.Parallel()
	require.Empty(t, config.ShortAge(28*time.Hour))
	require.Equal(t, "CLERKSYNC_LOG_MAX_AGE is 27h0m0s, and Svix retries a delivery for 28 h: a replay cannot reach back over a long outage", config.ShortAge(27*time.Hour))
}

func TestSourceSettings(t *testing.T) {
	t.Parallel()
	for key, ok := range map[string]bool{
		"sk_live_abc": true, "sk_test_abc": true, "sk_live_": false, "pk_live_abc": false, "whsec_abc": false, "sk_live_a b": false,
	} {
		err := config.CheckSecretKey(config.Secret(key))
		require.Equal(t, ok, err == nil, key)
		if err != nil {
			require.EqualError(t, err, "not of the form sk_live_… or sk_test_…; it is in the Clerk dashboard → API keys")
		}
	}
	for address, ok := range map[string]bool{
		"https://api.clerk.com": true, "http://127.0.0.1:4000": true, "http://localhost:4000/": true, "http://[::1]:1": true,
		"http://api.clerk.com": false, "api.clerk.com": false, "": false, "https://user:secret@api.clerk.com": false, "ftp://localhost": false, "https://a?b=c": false,
	} {
		require.Equal(t, ok, config.CheckAPIURL(address) == nil, address)
	}
}
