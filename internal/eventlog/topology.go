package eventlog

import (
	"context"
	"crypto/rand"
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
	// retries, and the second copy that a rotation of secrets makes, arrive within
	// it; a later copy is stored again and found to be a duplicate by its version.
	duplicateWindow = 10 * time.Minute

	// ackWait is how long a delivered event may be in flight before JetStream
	// redelivers it to another worker. Delivered twice is applied once, so this is
	// no limit for a slow database; it is the pause after a worker was killed.
	ackWait = 30 * time.Second

	// maxAckPending bounds what is delivered and not acknowledged, over all
	// workers; each has up to prefetch events in flight.
	maxAckPending = 20_000

	// levelAtomicPublish is the API level of the servers that publish batches
	// atomically, 2.12 and newer.
	levelAtomicPublish = 2
)

// The keys in the stream's metadata.
const (
	// metaResources are the resources that its events can be about, separated by spaces,
	// see [Filter].
	metaResources = "clerksync_resources"

	// metaID is the identity of the log.
	metaID = "clerksync_log_id"
)

// streamConfigs returns the configurations of the two streams, for a server of an API
// level.
func streamConfigs(o Options, level int) (events, dead jetstream.StreamConfig) {
	config := jetstream.StreamConfig{
		Storage:    jetstream.FileStorage,
		Retention:  jetstream.LimitsPolicy,
		Replicas:   o.Replicas,
		Duplicates: duplicateWindow,
		// A full log refuses new events, and Svix retries them. To discard old ones
		// would lose what is not applied yet.
		Discard:     jetstream.DiscardNew,
		AllowDirect: true,
		// Where Sync forces many messages at once, a batch would only cost its files.
		AllowAtomicPublish: level >= levelAtomicPublish && o.Sync == nil,
	}
	events, dead = config, config
	events.Name, events.Subjects = Stream, []string{Subject + ".>"}
	events.Description = "clerksync: every verified event, in arrival order"
	events.MaxBytes = o.MaxBytes // and no MaxAge, which would drop what is not applied: see Expire
	dead.Name, dead.Subjects = DeadStream, []string{DeadSubject + ".>"}
	dead.Description = "clerksync: events that can never be applied, with the reason"
	dead.MaxAge, dead.MaxBytes = o.DeadMaxAge, o.DeadMaxBytes
	return events, dead
}

// ensureStreams creates the streams, or updates existing ones to the configuration.
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
	fail := func(name string, err error) error {
		return fmt.Errorf("create or update stream %s: %w%s", name, err, remedy(err))
	}
	info, err := l.streamInfo(ctx, Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		events.Metadata = metadata(resources, strings.ToLower(rand.Text()))
		_, err = l.js.CreateStream(ctx, events)
		switch {
		case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse): // by another process, just now: the identity is its
			info, err = l.streamInfo(ctx, Stream)
		case err != nil:
			return fail(Stream, err)
		}
	}
	if err != nil {
		return err
	}
	configs := []jetstream.StreamConfig{dead}
	if info != nil {
		events.Metadata = metadata(append(resources, readResources(info.Config)...), readID(info))
		configs = append(configs, events)
	}
	for _, config := range slices.Backward(configs) {
		if _, err := l.js.CreateOrUpdateStream(ctx, config); err != nil {
			return fail(config.Name, err)
		}
	}
	return nil
}

// metadata returns the metadata of the stream of events.
func metadata(resources []string, id string) map[string]string {
	return map[string]string{metaResources: strings.Join(sortedSet(resources), " "), metaID: id}
}

// open opens the streams.
func (l *Log) open(ctx context.Context) error {
	o := &opened{streams: map[string]jetstream.Stream{}}
	for _, name := range []string{Stream, DeadStream} {
		stream, err := l.js.Stream(ctx, name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound): // Inspect reports a missing DeadStream
		case err != nil:
			return readError(name, err)
		default:
			o.streams[name] = stream
		}
	}
	events := o.streams[Stream]
	if events == nil {
		return ErrNoLog
	}
	info := events.CachedInfo()
	o.resources, o.id = readResources(info.Config), readID(info)
	if info.Config.Replicas > 1 {
		l.replicated.Store(true)
	}
	if l.disk != nil || info.Config.AllowAtomicPublish {
		group, err := newGrouper(l)
		if err != nil {
			return err
		}
		o.group = group
		l.loops.Go(group.run)
	}
	l.opened.Store(o)
	return nil
}

// ID returns the identity of the log. It survives restarts and changes of configuration,
// and a stream that is deleted and made again has another. It is "" until the log is open.
func (l *Log) ID() string {
	if o := l.opened.Load(); o != nil {
		return o.id
	}
	return ""
}

// readID returns the identity of a stream. Without metadata, on a server before 2.10, it is
// the time of the stream's creation. A stream that gets metadata later keeps that.
func readID(info *jetstream.StreamInfo) string {
	if id := info.Config.Metadata[metaID]; id != "" {
		return id
	}
	return "created-" + info.Created.UTC().Format("20060102T150405.000000000Z")
}

// stream returns a stream's handle, without a request.
func (l *Log) stream(name string) (jetstream.Stream, error) {
	o := l.opened.Load()
	if o == nil {
		return nil, readError(name, errNotOpen)
	}
	if o.streams[name] == nil {
		return nil, readError(name, jetstream.ErrStreamNotFound)
	}
	return o.streams[name], nil
}

// resources returns the resources that the log's events can be about.
func (l *Log) resources() []string {
	if o := l.opened.Load(); o != nil {
		return o.resources
	}
	return []string{anyResource}
}

// Admit declares that the log can hold events of these types, see [Filter]. Whoever stores
// events of other types than the receiver calls it first. A type stays declared, so that
// the server is asked only for types that are new to this Log.
func (l *Log) Admit(ctx context.Context, types []string) error {
	o := l.opened.Load()
	if o == nil {
		return readError(Stream, errNotOpen)
	}
	if holdsAll(o.resources, types) {
		return nil
	}
	l.admitting.Lock()
	defer l.admitting.Unlock()
	info, err := l.streamInfo(ctx, Stream)
	if err != nil {
		return err
	}
	if known := readResources(info.Config); !holdsAll(known, types) {
		info.Config.Metadata[metaResources] = strings.Join(sortedSet(append(resourcesOf(types), known...)), " ")
		if _, err := l.js.UpdateStream(ctx, info.Config); err != nil {
			return fmt.Errorf("update stream %s: %w%s", Stream, err, remedy(err))
		}
	}
	declared := *l.opened.Load() // a copy: others read the one before
	declared.resources = readResources(info.Config)
	l.opened.Store(&declared)
	return nil
}

// holdsAll reports whether resources include those of all types.
func holdsAll(resources, types []string) bool {
	return slices.Contains(resources, anyResource) || !slices.ContainsFunc(resourcesOf(types), func(resource string) bool {
		return !slices.Contains(resources, resource)
	})
}

// Types returns globs for everything that the log can hold except probes, for a
// [Filter]. It is nil, which selects everything, when that is not known.
func (l *Log) Types() []string {
	if slices.Contains(l.resources(), anyResource) {
		return nil
	}
	probes, _ := clerk.SplitType(clerk.ProbeType)
	var globs []string
	for _, resource := range l.resources() {
		if resource != probes {
			globs = append(globs, resource+".*")
		}
	}
	return globs
}

// readResources returns the resources that the events of a stream can be about. A stream
// without them, on a server older than 2.10, can hold any.
func readResources(config jetstream.StreamConfig) []string {
	resources := strings.Fields(config.Metadata[metaResources])
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

// Error codes of JetStream that jetstream does not name, each with the server's
// identifier.
const (
	codeAccountResourcesExceeded jetstream.ErrorCode = 10002 // JSAccountResourcesExceededErr
	codeClusterNoPeers           jetstream.ErrorCode = 10005 // JSClusterNoPeersErrF
	codeInsufficientResources    jetstream.ErrorCode = 10023 // JSInsufficientResourcesErr
	codeMaximumStreams           jetstream.ErrorCode = 10027 // JSMaximumStreamsLimitErr
	codeStorageExceeded          jetstream.ErrorCode = 10047 // JSStorageResourcesExceededErr
	codeInvalidConfig            jetstream.ErrorCode = 10052 // JSStreamInvalidConfigF
	codeSubjectOverlap           jetstream.ErrorCode = 10065 // JSStreamSubjectOverlapErr
	codeReplicasNotSupported     jetstream.ErrorCode = 10074 // JSStreamReplicasNotSupportedErr
	codeMaxBytesRequired         jetstream.ErrorCode = 10113 // JSStreamMaxBytesRequired
	codeMaxStreamBytesExceeded   jetstream.ErrorCode = 10122 // JSStreamMaxStreamBytesExceeded
)

// remedy says what to do when JetStream refuses the configuration of a stream.
func remedy(err error) string {
	var refusal *jetstream.APIError
	if !errors.As(err, &refusal) {
		return ""
	}
	switch refusal.ErrorCode {
	case codeSubjectOverlap:
		return "; another stream takes " + Subject + ".> or " + DeadSubject + ".>: delete it, or use another NATS account"
	case codeReplicasNotSupported, codeClusterNoPeers:
		return "; CLERKSYNC_LOG_REPLICAS asks for more copies than there are servers with JetStream"
	case codeStorageExceeded, codeInsufficientResources, codeAccountResourcesExceeded, codeMaxStreamBytesExceeded:
		return "; CLERKSYNC_LOG_MAX_BYTES or CLERKSYNC_DEAD_MAX_BYTES asks for more than the server or the account has"
	case codeMaxBytesRequired:
		return "; set CLERKSYNC_LOG_MAX_BYTES and CLERKSYNC_DEAD_MAX_BYTES: the account takes no stream without a limit"
	case codeMaximumStreams:
		return "; the log needs two streams, " + Stream + " and " + DeadStream + ": let the account have more, or delete some"
	case codeInvalidConfig:
		if strings.Contains(refusal.Description, "update can not") {
			return "; JetStream cannot change this in place: export the events (clerksync events export), delete the stream, start, and import them"
		}
	}
	return ""
}

// consumerConfig returns the configuration of the projector's consumer.
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

// ensureConsumer creates or updates the projector's consumer, which all workers share.
func (l *Log) ensureConsumer(ctx context.Context) (jetstream.Consumer, error) {
	config := consumerConfig()
	existing, err := l.consumerInfo(ctx)
	if err != nil {
		return nil, err
	}
	if existing != nil {
		// JetStream cannot change these in place: a start that was set by hand stays.
		was := existing.Config
		config.DeliverPolicy, config.OptStartSeq, config.OptStartTime = was.DeliverPolicy, was.OptStartSeq, was.OptStartTime
	}
	consumer, err := l.js.CreateOrUpdateConsumer(ctx, Stream, config)
	if err != nil {
		return nil, fmt.Errorf("create or update consumer %s: %w", ConsumerName, err)
	}
	return consumer, nil
}
