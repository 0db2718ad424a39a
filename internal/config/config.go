package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/signing"
)

// Database names the database with the rows.
type Database struct {
	URL    Secret `name:"database-url" env:"DATABASE_URL" placeholder:"URL" help:"PostgreSQL, postgres://user:password@host:port/database."`
	Schema string `name:"schema" env:"CLERKSYNC_SCHEMA" default:"${schema}" help:"Schema of the tables."`
}

// Log configures the event log.
type Log struct {
	NATSURL      Secret `name:"nats-url" env:"NATS_URL" placeholder:"URL" help:"NATS server or cluster with JetStream, comma-separated. Without it, JetStream runs in this process and keeps its files in the data folder."`
	NATSAccess   `embed:""`
	Replicas     int           `name:"log-replicas" env:"CLERKSYNC_LOG_REPLICAS" default:"${log_replicas}" help:"Replicas of the streams in a NATS cluster: 1, 3 or 5."`
	Cluster      string        `name:"log-cluster" env:"CLERKSYNC_LOG_CLUSTER" placeholder:"NAME" help:"NATS cluster that keeps the streams, of a supercluster."`
	Tags         []string      `name:"log-tags" env:"CLERKSYNC_LOG_TAGS" sep:"," placeholder:"TAG" help:"Tags of the NATS servers that keep the streams, comma-separated."`
	Compression  string        `name:"log-compression" env:"CLERKSYNC_LOG_COMPRESSION" placeholder:"none|s2" help:"Compression of the streams' files on the NATS server: none, or s2. Without it, that of an existing stream stays."`
	MaxAge       time.Duration `name:"log-max-age" env:"CLERKSYNC_LOG_MAX_AGE" default:"${log_max_age}" help:"How long applied events are kept; the default is ${log_max_age_days} days. What is not applied is kept until it is."`
	MaxBytes     int64         `name:"log-max-bytes" env:"CLERKSYNC_LOG_MAX_BYTES" help:"Size limit of the event log. When it is full, webhooks are answered with 503 and Svix retries. 0: as much as the disk holds."`
	DeadMaxAge   time.Duration `name:"dead-max-age" env:"CLERKSYNC_DEAD_MAX_AGE" default:"${dead_max_age}" help:"How long dead letters are kept."`
	DeadMaxBytes int64         `name:"dead-max-bytes" env:"CLERKSYNC_DEAD_MAX_BYTES" help:"Size limit of the dead letters. When it is reached, an event that can never be applied blocks the log. 0: as much as the disk holds."`
}

// Receiver configures the webhook endpoint.
type Receiver struct {
	SigningSecrets []Secret `name:"signing-secret" env:"CLERK_WEBHOOK_SIGNING_SECRET" sep:"," placeholder:"WHSEC" help:"Signing secret of the endpoint (Clerk dashboard → Webhooks → your endpoint). During a rotation, both secrets, comma-separated."`
	InstanceID     string   `name:"instance-id" env:"CLERK_INSTANCE_ID" placeholder:"INS" help:"Accept only events of this Clerk instance, ins_…, and park others."`
	StoreEvents    []string `name:"store-events" env:"CLERKSYNC_STORE_EVENTS" sep:"," default:"${store_events}" help:"Types of events to store, as globs. A star does not cover e-mails and text messages, which carry one-time codes: name email.* and sms.* explicitly."`
	Addr           string   `name:"addr" env:"CLERKSYNC_ADDR" default:"${addr}" help:"Address of the public listener."`

	SilentAfter time.Duration `name:"silent-after" env:"CLERKSYNC_SILENT_AFTER" placeholder:"DURATION" help:"Time without an event after which the verdict is silent. 0: learned from the log, and 24 hours until it holds 20 events and a week of them."`

	ProbeURL   string        `name:"probe-url" env:"CLERKSYNC_PROBE_URL" placeholder:"URL" help:"Public URL of the endpoint, to send a signed probe through it periodically and report it in /metrics. Without it, no probes."`
	ProbeEvery time.Duration `name:"probe-every" env:"CLERKSYNC_PROBE_EVERY" default:"${probe_every}" help:"Interval between probes."`
}

// Worker configures the projector.
type Worker struct {
	Appliers int `name:"appliers" env:"CLERKSYNC_APPLIERS" default:"${appliers}" help:"Batches that are applied concurrently."`
	Batch    int `name:"batch" env:"CLERKSYNC_BATCH" default:"${batch}" help:"Most events in one transaction."`

	EraseAfter time.Duration `name:"erase-after" env:"CLERKSYNC_ERASE_AFTER" default:"${erase_after}" help:"How long the events of a deleted user are kept, so that the delete can be restored; the default is ${erase_after_days} days. 0s: erase at once."`

	ReconcileEvery time.Duration `name:"reconcile-every" env:"CLERKSYNC_RECONCILE_EVERY" placeholder:"DURATION" help:"Interval at which one of the workers compares the tables with Clerk's Backend API and repairs what differs, 10 minutes at least. 0: never."`
}

// Admin configures the listener for operators.
type Admin struct {
	Addr  string `name:"admin-addr" env:"CLERKSYNC_ADMIN_ADDR" default:"${admin_addr}" help:"Address of the admin listener: dashboard, /lag, /metrics, /healthz, /readyz."`
	Token Secret `name:"admin-token" env:"CLERKSYNC_ADMIN_TOKEN" placeholder:"TOKEN" help:"Token for everything on the admin listener but health, of at least 16 characters beyond the loopback, where it is required."`
}

// Loopback reports whether the listener is on the loopback.
func (a Admin) Loopback() bool {
	host, _, _ := net.SplitHostPort(a.Addr)
	return isLoopback(host)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// Source configures the access to Clerk's Backend API.
type Source struct {
	SecretKey Secret `name:"secret-key" env:"CLERK_SECRET_KEY" placeholder:"SK" help:"Secret key of the Clerk instance (Clerk dashboard → API keys), sk_live_… or sk_test_…."`
	APIURL    string `name:"api-url" env:"CLERK_API_URL" default:"${api_url}" placeholder:"URL" help:"Clerk's Backend API, without /v1."`
}

// Alerts configures where a change of the verdict is sent.
type Alerts struct {
	AlertURL    Secret `name:"alert-url" env:"CLERKSYNC_ALERT_URL" placeholder:"URL" help:"URL that gets a POST when the verdict has changed for a minute; an incoming webhook of Slack as well. Set it on one process. Without it, no alerts."`
	AlertSecret Secret `name:"alert-secret" env:"CLERKSYNC_ALERT_SECRET" placeholder:"WHSEC" help:"Secret to sign alerts with, whsec_…, by Standard Webhooks. Without it, they are not signed."`
}

// Tracing configures the export of traces. The variables are OpenTelemetry's; its SDK
// reads the others itself.
type Tracing struct {
	OTLPEndpoint       string `name:"otlp-endpoint" env:"OTEL_EXPORTER_OTLP_ENDPOINT" placeholder:"URL" help:"OpenTelemetry collector for traces over HTTP, http://host:4318. Without it, nothing is traced."`
	OTLPTracesEndpoint string `name:"otlp-traces-endpoint" env:"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" placeholder:"URL" help:"The same for traces alone, with the path: http://host:4318/v1/traces."`
	OTelDisabled       bool   `name:"otel-sdk-disabled" env:"OTEL_SDK_DISABLED" help:"Trace nothing."`
}

// TracesURL returns the URL that traces are posted to, "" when nothing is traced.
func (t Tracing) TracesURL() string {
	switch {
	case t.OTelDisabled:
		return ""
	case t.OTLPTracesEndpoint != "" || t.OTLPEndpoint == "":
		return t.OTLPTracesEndpoint
	}
	joined, _ := url.JoinPath(t.OTLPEndpoint, "v1/traces") // validated
	return joined
}

// Config is the configuration of a running clerksync.
type Config struct {
	Database `embed:"" group:"PostgreSQL"`
	Log      `embed:"" group:"Event log"`
	Receiver `embed:"" group:"Receiver"`
	Worker   `embed:"" group:"Worker"`
	Admin    `embed:"" prefix:"" group:"Admin"`
	Source   `embed:"" group:"Clerk Backend API"`
	Tokens   `embed:"" group:"Session tokens"`
	Alerts   `embed:"" group:"Alerts"`
	Tracing  `embed:"" group:"Traces"`
	DataDir  string `name:"data-dir" env:"CLERKSYNC_DATA_DIR" default:"${data_dir}" type:"path" help:"Folder for the files that clerksync itself keeps."`
}

// Roles is the set of roles of one process.
type Roles uint8

// The roles.
const (
	RoleReceiver Roles = 1 << iota // the webhook endpoint
	RoleWorker                     // applies events
	RoleAPI                        // the directory API

	AllRoles = RoleReceiver | RoleWorker | RoleAPI
)

// EveryRole returns the roles of a process that has them all: the API is among them when
// tokens can be verified.
func (c *Config) EveryRole() Roles {
	if c.VerifiesTokens() {
		return AllRoles
	}
	return AllRoles &^ RoleAPI
}

// Has reports whether the set has any of the given roles.
func (r Roles) Has(role Roles) bool { return r&role != 0 }

// Fault is one fault of a configuration.
type Fault struct {
	Variable string // environment variable of the setting
	Missing  bool   // required and not set
	Text     string // never a secret
	Hint     string // the next step, or ""
}

func (f Fault) String() string {
	text := f.Variable + ": " + f.Text
	if f.Hint != "" {
		text += "; " + f.Hint
	}
	return text
}

// Faults are all faults of a configuration.
type Faults []Fault

func (f Faults) Error() string {
	var b strings.Builder
	b.WriteString("the configuration cannot be used:")
	for _, fault := range f {
		b.WriteString("\n  " + fault.String())
	}
	return b.String()
}

// Validate returns all faults for the given roles, as [Faults].
func (c *Config) Validate(roles Roles) error {
	v := &validation{}
	if roles.Has(RoleReceiver) {
		v.receiver(c)
	}
	if roles.Has(RoleWorker) {
		v.worker(c)
	}
	if roles.Has(RoleAPI) {
		v.api(c)
	}
	if roles.Has(RoleReceiver | RoleAPI) {
		v.check("CLERKSYNC_ADDR", checkAddr(c.Receiver.Addr))
	}
	v.database(c, roles)
	v.log(c, roles)
	v.source(c)
	v.alerts(c)
	v.tracing(c)
	v.admin(c)
	if len(v.faults) > 0 {
		return v.faults
	}
	return nil
}

// CheckSet returns the faults of the settings that are set. A missing one is no fault: the
// process that a command inspects may have more settings.
func (c *Config) CheckSet() Faults {
	faults, _ := errors.AsType[Faults](c.Validate(AllRoles))
	return slices.DeleteFunc(faults, func(f Fault) bool { return f.Missing })
}

// validation collects faults.
type validation struct{ faults Faults }

func (v *validation) fault(variable, text, hint string) {
	v.faults = append(v.faults, Fault{Variable: variable, Text: text, Hint: hint})
}

func (v *validation) missing(variable, hint string) {
	v.faults = append(v.faults, Fault{variable, true, "not set", hint})
}

// check adds the fault that a check found, if any.
func (v *validation) check(variable string, err error) {
	if err != nil {
		v.fault(variable, err.Error(), "")
	}
}

func (v *validation) receiver(c *Config) {
	if len(c.SigningSecrets) == 0 {
		v.missing("CLERK_WEBHOOK_SIGNING_SECRET", "copy the secret from the Clerk dashboard → Webhooks → your endpoint")
	}
	for i, s := range c.SigningSecrets {
		if err := signing.CheckSecret(s.Reveal()); err != nil {
			v.fault("CLERK_WEBHOOK_SIGNING_SECRET", fmt.Sprintf("secret %d: %v", i+1, err), "")
		}
	}
	for _, glob := range c.StoreEvents {
		v.check("CLERKSYNC_STORE_EVENTS", clerk.CheckGlob(glob))
	}
	v.check("CLERK_INSTANCE_ID", CheckInstanceID(c.InstanceID))
	if c.SilentAfter < 0 {
		v.fault("CLERKSYNC_SILENT_AFTER", fmt.Sprintf("%s is negative", c.SilentAfter), "0 has it learned")
	}
	if c.ProbeURL == "" {
		return
	}
	v.check("CLERKSYNC_PROBE_URL", signing.CheckURL(c.ProbeURL))
	if c.ProbeEvery < minProbeEvery {
		v.fault("CLERKSYNC_PROBE_EVERY", fmt.Sprintf("%s is less than %s", c.ProbeEvery, minProbeEvery), "every probe is kept in the event log")
	}
}

func (v *validation) worker(c *Config) {
	v.check("CLERKSYNC_APPLIERS", CheckAppliers(c.Appliers))
	v.check("CLERKSYNC_BATCH", CheckBatch(c.Batch))
	if c.EraseAfter < 0 {
		v.fault("CLERKSYNC_ERASE_AFTER", fmt.Sprintf("%s is negative", c.EraseAfter), "0s is at once")
	}
	if c.ReconcileEvery == 0 {
		return
	}
	if c.ReconcileEvery < minReconcileEvery {
		v.fault("CLERKSYNC_RECONCILE_EVERY", fmt.Sprintf("%s is less than %s", c.ReconcileEvery, minReconcileEvery), "every run reads everything that Clerk has")
	}
	if c.SecretKey == "" {
		v.missing("CLERK_SECRET_KEY", "CLERKSYNC_RECONCILE_EVERY needs it; copy it from the Clerk dashboard → API keys")
	}
}

func (v *validation) database(c *Config, roles Roles) {
	if c.Database.URL == "" && roles.Has(RoleWorker|RoleAPI) {
		v.missing("DATABASE_URL", "postgres://user:password@host:port/database")
	}
	if u := c.Database.URL.Reveal(); u != "" && strings.Contains(u, "://") {
		if parsed, err := url.Parse(u); err != nil || (parsed.Scheme != "postgres" && parsed.Scheme != "postgresql") {
			v.fault("DATABASE_URL", "not of the form postgres://user:password@host:port/database", "")
		}
	}
	if !clerk.ValidToken(c.Schema) || len(c.Schema) > maxSchema {
		v.fault("CLERKSYNC_SCHEMA", fmt.Sprintf("not a plain name of up to %d letters, digits, underscores and hyphens", maxSchema), "")
	}
}

func (v *validation) log(c *Config, roles Roles) {
	v.check("NATS_URL", CheckNATSURL(c.NATSURL))
	if c.NATSURL == "" && roles.Has(RoleReceiver) != roles.Has(RoleWorker) {
		v.missing("NATS_URL", "a receiver or a worker alone needs it: an embedded event log serves only its own process")
	}
	if r := c.Replicas; r != 1 && r != 3 && r != 5 {
		v.fault("CLERKSYNC_LOG_REPLICAS", fmt.Sprintf("%d is not 1, 3 or 5", r), "")
	} else if r > 1 && c.NATSURL == "" {
		v.fault("CLERKSYNC_LOG_REPLICAS", fmt.Sprintf("%d copies need a NATS cluster", r), "set NATS_URL")
	}
	if c.Compression != "" && c.Compression != "none" && c.Compression != "s2" {
		v.fault("CLERKSYNC_LOG_COMPRESSION", "not none or s2", "")
	}
	if c.NATSURL == "" {
		for _, set := range []struct {
			variable string
			is       bool
		}{
			{"CLERKSYNC_NATS_CREDS", c.NATSCreds != ""},
			{"CLERKSYNC_NATS_NKEY", c.NATSNKey != ""},
			{"CLERKSYNC_NATS_CA", c.NATSCA != ""},
			{"CLERKSYNC_NATS_CERT", c.NATSCert != ""},
			{"CLERKSYNC_NATS_KEY", c.NATSKey != ""},
			{"CLERKSYNC_NATS_DOMAIN", c.NATSDomain != ""},
			{"CLERKSYNC_LOG_CLUSTER", c.Cluster != ""},
			{"CLERKSYNC_LOG_TAGS", len(items(c.Tags)) > 0},
			{"CLERKSYNC_LOG_COMPRESSION", c.Compression != ""},
		} {
			if set.is {
				v.fault(set.variable, "set, and NATS_URL is not", "set NATS_URL too")
			}
		}
	} else {
		v.access(c.NATSAccess)
	}
	if c.MaxAge < time.Hour {
		v.fault("CLERKSYNC_LOG_MAX_AGE", fmt.Sprintf("%s is less than an hour", c.MaxAge), "Svix alone retries for 28")
	}
	if c.DeadMaxAge < time.Hour {
		v.fault("CLERKSYNC_DEAD_MAX_AGE", fmt.Sprintf("%s is less than an hour: too short to notice them", c.DeadMaxAge), "")
	}
	v.check("CLERKSYNC_LOG_MAX_BYTES", checkSize(c.MaxBytes))
	v.check("CLERKSYNC_DEAD_MAX_BYTES", checkSize(c.DeadMaxBytes))
}

func (v *validation) source(c *Config) {
	if c.SecretKey != "" {
		v.check("CLERK_SECRET_KEY", CheckSecretKey(c.SecretKey))
	}
	v.check("CLERK_API_URL", CheckAPIURL(c.APIURL))
}

func (v *validation) alerts(c *Config) {
	if !usableEndpoint(c.AlertURL.Reveal()) {
		v.fault("CLERKSYNC_ALERT_URL", "not of the form https://host/path", "")
	}
	if c.AlertSecret != "" {
		v.check("CLERKSYNC_ALERT_SECRET", signing.CheckSecret(c.AlertSecret.Reveal()))
	}
}

// minAdminToken is the fewest characters of a token beyond the loopback. The right token
// always passes, however many wrong ones came before: its length is the protection.
const minAdminToken = 16

func (v *validation) admin(c *Config) {
	const hint = "make one: openssl rand -hex 24"
	err := checkAddr(c.Admin.Addr)
	v.check("CLERKSYNC_ADMIN_ADDR", err)
	switch {
	case err != nil || c.Loopback():
	case c.Admin.Token == "": // no [Fault.Missing]: it follows from an address that is set
		v.fault("CLERKSYNC_ADMIN_TOKEN", "not set, and CLERKSYNC_ADMIN_ADDR is beyond the loopback", hint)
	case len(c.Admin.Token.Reveal()) < minAdminToken:
		v.fault("CLERKSYNC_ADMIN_TOKEN", fmt.Sprintf("shorter than %d characters, and CLERKSYNC_ADMIN_ADDR is beyond the loopback", minAdminToken), hint)
	}
}

func (v *validation) tracing(c *Config) {
	if c.OTelDisabled {
		return
	}
	if !usableEndpoint(c.OTLPEndpoint) {
		v.fault("OTEL_EXPORTER_OTLP_ENDPOINT", "not of the form http://host:4318", "")
	}
	if !usableEndpoint(c.OTLPTracesEndpoint) {
		v.fault("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "not of the form http://host:4318/v1/traces", "")
	}
}

// Svix retries a delivery for this long.
const svixRetries = 28 * time.Hour

// ShortAge returns a warning when the log keeps events for less time than Svix retries a
// delivery, "" otherwise.
func ShortAge(age time.Duration) string {
	if age >= svixRetries {
		return ""
	}
	return fmt.Sprintf("CLERKSYNC_LOG_MAX_AGE is %s, and Svix retries a delivery for 28 h: a replay cannot reach back over a long outage", age)
}

// minProbeEvery is the shortest interval between probes.
const minProbeEvery = 10 * time.Second

// minReconcileEvery is the shortest interval between comparisons with Clerk. One of a
// million users takes minutes.
const minReconcileEvery = 10 * time.Minute

// maxSchema is the longest name that PostgreSQL does not cut.
const maxSchema = 63

// CheckNATSURL checks the address of a NATS server or cluster. The error does not quote
// the address, which may have a password in it.
func CheckNATSURL(addresses Secret) error {
	for _, u := range strings.Split(addresses.Reveal(), ",") {
		if u = strings.TrimSpace(u); u == "" {
			continue
		}
		if parsed, err := url.Parse(u); err != nil || parsed.Host == "" {
			return errors.New("not of the form nats://host:port")
		}
	}
	return nil
}

// CheckInstanceID checks the id of a Clerk instance. "" stands for any instance.
func CheckInstanceID(id string) error {
	if id != "" && (!strings.HasPrefix(id, "ins_") || !clerk.ValidToken(id)) {
		return errors.New("not of the form ins_…; it is in the Clerk dashboard → Settings")
	}
	return nil
}

// CheckSecretKey checks the form of a secret key. The error does not quote it.
func CheckSecretKey(key Secret) error {
	text := key.Reveal()
	for _, prefix := range []string{"sk_test_", "sk_live_"} {
		if rest, ok := strings.CutPrefix(text, prefix); ok && clerk.ValidToken(rest) {
			return nil
		}
	}
	return errors.New("not of the form sk_live_… or sk_test_…; it is in the Clerk dashboard → API keys")
}

// CheckAPIURL checks the address of the Backend API. The secret key goes there, so it has
// to be encrypted on its way, except to this machine.
func CheckAPIURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("not of the form https://host")
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return errors.New("http:// would send the secret key unencrypted: only the loopback may have it")
	}
	return nil
}

// CheckAppliers checks a number of concurrent batches.
func CheckAppliers(n int) error { return checkBetween(n, 1, 64) }

// CheckBatch checks a maximum of events per transaction.
func CheckBatch(n int) error { return checkBetween(n, 1, 5000) }

func checkBetween(n, low, high int) error {
	if n < low || n > high {
		return fmt.Errorf("%d is not between %d and %d", n, low, high)
	}
	return nil
}

func checkSize(n int64) error {
	if n < 0 {
		return fmt.Errorf("%d is negative", n)
	}
	return nil
}

// usableEndpoint reports whether an endpoint is empty or a URL to post to.
func usableEndpoint(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return endpoint == "" || err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

func checkAddr(addr string) error {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return errors.New("not of the form host:port or :port")
	}
	return nil
}
