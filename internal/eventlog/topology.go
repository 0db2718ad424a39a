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
)

// The keys in the stream's metadata.
const (
	// metaResources are the resources that its events can be about, separated by spaces,
	// see [Filter].
	metaResources = "clerksync_resources"

	// metaID is the identity of the log.
	metaID = "clerksync_log_id"
)

// streamConfigs returns the configurations of the two streams.
func streamConfigs(o Options) (events, dead jetstream.StreamConfig) {
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
		AllowAtomicPublish: o.Sync == nil,
	}
	if o.Cluster != "" || len(o.Tags) > 0 {
		config.Placement = &jetstream.Placement{Cluster: o.Cluster, Tags: o.Tags}
	}
	if o.Compression == "s2" {
		config.Compression = jetstream.S2Compression
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
	events, dead := streamConfigs(o)
	resources := resourcesOf(o.StoreEvents)
	if len(resources) > 0 {
		resources = append(resources, clerk.ProbeResource) // stored whatever the setting
	}
	err := l.ensureStream(ctx, o, events, func(info *jetstream.StreamInfo) map[string]string {
		if info == nil {
			return metadata(resources, strings.ToLower(rand.Text()))
		}
		return metadata(append(resources, readResources(info.Config)...), readID(info))
	})
	if err == nil {
		err = l.ensureStream(ctx, o, dead, func(*jetstream.StreamInfo) map[string]string { return nil })
	}
	if err != nil || o.Sync != nil {
		return err
	}
	for _, subject := range []string{Subject, DeadSubject} {
		if err := l.checkPublish(ctx, subject); err != nil {
			return err
		}
	}
	return nil
}

// ensureStream creates or updates a stream. meta returns its metadata, given what it is now,
// nil before it is there.
func (l *Log) ensureStream(ctx context.Context, o Options, want jetstream.StreamConfig, meta func(*jetstream.StreamInfo) map[string]string) error {
	info, err := l.streamInfo(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		want.Metadata = meta(nil)
		err = l.permitted.ask(ctx, ".API.STREAM.CREATE."+want.Name, func(ctx context.Context) error {
			_, err := l.js.CreateStream(ctx, want)
			return err
		})
		switch {
		case isDenied(err):
			return &Refusal{fmt.Errorf("there is no stream %s, and the NATS user may not create it", want.Name), "create it (docs/configuration.md, NATS of your own), or let the user publish to $JS.API.STREAM.CREATE." + want.Name}
		case !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse): // by another process, just now: the identity is its
			return refused("create or update stream "+want.Name, err)
		}
		info, err = l.streamInfo(ctx, want.Name)
	}
	if err != nil {
		return err
	}
	is := info.Config
	prefix := strings.TrimSuffix(want.Subjects[0], ">")
	if i := slices.IndexFunc(is.Subjects, func(subject string) bool { return !strings.HasPrefix(subject, prefix) }); i >= 0 || is.Mirror != nil || len(is.Sources) > 0 {
		err := fmt.Errorf("stream %s is not clerksync's: its subjects are %s, and should be %s", want.Name, list(is.Subjects), want.Subjects[0])
		return &Refusal{err, "delete or rename that stream, or use another NATS account"}
	}
	want.Metadata = meta(info)
	if want.Placement == nil {
		want.Placement = is.Placement
	}
	if o.Compression == "" {
		want.Compression = is.Compression
	}
	err = l.permitted.ask(ctx, ".API.STREAM.UPDATE."+want.Name, func(ctx context.Context) error {
		_, err := l.js.UpdateStream(ctx, want)
		return err
	})
	if isDenied(err) {
		return l.accept("stream "+want.Name, compareStreams(is, want), "nats stream edit "+want.Name+", or let the NATS user publish to $JS.API.STREAM.UPDATE."+want.Name)
	}
	return refused("create or update stream "+want.Name, err)
}

// metadata returns the metadata of the stream of events.
func metadata(resources []string, id string) map[string]string {
	return map[string]string{metaResources: strings.Join(sortedSet(resources), " "), metaID: id}
}

// open opens the streams.
func (l *Log) open(ctx context.Context) error {
	o := &opened{streams: map[string]jetstream.Stream{}}
	for _, name := range []string{Stream, DeadStream} {
		stream, err := l.readStream(ctx, name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound): // Inspect reports a missing DeadStream
		case err != nil:
			return err
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

// readID returns the identity of a stream. Without metadata, of one that somebody else made
// since we may not, it is the time of its creation. A stream that gets metadata later keeps
// that.
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
		err := l.permitted.ask(ctx, ".API.STREAM.UPDATE."+Stream, func(ctx context.Context) error {
			_, err := l.js.UpdateStream(ctx, info.Config)
			return err
		})
		if err != nil {
			return refused("update stream "+Stream, err)
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
// without them, as [readID] knows it, can hold any.
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
	var consumer jetstream.Consumer
	err = l.permitted.ask(ctx, ".CREATE."+Stream, func(ctx context.Context) (err error) {
		consumer, err = l.js.CreateOrUpdateConsumer(ctx, Stream, config)
		return err
	})
	const permit = "let the NATS user publish to $JS.API.CONSUMER.CREATE." + Stream + ".>"
	switch {
	case isDenied(err) && existing == nil:
		return nil, &Refusal{fmt.Errorf("there is no consumer %s, and the NATS user may not create it", ConsumerName), "create it (docs/configuration.md, NATS of your own), or " + permit}
	case isDenied(err):
		if err := l.accept("consumer "+ConsumerName, compareConsumers(existing), "nats consumer edit "+Stream+" "+ConsumerName+", or "+permit); err != nil {
			return nil, err
		}
		return l.js.Consumer(ctx, Stream, ConsumerName)
	case err != nil:
		return nil, refused("create or update consumer "+ConsumerName, err)
	}
	return consumer, nil
}
