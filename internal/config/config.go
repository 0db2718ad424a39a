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
	"github.com/clerksync/clerksync/internal/probe"
	"github.com/clerksync/clerksync/internal/receiver"
)

// Database is where the rows are.
type Database struct {
	URL    Secret `name:"database-url" env:"DATABASE_URL" placeholder:"URL" help:"PostgreSQL, postgres://user:password@host:port/database."`
	Schema string `name:"schema" env:"CLERKSYNC_SCHEMA" default:"clerk" help:"Schema of the tables."`
}

// Log is where the events are.
type Log struct {
	NATSURL      Secret        `name:"nats-url" env:"NATS_URL" placeholder:"URL" help:"NATS server or cluster with JetStream, comma-separated. Without it JetStream runs in this process, with its files in the data folder."`
	NATSCreds    string        `name:"nats-creds" env:"CLERKSYNC_NATS_CREDS" type:"path" placeholder:"FILE" help:"Credentials file for NATS."`
	Replicas     int           `name:"log-replicas" env:"CLERKSYNC_LOG_REPLICAS" default:"1" help:"Copies of events and dead letters in a NATS cluster, 1, 3 or 5."`
	MaxAge       time.Duration `name:"log-max-age" env:"CLERKSYNC_LOG_MAX_AGE" default:"2160h" help:"How long events are kept; 2160h is 90 days."`
	MaxBytes     int64         `name:"log-max-bytes" env:"CLERKSYNC_LOG_MAX_BYTES" default:"0" help:"Size of the event log; a full one answers 503 and Svix retries. 0 is the room on the disk."`
	DeadMaxAge   time.Duration `name:"dead-max-age" env:"CLERKSYNC_DEAD_MAX_AGE" default:"2160h" help:"How long dead letters are kept."`
	DeadMaxBytes int64         `name:"dead-max-bytes" env:"CLERKSYNC_DEAD_MAX_BYTES" default:"0" help:"Size of the dead letters; when they are full, what can never be applied waits in the log. 0 is the room on the disk."`
}

// Receiver is the webhook endpoint.
type Receiver struct {
	SigningSecrets []Secret `name:"signing-secret" env:"CLERK_WEBHOOK_SIGNING_SECRET" sep:"," placeholder:"WHSEC" help:"Signing secret of the endpoint (Clerk dashboard, Webhooks, your endpoint). While you rotate it, both, comma-separated."`
	InstanceID     string   `name:"instance-id" env:"CLERK_INSTANCE_ID" placeholder:"INS" help:"Take only events of this Clerk instance, ins_…; others are parked."`
	StoreEvents    []string `name:"store-events" env:"CLERKSYNC_STORE_EVENTS" sep:"," default:"user.*,organization.*,organizationMembership.*" help:"Types of events to store, globs. E-mails and text messages carry one-time codes: a star does not cover them, name them as email.* and sms.*."`
	Addr           string   `name:"addr" env:"CLERKSYNC_ADDR" default:":8080" help:"Address of the public listener."`

	ProbeURL   string        `name:"probe-url" env:"CLERKSYNC_PROBE_URL" placeholder:"URL" help:"Public URL of the endpoint, through which a signed probe is sent again and again, for /metrics. Without it there are none."`
	ProbeEvery time.Duration `name:"probe-every" env:"CLERKSYNC_PROBE_EVERY" default:"1m" help:"How often."`
}

// Worker is the projector.
type Worker struct {
	Appliers int `name:"appliers" env:"CLERKSYNC_APPLIERS" default:"4" help:"Batches that are applied at once."`
	Batch    int `name:"batch" env:"CLERKSYNC_BATCH" default:"500" help:"Most events in one transaction."`

	EraseAfter time.Duration `name:"erase-after" env:"CLERKSYNC_ERASE_AFTER" default:"720h" help:"How long after a person was deleted the events about them leave the log and the dead letters: the time in which a deletion by mistake can be restored. 720h is 30 days, 0s is at once."`
}

// Admin is the listener for operators.
type Admin struct {
	Addr  string `name:"admin-addr" env:"CLERKSYNC_ADMIN_ADDR" default:"127.0.0.1:8081" help:"Address of the admin listener: the dashboard, /lag, /metrics, /healthz, /readyz."`
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
	DataDir  string `name:"data-dir" env:"CLERKSYNC_DATA_DIR" default:"./.clerksync" type:"path" help:"Folder of what clerksync itself stores."`
}

// Roles are what one process does.
type Roles struct {
	Receiver bool
	Worker   bool
}

// Faults are all that is wrong with a configuration, a line each.
type Faults []string

func (f Faults) Error() string {
	return "the configuration cannot be used:\n  " + strings.Join(f, "\n  ")
}

// Validate returns all that is wrong, for the roles given, as [Faults].
func (c *Config) Validate(roles Roles) error {
	var faults Faults
	fault := func(format string, v ...any) { faults = append(faults, fmt.Sprintf(format, v...)) }

	if roles.Receiver {
		if len(c.SigningSecrets) == 0 {
			fault("CLERK_WEBHOOK_SIGNING_SECRET: not set; copy the secret from the Clerk dashboard → Webhooks → your endpoint")
		}
		for i, s := range c.SigningSecrets {
			if err := receiver.CheckSecret(s.Reveal()); err != nil {
				fault("CLERK_WEBHOOK_SIGNING_SECRET: secret %d: %v", i+1, err)
			}
		}
		for _, glob := range c.StoreEvents {
			if err := receiver.CheckGlob(glob); err != nil {
				fault("CLERKSYNC_STORE_EVENTS: %v", err)
			}
		}
		if err := checkAddr(c.Receiver.Addr); err != nil {
			fault("CLERKSYNC_ADDR: %v", err)
		}
		if err := CheckInstanceID(c.InstanceID); err != nil {
			fault("CLERK_INSTANCE_ID: %v", err)
		}
		if c.ProbeURL != "" {
			if err := probe.CheckURL(c.ProbeURL); err != nil {
				fault("CLERKSYNC_PROBE_URL: %v", err)
			}
			if c.ProbeEvery < minProbeEvery {
				fault("CLERKSYNC_PROBE_EVERY: %s is less than %s; every probe is kept in the event log", c.ProbeEvery, minProbeEvery)
			}
		}
	}
	if roles.Worker {
		if c.Database.URL == "" {
			fault("DATABASE_URL: not set; postgres://user:password@host:port/database")
		}
		if err := CheckAppliers(c.Appliers); err != nil {
			fault("CLERKSYNC_APPLIERS: %v", err)
		}
		if err := CheckBatch(c.Batch); err != nil {
			fault("CLERKSYNC_BATCH: %v", err)
		}
		if c.EraseAfter < 0 {
			fault("CLERKSYNC_ERASE_AFTER: %s is negative; 0s is at once", c.EraseAfter)
		}
	}
	if u := c.Database.URL.Reveal(); u != "" && strings.Contains(u, "://") {
		if parsed, err := url.Parse(u); err != nil || (parsed.Scheme != "postgres" && parsed.Scheme != "postgresql") {
			fault("DATABASE_URL: not of the form postgres://user:password@host:port/database")
		}
	}
	if !clerk.ValidToken(c.Schema) || len(c.Schema) > maxSchema {
		fault("CLERKSYNC_SCHEMA: not a plain name of up to %d letters, digits, underscores and hyphens", maxSchema)
	}
	if err := CheckNATSURL(c.NATSURL); err != nil {
		fault("NATS_URL: %v", err)
	}
	if c.NATSURL == "" && roles.Receiver != roles.Worker {
		fault("NATS_URL: not set; a receiver or a worker alone needs it, because without it the event log is inside the process, where no other process works on it")
	}
	if r := c.Replicas; r != 1 && r != 3 && r != 5 {
		fault("CLERKSYNC_LOG_REPLICAS: %d is not 1, 3 or 5", r)
	} else if r > 1 && c.NATSURL == "" {
		fault("CLERKSYNC_LOG_REPLICAS: %d copies need a NATS cluster; set NATS_URL", r)
	}
	if c.MaxAge < time.Hour {
		fault("CLERKSYNC_LOG_MAX_AGE: %s is less than an hour; Svix alone retries for 28", c.MaxAge)
	}
	if c.MaxBytes < 0 {
		fault("CLERKSYNC_LOG_MAX_BYTES: %d is negative", c.MaxBytes)
	}
	if c.DeadMaxAge < time.Hour {
		fault("CLERKSYNC_DEAD_MAX_AGE: %s is less than an hour, in which nobody looks at them", c.DeadMaxAge)
	}
	if c.DeadMaxBytes < 0 {
		fault("CLERKSYNC_DEAD_MAX_BYTES: %d is negative", c.DeadMaxBytes)
	}
	if !c.OTelDisabled {
		if !usableEndpoint(c.OTLPEndpoint) {
			fault("OTEL_EXPORTER_OTLP_ENDPOINT: not of the form http://host:4318")
		}
		if !usableEndpoint(c.OTLPTracesEndpoint) {
			fault("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: not of the form http://host:4318/v1/traces")
		}
	}
	if err := checkAddr(c.Admin.Addr); err != nil {
		fault("CLERKSYNC_ADMIN_ADDR: %v", err)
	}
	if len(faults) > 0 {
		return faults
	}
	return nil
}

// CheckSet returns all that is wrong with what is set, and does not miss what is not: a
// command may run beside a process that was told more.
func (c *Config) CheckSet() []string {
	faults, _ := errors.AsType[Faults](c.Validate(Roles{Receiver: true, Worker: true}))
	return slices.DeleteFunc(faults, func(fault string) bool { return strings.Contains(fault, ": not set; ") })
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
