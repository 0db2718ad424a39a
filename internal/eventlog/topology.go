package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
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

// DefaultMaxAge is how long events are kept.
const DefaultMaxAge = 90 * 24 * time.Hour

// streamConfigs are the two streams as they should be.
func streamConfigs(o Options, level int) []jetstream.StreamConfig {
	config := jetstream.StreamConfig{
		Storage:    jetstream.FileStorage,
		Retention:  jetstream.LimitsPolicy,
		Replicas:   o.Replicas,
		MaxAge:     o.MaxAge,
		MaxBytes:   o.MaxBytes,
		Duplicates: duplicateWindow,
		// A full log refuses what is new, and Svix sends it again. To discard what
		// is old would lose what is not applied yet.
		Discard:            jetstream.DiscardNew,
		AllowDirect:        true,
		AllowAtomicPublish: level >= levelAtomicPublish,
	}
	events, dead := config, config
	events.Name, events.Subjects = Stream, []string{Subject + ".>"}
	events.Description = "clerksync: every verified event, in arrival order"
	dead.Name, dead.Subjects = DeadStream, []string{DeadSubject + ".>"}
	dead.Description = "clerksync: events that can never be applied, with the reason"
	dead.MaxBytes = -1
	return []jetstream.StreamConfig{events, dead}
}

// ensureStreams makes the streams, or brings them to the configuration, and tells
// whether the server publishes batches atomically.
func (l *Log) ensureStreams(ctx context.Context, o Options) (atomicBatches bool, err error) {
	account, err := l.js.AccountInfo(ctx)
	if err != nil {
		return false, fmt.Errorf("ask JetStream for its limits: %w", err)
	}
	for _, config := range streamConfigs(o, account.API.Level) {
		stream, err := l.js.CreateOrUpdateStream(ctx, config)
		if err != nil {
			return false, fmt.Errorf("create or update stream %s: %w", config.Name, err)
		}
		if config.Name == Stream {
			atomicBatches = stream.CachedInfo().Config.AllowAtomicPublish
		}
	}
	return atomicBatches, nil
}

// ensureConsumer makes the projector's consumer, which all workers share.
func (l *Log) ensureConsumer(ctx context.Context) (jetstream.Consumer, error) {
	config := jetstream.ConsumerConfig{
		Durable:       ConsumerName,
		Description:   "clerksync: events on their way into PostgreSQL",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       ackWait,
		MaxDeliver:    -1, // an event is applied or parked, never given up
		MaxAckPending: maxAckPending,
		DeliverPolicy: jetstream.DeliverAllPolicy,
	}
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
