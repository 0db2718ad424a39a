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

// Database is where the rows are.
type Database struct {
	URL    Secret `name:"database-url" env:"DATABASE_URL" placeholder:"URL" help:"PostgreSQL, postgres://user:password@host:port/database."`
	Schema string `name:"schema" env:"CLERKSYNC_SCHEMA" default:"${schema}" help:"Schema of the tables."`
}

// Log is where the events are.
type Log struct {
	NATSURL      Secret        `name:"nats-url" env:"NATS_URL" placeholder:"URL" help:"NATS server or cluster with JetStream, comma-separated. Without it JetStream runs in this process, with its files in the data folder."`
	NATSCreds    string        `name:"nats-creds" env:"CLERKSYNC_NATS_CREDS" type:"path" placeholder:"FILE" help:"Credentials file for NATS."`
	Replicas     int           `name:"log-replicas" env:"CLERKSYNC_LOG_REPLICAS" default:"${log_replicas}" help:"Copies of events and dead letters in a NATS cluster, 1, 3 or 5."`
	MaxAge       time.Duration `name:"log-max-age" env:"CLERKSYNC_LOG_MAX_AGE" default:"${log_max_age}" help:"How long events are kept; 2160h is 90 days."`
	MaxBytes     int64         `name:"log-max-bytes" env:"CLERKSYNC_LOG_MAX_BYTES" help:"Size of the event log; a full one answers 503 and Svix retries. 0 is the room on the disk."`
	DeadMaxAge   time.Duration `name:"dead-max-age" env:"CLERKSYNC_DEAD_MAX_AGE" default:"${dead_max_age}" help:"How long dead letters are kept."`
	DeadMaxBytes int64         `name:"dead-max-bytes" env:"CLERKSYNC_DEAD_MAX_BYTES" help:"Size of the dead letters; when they are full, what can never be applied waits in the log. 0 is the room on the disk."`
}

// Receiver is the webhook endpoint.
type Receiver struct {
	SigningSecrets []Secret `name:"signing-secret" env:"CLERK_WEBHOOK_SIGNING_SECRET" sep:"," placeholder:"WHSEC" help:"Signing secret of the endpoint (Clerk dashboard, Webhooks, your endpoint). While you rotate it, both, comma-separated."`
	InstanceID     string   `name:"instance-id" env:"CLERK_INSTANCE_ID" placeholder:"INS" help:"Take only events of this Clerk instance, ins_…; others are parked."`
	StoreEvents    []string `name:"store-events" env:"CLERKSYNC_STORE_EVENTS" sep:"," default:"${store_events}" help:"Types of events to store, globs. E-mails and text messages carry one-time codes: a star does not cover them, name them as email.* and sms.*."`
	Addr           string   `name:"addr" env:"CLERKSYNC_ADDR" default:"${addr}" help:"Address of the public listener."`

	ProbeURL   string        `name:"probe-url" env:"CLERKSYNC_PROBE_URL" placeholder:"URL" help:"Public URL of the endpoint, through which a signed probe is sent again and again, for /metrics. Without it there are none."`
	ProbeEvery time.Duration `name:"probe-every" env:"CLERKSYNC_PROBE_EVERY" default:"${probe_every}" help:"How often."`
}

// Worker is the projector.
type Worker struct {
	Appliers int `name:"appliers" env:"CLERKSYNC_APPLIERS" default:"${appliers}" help:"Batches that are applied at once."`
	Batch    int `name:"batch" env:"CLERKSYNC_BATCH" default:"${batch}" help:"Most events in one transaction."`

	EraseAfter time.Duration `name:"erase-after" env:"CLERKSYNC_ERASE_AFTER" default:"${erase_after}" help:"How long after a person was deleted the events about them leave the log and the dead letters: the time in which a deletion by mistake can be restored. 720h is 30 days, 0s is at once."`
}

// Admin is the listener for operators.
type Admin struct {
	Addr  string `name:"admin-addr" env:"CLERKSYNC_ADMIN_ADDR" default:"${admin_addr}" help:"Address of the admin listener: the dashboard, /lag, /metrics, /healthz, /readyz."`
	Token Secret `name:"admin-token" env:"CLERKSYNC_ADMIN_TOKEN" placeholder:"TOKEN" help:"Token that the admin listener asks for, for all but health. Beyond the loopback it has to be set."`
}

// Tracing is where traces go. The variables are OpenTelemetry's; its SDK reads those that
// are not here.
type Tracing struct {
	OTLPEndpoint       string `name:"otlp-endpoint" env:"OTEL_EXPORTER_OTLP_ENDPOINT" placeholder:"URL" help:"Collector of OpenTelemetry that gets traces, over HTTP, http://host:4318. Without it nothing is traced."`
	OTLPTracesEndpoint string `name:"otlp-traces-endpoint" env:"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" placeholder:"URL" help:"The same, for traces alone and with the path, http://host:4318/v1/traces."`
	OTelDisabled       bool   `name:"otel-sdk-disabled" env:"OTEL_SDK_DISABLED" help:"Trace nothing."`
}

// TracesURL is what traces are posted to, "" when nothing is traced.
func (t Tracing) TracesURL() string {
	switch {
	case t.OTelDisabled:
		return ""
	case t.OTLPTracesEndpoint != "" || t.OTLPEndpoint == "":
		return t.OTLPTracesEndpoint
	}
	joined, _ := url.JoinPath(t.OTLPEndpoint, "v1/traces") // which was validated
	return joined
}

// Config is everything that a running clerksync is told.
type Config struct {
	Database `embed:"" group:"PostgreSQL"`
	Log      `embed:"" group:"Event log"`
	Receiver `embed:"" group:"Receiver"`
	Worker   `embed:"" group:"Worker"`
	Admin    `embed:"" prefix:"" group:"Admin"`
	Tracing  `embed:"" group:"Traces"`
	DataDir  string `name:"data-dir" env:"CLERKSYNC_DATA_DIR" default:"${data_dir}" type:"path" help:"Folder of what clerksync itself stores."`
}

// Roles are what one process does: a set.
type Roles uint8

// The roles.
const (
	RoleReceiver Roles = 1 << iota // the webhook endpoint
	RoleWorker                     // applies events

	AllRoles = RoleReceiver | RoleWorker
)

// Has reports whether a role is among them, of several given any.
func (r Roles) Has(role Roles) bool { return r&role != 0 }

// Fault is one thing that is wrong with a configuration.
type Fault struct {
	Variable string // environment variable of the setting
	Missing  bool   // it is not set and has to be
	Text     string // what is wrong with it; no secret
	Hint     string // what to do about it, "" when the text says it
}

func (f Fault) String() string {
	text := f.Variable + ": " + f.Text
	if f.Hint != "" {
		text += "; " + f.Hint
	}
	return text
}

// Faults are everything that is wrong with a configuration.
type Faults []Fault

func (f Faults) Error() string {
	var b strings.Builder
	b.WriteString("the configuration cannot be used:")
	for _, fault := range f {
		b.WriteString("\n  " + fault.String())
	}
	return b.String()
}

// Validate returns everything that is wrong, for some roles, as [Faults].
func (c *Config) Validate(roles Roles) error {
	v := &validation{}
	if roles.Has(RoleReceiver) {
		v.receiver(c)
	}
	if roles.Has(RoleWorker) {
		v.worker(c)
	}
	v.database(c)
	v.log(c, roles)
	v.tracing(c)
	v.check("CLERKSYNC_ADMIN_ADDR", checkAddr(c.Admin.Addr))
	if len(v.faults) > 0 {
		return v.faults
	}
	return nil
}

// CheckSet returns what is wrong with the settings that are set. One that is not set is
// no fault here: a command may run beside a process that has more settings.
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

// check adds what a check found, if anything.
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
	v.check("CLERKSYNC_ADDR", checkAddr(c.Receiver.Addr))
	v.check("CLERK_INSTANCE_ID", CheckInstanceID(c.InstanceID))
	if c.ProbeURL == "" {
		return
	}
	v.check("CLERKSYNC_PROBE_URL", signing.CheckURL(c.ProbeURL))
	if c.ProbeEvery < minProbeEvery {
		v.fault("CLERKSYNC_PROBE_EVERY", fmt.Sprintf("%s is less than %s", c.ProbeEvery, minProbeEvery), "every probe is kept in the event log")
	}
}

func (v *validation) worker(c *Config) {
	if c.Database.URL == "" {
		v.missing("DATABASE_URL", "postgres://user:password@host:port/database")
	}
	v.check("CLERKSYNC_APPLIERS", CheckAppliers(c.Appliers))
	v.check("CLERKSYNC_BATCH", CheckBatch(c.Batch))
	if c.EraseAfter < 0 {
		v.fault("CLERKSYNC_ERASE_AFTER", fmt.Sprintf("%s is negative", c.EraseAfter), "0s is at once")
	}
}

func (v *validation) database(c *Config) {
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
	if c.NATSURL == "" && roles != AllRoles {
		v.missing("NATS_URL", "a receiver or a worker alone needs it, because without it the event log is inside the process, where no other process works on it")
	}
	if r := c.Replicas; r != 1 && r != 3 && r != 5 {
		v.fault("CLERKSYNC_LOG_REPLICAS", fmt.Sprintf("%d is not 1, 3 or 5", r), "")
	} else if r > 1 && c.NATSURL == "" {
		v.fault("CLERKSYNC_LOG_REPLICAS", fmt.Sprintf("%d copies need a NATS cluster", r), "set NATS_URL")
	}
	if c.MaxAge < time.Hour {
		v.fault("CLERKSYNC_LOG_MAX_AGE", fmt.Sprintf("%s is less than an hour", c.MaxAge), "Svix alone retries for 28")
	}
	if c.DeadMaxAge < time.Hour {
		v.fault("CLERKSYNC_DEAD_MAX_AGE", fmt.Sprintf("%s is less than an hour, in which nobody looks at them", c.DeadMaxAge), "")
	}
	v.check("CLERKSYNC_LOG_MAX_BYTES", checkSize(c.MaxBytes))
	v.check("CLERKSYNC_DEAD_MAX_BYTES", checkSize(c.DeadMaxBytes))
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

// minProbeEvery is the shortest time between two probes.
const minProbeEvery = 10 * time.Second

// maxSchema is the longest name that PostgreSQL does not cut.
const maxSchema = 63

// CheckNATSURL returns what is wrong with the address of a NATS server or cluster,
// and never the address: there may be a password in it.
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

// CheckInstanceID returns what is wrong with the id of a Clerk instance. None at all is
// right: any instance is meant.
func CheckInstanceID(id string) error {
	if id != "" && (!strings.HasPrefix(id, "ins_") || !clerk.ValidToken(id)) {
		return errors.New("not of the form ins_…; it is in the Clerk dashboard → Settings")
	}
	return nil
}

// CheckAppliers returns what is wrong with a number of batches that are applied at once.
func CheckAppliers(n int) error { return checkBetween(n, 1, 64) }

// CheckBatch returns what is wrong with a number of events in one transaction.
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

// usableEndpoint reports whether traces can be sent to an address, or there is none.
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
