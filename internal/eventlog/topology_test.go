package eventlog_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

func TestOpenBringsAStreamToItsNewLimits(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{MaxBytes: 1 << 30, DeadMaxAge: 24 * time.Hour, DeadMaxBytes: 1 << 29})
	appendAll(t, l, events(0, 100))
	require.NoError(t, l.Park(t.Context(), event(0), refused(1, 1)))
	limits := func() [4]int64 {
		events, dead := streamOf(t, nc, eventlog.Stream).CachedInfo().Config, streamOf(t, nc, eventlog.DeadStream).CachedInfo().Config
		return [4]int64{int64(events.MaxAge), events.MaxBytes, int64(dead.MaxAge), dead.MaxBytes}
	}
	hours := func(n int64) int64 { return n * int64(time.Hour) }
	require.Equal(t, [4]int64{0, 1 << 30, hours(24), 1 << 29}, limits())

	open(t, nc, eventlog.Options{MaxBytes: 1 << 31, DeadMaxAge: 36 * time.Hour, DeadMaxBytes: 1 << 28})
	require.Equal(t, [4]int64{0, 1 << 31, hours(36), 1 << 28}, limits())
	open(t, nc, eventlog.Options{})
	require.Equal(t, [4]int64{0, -1, 0, -1}, limits())
	// A limit below the current size refuses new events and drops none.
	l = open(t, nc, eventlog.Options{MaxBytes: 4096, DeadMaxBytes: 16})
	require.Equal(t, [4]int64{0, 4096, 0, 16}, limits())
	_, err := l.Append(t.Context(), event(100))
	require.ErrorIs(t, err, eventlog.ErrUnavailable)
	require.ErrorIs(t, l.Park(t.Context(), event(1), refused(1, 2)), eventlog.ErrUnavailable)
	requireOnce(t, nc, events(0, 100))
	require.Len(t, lettersOf(t, l, eventlog.Filter{}), 1)
}

// Types removed from CLERKSYNC_STORE_EVENTS may still be in the log.
func TestTheLogKnowsEveryResourceThatWasEverStored(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	for _, step := range []struct{ store, want []string }{
		{[]string{"user.*", "organization.created"}, []string{"clerksync", "organization", "user"}}, // and probes
		{[]string{"session.*"}, []string{"clerksync", "organization", "session", "user"}},
		{nil, []string{"clerksync", "organization", "session", "user"}}, // keeps them
		{[]string{"user.created", "email.created"}, []string{"clerksync", "email", "organization", "session", "user"}},
		{[]string{"organization*.*"}, []string{"*"}},
		{[]string{"user.*"}, []string{"*"}},
	} {
		require.Equal(t, step.want, open(t, nc, eventlog.Options{StoreEvents: step.store}).Resources())
		attached, err := eventlog.Attach(t.Context(), nc, "")
		require.NoError(t, err)
		attached.Close()
		require.Equal(t, step.want, attached.Resources())
	}
}

func TestALogThatDoesNotSayItsResourcesHasAny(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: eventlog.Stream, Subjects: []string{"clerk.events.>"}})
	require.NoError(t, err)
	l, err := eventlog.Attach(t.Context(), nc, "")
	require.NoError(t, err)
	defer l.Close()
	require.Equal(t, []string{"*"}, l.Resources())
	require.Equal(t, []string{"*"}, open(t, nc, eventlog.Options{StoreEvents: []string{"user.*"}}).Resources())
	require.Equal(t, []string{"*"}, open(t, testkit.Connect(t, testkit.NATS(t)), eventlog.Options{}).Resources())
}

func TestOpenSaysWhatToDoWhenJetStreamRefuses(t *testing.T) {
	t.Parallel()
	refusal := func(nc *nats.Conn, o eventlog.Options) string {
		t.Helper()
		_, err := eventlog.Open(t.Context(), nc, o)
		require.Error(t, err)
		return err.Error()
	}
	with := func(configs ...jetstream.StreamConfig) *nats.Conn {
		t.Helper()
		nc := testkit.Connect(t, testkit.NATS(t))
		js, err := jetstream.New(nc)
		require.NoError(t, err)
		for _, config := range configs {
			_, err := js.CreateStream(t.Context(), config)
			require.NoError(t, err)
		}
		return nc
	}
	const (
		replicas = "nats: API error: code=500 err_code=10074 description=replicas > 1 not supported in non-clustered mode" +
			"; CLERKSYNC_LOG_REPLICAS asks for more copies than there are servers with JetStream, or than CLERKSYNC_LOG_CLUSTER and CLERKSYNC_LOG_TAGS leave"
		overlap = "nats: API error: code=400 err_code=10065 description=subjects overlap with an existing stream" +
			"; another stream takes clerk.events.> or clerk.dead.>: delete it, or use another NATS account"
		storage = "nats: API error: code=500 err_code=10047 description=insufficient storage resources available" +
			"; CLERKSYNC_LOG_MAX_BYTES or CLERKSYNC_DEAD_MAX_BYTES asks for more than the server or the account has"
		inPlace = "; JetStream cannot change this in place: export the events (clerksync events export), delete the stream, start, and import them"
	)
	require.Equal(t, "create or update stream CLERK_EVENTS: "+replicas, refusal(with(), eventlog.Options{Replicas: 3}))
	nc := with()
	open(t, nc, eventlog.Options{})
	require.Equal(t, "create or update stream CLERK_EVENTS: "+replicas, refusal(nc, eventlog.Options{Replicas: 3}), "an existing log")

	for _, subject := range []string{"clerk.>", "clerk.events.user.created.*.*.*", ">"} {
		other := jetstream.StreamConfig{Name: "OTHER", Subjects: []string{subject}, NoAck: subject == ">"}
		require.Equal(t, "create or update stream CLERK_EVENTS: "+overlap, refusal(with(other), eventlog.Options{}), subject)
	}
	nc = with(jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"clerk.dead.x"}})
	require.Equal(t, "create or update stream CLERK_DEAD: "+overlap, refusal(nc, eventlog.Options{}))
	nc = with(jetstream.StreamConfig{Name: "CLERK_EVENTS", Subjects: []string{"clerk.events.x"}}, jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"clerk.events.a.b.c.d.e"}})
	require.Equal(t, "create or update stream CLERK_EVENTS: "+overlap, refusal(nc, eventlog.Options{}), "an existing stream of this name")

	for name, subject := range map[string]string{"CLERK_EVENTS": "clerk.events.>", "CLERK_DEAD": "clerk.dead.>"} {
		nc = with(jetstream.StreamConfig{Name: name, Subjects: []string{subject, "mine"}})
		require.Equal(t, "stream "+name+" is not clerksync's: its subjects are "+subject+" mine, and should be "+subject+"; delete or rename that stream, or use another NATS account",
			refusal(nc, eventlog.Options{}))
		nc = with(jetstream.StreamConfig{Name: name, Subjects: []string{subject}, Storage: jetstream.MemoryStorage})
		require.Equal(t, "create or update stream "+name+": nats: API error: code=500 err_code=10052 description=stream configuration update can not change storage type"+inPlace,
			refusal(nc, eventlog.Options{}))
		nc = with(jetstream.StreamConfig{Name: name, Subjects: []string{subject}, Retention: jetstream.WorkQueuePolicy})
		require.Equal(t, "create or update stream "+name+": nats: API error: code=500 err_code=10052 description=stream configuration update can not change retention policy to/from workqueue"+inPlace,
			refusal(nc, eventlog.Options{}))
	}
	require.Equal(t, "create or update stream CLERK_DEAD: nats: API error: code=500 err_code=10052 description=duplicates window can not be larger then max age",
		refusal(with(), eventlog.Options{DeadMaxAge: time.Minute}), "deleting the stream would not help")

	// The embedded server has no limit.
	nc = limited(t, natsserver.JetStreamAccountLimits{MaxStore: 1 << 30, MaxMemory: -1, MaxStreams: -1, MaxConsumers: -1})
	require.Equal(t, "create or update stream CLERK_EVENTS: "+storage, refusal(nc, eventlog.Options{MaxBytes: 1 << 31}))
	require.Equal(t, "create or update stream CLERK_DEAD: "+storage, refusal(nc, eventlog.Options{MaxBytes: 1 << 29, DeadMaxBytes: 1 << 30}))
	open(t, nc, eventlog.Options{MaxBytes: 1 << 29, DeadMaxBytes: 1 << 20})
	require.Equal(t, "create or update stream CLERK_EVENTS: "+storage, refusal(nc, eventlog.Options{MaxBytes: 1 << 30, DeadMaxBytes: 1 << 20}), "an existing log")

	nc = limited(t, natsserver.JetStreamAccountLimits{MaxStore: 1 << 30, MaxMemory: -1, MaxStreams: 1, MaxConsumers: -1})
	require.Equal(t, "create or update stream CLERK_DEAD: nats: API error: code=400 err_code=10027 description=maximum number of streams reached"+
		"; the log needs two streams, CLERK_EVENTS and CLERK_DEAD: let the account have more, or delete some", refusal(nc, eventlog.Options{}))

	nc = limited(t, natsserver.JetStreamAccountLimits{MaxStore: 1 << 30, MaxMemory: -1, MaxStreams: -1, MaxConsumers: -1, MaxBytesRequired: true})
	require.Equal(t, "create or update stream CLERK_EVENTS: nats: API error: code=400 err_code=10113 description=account requires a stream config to have max bytes set"+
		"; set CLERKSYNC_LOG_MAX_BYTES and CLERKSYNC_DEAD_MAX_BYTES: the account takes no stream without a limit", refusal(nc, eventlog.Options{}))

	nc = limited(t, natsserver.JetStreamAccountLimits{MaxStore: 1 << 30, MaxMemory: -1, MaxStreams: -1, MaxConsumers: -1, StoreMaxStreamBytes: 1 << 20})
	require.Equal(t, "create or update stream CLERK_EVENTS: nats: API error: code=400 err_code=10122 description=stream max bytes exceeds account limit max stream bytes"+
		"; CLERKSYNC_LOG_MAX_BYTES or CLERKSYNC_DEAD_MAX_BYTES asks for more than the server or the account has", refusal(nc, eventlog.Options{MaxBytes: 1 << 21}))
}

// limited connects to a server whose accounts have limits.
func limited(t *testing.T, limits natsserver.JetStreamAccountLimits) *nats.Conn {
	t.Helper()
	s, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	require.True(t, s.ReadyForConnections(patience))
	require.NoError(t, s.GlobalAccount().UpdateJetStreamLimits(map[string]natsserver.JetStreamAccountLimits{"": limits}))
	nc, err := nats.Connect(s.ClientURL())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

func TestAttachNeedsALog(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	_, err := eventlog.Attach(t.Context(), nc, "")
	require.ErrorIs(t, err, eventlog.ErrNoLog)
	require.EqualError(t, err, "no event log: there is no stream CLERK_EVENTS on this NATS server")
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.Stream(t.Context(), eventlog.Stream)
	require.ErrorIs(t, err, jetstream.ErrStreamNotFound, "and creates none")
}

func TestAttachChangesNothing(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{MaxBytes: 1 << 30, DeadMaxBytes: 1 << 29, StoreEvents: []string{"user.*"}})
	appendAll(t, l, events(0, 3))
	configs := func() []jetstream.StreamConfig {
		return []jetstream.StreamConfig{streamOf(t, nc, eventlog.Stream).CachedInfo().Config, streamOf(t, nc, eventlog.DeadStream).CachedInfo().Config}
	}
	before := configs()
	attached, err := eventlog.Attach(t.Context(), nc, "")
	require.NoError(t, err)
	defer attached.Close()
	require.Equal(t, before, configs())

	require.True(t, attached.Atomic())
	require.Equal(t, []uint64{4, 5, 6}, appendAll(t, attached, events(3, 6)))
	stored, errs := attached.CommitGroup(events(6, 30)...)
	for i := range stored {
		require.NoError(t, errs[i])
		require.Equal(t, eventlog.Stored{Seq: uint64(i + 7)}, stored[i])
	}
	require.NoError(t, attached.Park(t.Context(), event(1), refused(1, 2)))
	require.Len(t, lettersOf(t, l, eventlog.Filter{}), 1)
	require.NoError(t, attached.Check(t.Context()))
	requireOnce(t, nc, events(0, 30))
	require.Equal(t, before, configs())
}

// TestAdmit lets filters find types that another part than the receiver stores.
func TestAdmit(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	open(t, nc, eventlog.Options{StoreEvents: []string{"user.*", "organization.*"}})
	l, err := eventlog.Attach(t.Context(), nc, "")
	require.NoError(t, err)
	t.Cleanup(l.Close)
	config := streamOf(t, nc, eventlog.Stream).CachedInfo().Config

	require.NoError(t, l.Admit(t.Context(), []string{"user.created", "organization.deleted"}))
	require.Equal(t, config, streamOf(t, nc, eventlog.Stream).CachedInfo().Config)
	require.NoError(t, l.Admit(t.Context(), []string{"user.created", "session.created", "session.ended"}))
	changed := streamOf(t, nc, eventlog.Stream).CachedInfo().Config
	require.Equal(t, "clerksync organization session user", changed.Metadata["clerksync_resources"])
	changed.Metadata["clerksync_resources"] = config.Metadata["clerksync_resources"]
	require.Equal(t, config, changed, "nothing else")

	e := event(1)
	e.Envelope.Type, e.Envelope.EntityID = "session.created", "sess_1"
	appendAll(t, l, []*clerk.Event{e})
	again, err := eventlog.Attach(t.Context(), nc, "")
	require.NoError(t, err)
	t.Cleanup(again.Close)
	for _, l := range []*eventlog.Log{l, again} {
		scan, err := l.Events(t.Context(), eventlog.Filter{User: "user_1"}, true)
		require.NoError(t, err)
		m, err := scan.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, "session.created", m.Event.Envelope.Type)
		scan.Close()
	}

	// A log without resources can hold any.
	other := testkit.Connect(t, testkit.NATS(t))
	l = open(t, other, eventlog.Options{})
	require.NoError(t, l.Admit(t.Context(), []string{"session.created"}))
	require.Empty(t, streamOf(t, other, eventlog.Stream).CachedInfo().Config.Metadata["clerksync_resources"])
}

// TestAdmitConcurrently: beside reads and other admissions of the same Log, none of which
// undoes another.
func TestAdmitConcurrently(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{StoreEvents: []string{"user.*"}})
	appendAll(t, l, events(0, 1))
	want := []string{"clerksync", "user"}
	var all sync.WaitGroup
	for i := range 20 {
		resource := fmt.Sprintf("resource%d", i)
		want = append(want, resource)
		all.Go(func() {
			if err := l.Admit(t.Context(), []string{resource + ".created"}); err != nil {
				t.Error(err)
			}
			scan, err := l.Events(t.Context(), eventlog.Filter{User: "user_0"}, true)
			if err != nil {
				t.Error(err)
				return
			}
			scan.Close()
			if !slices.Contains(l.Types(), resource+".*") {
				t.Errorf("%s is not declared", resource)
			}
		})
	}
	all.Wait()
	require.ElementsMatch(t, want, strings.Fields(streamOf(t, nc, eventlog.Stream).CachedInfo().Config.Metadata["clerksync_resources"]))
	before := nc.Stats().OutMsgs
	require.NoError(t, l.Admit(t.Context(), []string{"resource7.updated", "user.snapshot"}))
	require.Equal(t, before, nc.Stats().OutMsgs, "without a request")
}

func TestErrorCodesAreTheServers(t *testing.T) {
	t.Parallel()
	server := map[string]jetstream.ErrorCode{}
	for name, id := range map[string]natsserver.ErrorIdentifier{
		"JSAccountResourcesExceededErr":   natsserver.JSAccountResourcesExceededErr,
		"JSClusterNoPeersErrF":            natsserver.JSClusterNoPeersErrF,
		"JSInsufficientResourcesErr":      natsserver.JSInsufficientResourcesErr,
		"JSMaximumStreamsLimitErr":        natsserver.JSMaximumStreamsLimitErr,
		"JSMaximumConsumersLimitErr":      natsserver.JSMaximumConsumersLimitErr,
		"JSStorageResourcesExceededErr":   natsserver.JSStorageResourcesExceededErr,
		"JSStreamInvalidConfigF":          natsserver.JSStreamInvalidConfigF,
		"JSStreamSubjectOverlapErr":       natsserver.JSStreamSubjectOverlapErr,
		"JSStreamReplicasNotSupportedErr": natsserver.JSStreamReplicasNotSupportedErr,
		"JSStreamMaxBytesRequired":        natsserver.JSStreamMaxBytesRequired,
		"JSStreamMaxStreamBytesExceeded":  natsserver.JSStreamMaxStreamBytesExceeded,
	} {
		server[name] = jetstream.ErrorCode(id)
	}
	require.Equal(t, server, eventlog.ErrorCodes)
}
