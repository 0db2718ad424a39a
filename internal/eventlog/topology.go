package eventlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/clerksync/clerksync/internal/clerk"
)

// The names of what is kept in JetStream.
const (
	Stream       = "CLERK_EVENTS"
	DeadStream   = "CLERK_DEAD"
	Subject      = "clerk.events" // .<resource>.<action>.<id>.<org>.<user>
	DeadSubject  = "clerk.dead"   // the same tokens
	ConsumerName = "projector"
)

const (
	// duplicateWindow is how long JetStream remembers svix-ids. Svix's first
	// retries, and the second copy that a rotation of secrets makes, come within
	// it; a later copy is stored again and found to be a duplicate by its version.
	duplicateWindow = 10 * time.Minute

	// ackWait is how long a delivered event may be in work before JetStream
	// delivers it to another worker. Delivered twice is applied once, so this is
	// no limit for a slow database; it is the pause after a worker was killed.
	ackWait = 30 * time.Second

	// maxAckPending bounds what is delivered and not acknowledged, over all
	// workers; each has up to prefetch events in hand.
	maxAckPending = 20_000

	// levelAtomicPublish is the API level of the servers that publish batches
	// atomically, 2.12 and newer.
	levelAtomicPublish = 2
)

// DefaultMaxAge is how long events and dead letters are kept.
const DefaultMaxAge = 90 * 24 * time.Hour

// metaResources is where a stream says which resources its events can be about,
// separated by spaces, see [Filter].
const metaResources = "clerksync_resources"

// streamConfigs are the two streams as they should be.
func streamConfigs(o Options, level int) (events, dead jetstream.StreamConfig) {
	config := jetstream.StreamConfig{
		Storage:    jetstream.FileStorage,
		Retention:  jetstream.LimitsPolicy,
		Replicas:   o.Replicas,
		Duplicates: duplicateWindow,
		// A full log refuses what is new, and Svix sends it again. To discard what
		// is old would lose what is not applied yet.
		Discard:            jetstream.DiscardNew,
		AllowDirect:        true,
		AllowAtomicPublish: level >= levelAtomicPublish,
	}
	events, dead = config, config
	events.Name, events.Subjects = Stream, []string{Subject + ".>"}
	events.Description = "clerksync: every verified event, in arrival order"
	events.MaxAge, events.MaxBytes = o.MaxAge, o.MaxBytes
	dead.Name, dead.Subjects = DeadStream, []string{DeadSubject + ".>"}
	dead.Description = "clerksync: events that can never be applied, with the reason"
	dead.MaxAge, dead.MaxBytes = o.DeadMaxAge, o.DeadMaxBytes
	return events, dead
}

// ensureStreams makes the streams, or brings those that are there to the
// configuration.
func (l *Log) ensureStreams(ctx context.Context, o Options) error {
	account, err := l.js.AccountInfo(ctx)
	if err != nil {
		return fmt.Errorf("ask JetStream for its limits: %w", err)
	}
	events, dead := streamConfigs(o, account.API.Level)
	resources := resourcesOf(o.StoreEvents)
	if len(resources) > 0 {
		resources = append(resources, clerk.ProbeResource) // stored whatever the setting
	}
	if existing, err := l.js.Stream(ctx, Stream); err == nil {
		resources = append(resources, readResources(existing.CachedInfo())...)
	} else if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("look for stream %s: %w", Stream, err)
	}
	events.Metadata = map[string]string{metaResources: strings.Join(sortedSet(resources), " ")}
	for _, config := range []jetstream.StreamConfig{events, dead} {
		if _, err := l.js.CreateOrUpdateStream(ctx, config); err != nil {
			return fmt.Errorf("create or update stream %s: %w%s", config.Name, err, remedy(err))
		}
	}
	return nil
}

// attach reads how the streams are kept.
func (l *Log) attach(ctx context.Context) (jetstream.StreamConfig, error) {
	stream, err := l.js.Stream(ctx, Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return jetstream.StreamConfig{}, ErrNoLog
	}
	if err != nil {
		return jetstream.StreamConfig{}, fmt.Errorf("read stream %s: %w", Stream, err)
	}
	l.resources = readResources(stream.CachedInfo())
	return stream.CachedInfo().Config, nil
}

// readResources are the resources that the events of a stream can be about. One that
// does not say so, because its server is older than 2.10, can have any.
func readResources(info *jetstream.StreamInfo) []string {
	resources := strings.Fields(info.Config.Metadata[metaResources])
	if len(resources) == 0 || slices.Contains(resources, anyResource) {
		return []string{anyResource}
	}
	return resources
}

func sortedSet(words []string) []string {
	words = slices.Clone(words)
	slices.Sort(words)
	return slices.Compact(words)
}

// remedy says what to do when JetStream does not take the configuration of a stream.
func remedy(err error) string {
	var refusal *jetstream.APIError
	if !errors.As(err, &refusal) {
		return ""
	}
	switch refusal.ErrorCode {
	case 10065: // subjects overlap with those of another stream
		return "; another stream takes " + Subject + ".> or " + DeadSubject + ".>: delete it, or use another NATS account"
	case 10074, 10005: // replicas without a cluster, or with too few servers
		return "; CLERKSYNC_LOG_REPLICAS asks for more copies than there are servers with JetStream"
	case 10047, 10023, 10002, 10122: // storage, resources of a cluster, of an account, of one stream
		return "; CLERKSYNC_LOG_MAX_BYTES or CLERKSYNC_DEAD_MAX_BYTES asks for more than the server or the account has"
	case 10113: // the account takes no stream without a limit
		return "; set CLERKSYNC_LOG_MAX_BYTES and CLERKSYNC_DEAD_MAX_BYTES: the account takes no stream without a limit"
	case 10027: // streams
		return "; the log needs two streams, " + Stream + " and " + DeadStream + ": let the account have more, or delete some"
	case 10052: // a configuration that is wrong by itself, or cannot be reached in place
		if strings.Contains(refusal.Description, "update can not") {
			return "; JetStream cannot change this in place: export the events (clerksync events export), delete the stream, start, and import them"
		}
	}
	return ""
}

// consumerConfig is the projector's consumer as it should be.
func consumerConfig() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       ConsumerName,
		Description:   "clerksync: events on their way into PostgreSQL",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       ackWait,
		MaxDeliver:    -1, // an event is applied or parked, never given up
		MaxAckPending: maxAckPending,
		DeliverPolicy: jetstream.DeliverAllPolicy,
	}
}

// ensureConsumer makes the projector's consumer, which all workers share.
func (l *Log) ensureConsumer(ctx context.Context) (jetstream.Consumer, error) {
	config := consumerConfig()
	// A consumer whose position was set by hand keeps its way of starting: that
	// cannot be changed in place.
	if existing, err := l.js.Consumer(ctx, Stream, ConsumerName); err == nil {
		was := existing.CachedInfo().Config
		config.DeliverPolicy, config.OptStartSeq, config.OptStartTime = was.DeliverPolicy, was.OptStartSeq, was.OptStartTime
	} else if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, fmt.Errorf("look for consumer %s: %w", ConsumerName, err)
	}
	consumer, err := l.js.CreateOrUpdateConsumer(ctx, Stream, config)
	if err != nil {
		return nil, fmt.Errorf("create or update consumer %s: %w", ConsumerName, err)
	}
	return consumer, nil
}
