package eventlog_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestInspect finds no difference in a new log, whatever its limits, and one for each
// changed setting, until the next Open.
func TestInspect(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	o := eventlog.Options{MaxBytes: 1 << 30, DeadMaxAge: 72 * time.Hour, DeadMaxBytes: 1 << 29}
	l := open(t, nc, o)
	appendAll(t, l, events(0, 3))
	inspect := func(o eventlog.Options) *eventlog.Inspection {
		t.Helper()
		i, err := l.Inspect(t.Context(), o)
		require.NoError(t, err)
		return i
	}
	i := inspect(o)
	require.Empty(t, i.Differences)
	require.Equal(t, nc.ConnectedServerVersion(), i.ServerVersion)
	require.NotZero(t, i.Bytes)
	require.NotZero(t, i.Used)
	require.EqualValues(t, 1<<30, i.MaxBytes)
	require.Less(t, i.ClockOff.Abs(), time.Second)
	require.False(t, i.HasConsumer)
	require.Equal(t, []eventlog.Difference{ // what is not set is compared too
		{Of: "CLERK_EVENTS", Setting: "max bytes", Is: "1073741824", Want: "no limit", Limit: true},
		{Of: "CLERK_DEAD", Setting: "max age", Is: "72h0m0s", Want: "no limit", Limit: true},
		{Of: "CLERK_DEAD", Setting: "max bytes", Is: "536870912", Want: "no limit", Limit: true},
	}, inspect(eventlog.Options{}).Differences)
	require.Equal(t, []eventlog.Difference{
		{Of: "CLERK_EVENTS", Setting: "replicas", Is: "1", Want: "3", Limit: true},
		{Of: "CLERK_EVENTS", Setting: "max bytes", Is: "1073741824", Want: "1024", Limit: true},
		{Of: "CLERK_DEAD", Setting: "replicas", Is: "1", Want: "3", Limit: true},
		{Of: "CLERK_DEAD", Setting: "max age", Is: "72h0m0s", Want: "1h0m0s", Limit: true},
	}, inspect(eventlog.Options{Replicas: 3, MaxBytes: 1024, DeadMaxAge: time.Hour, DeadMaxBytes: 1 << 29}).Differences)

	// Changes by others.
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		change func(*jetstream.StreamConfig)
		want   eventlog.Difference
	}{
		"discard":    {func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }, eventlog.Difference{Setting: "discard", Is: "DiscardOld", Want: "DiscardNew"}},
		"duplicates": {func(c *jetstream.StreamConfig) { c.Duplicates = time.Minute }, eventlog.Difference{Setting: "duplicate window", Is: "1m0s", Want: "10m0s", Limit: true}},
		"no ack":     {func(c *jetstream.StreamConfig) { c.NoAck = true }, eventlog.Difference{Setting: "acknowledgements", Is: "false", Want: "true"}},
		"age":        {func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, eventlog.Difference{Setting: "max age", Is: "1h0m0s", Want: "no limit"}},
		"size":       {func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1024 }, eventlog.Difference{Setting: "max message size", Is: "1024", Want: "no limit"}},
		"messages":   {func(c *jetstream.StreamConfig) { c.MaxMsgs = 9 }, eventlog.Difference{Setting: "max messages", Is: "9", Want: "no limit"}},
		"subject":    {func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 }, eventlog.Difference{Setting: "max messages per subject", Is: "1", Want: "no limit"}},
		"subjects": {
			func(c *jetstream.StreamConfig) { c.Subjects = []string{"clerk.events.user.>"} },
			eventlog.Difference{Setting: "subjects", Is: "clerk.events.user.>", Want: "clerk.events.>"},
		},
	} {
		config := streamOf(t, nc, eventlog.Stream).CachedInfo().Config
		tc.change(&config)
		_, err := js.UpdateStream(t.Context(), config)
		require.NoError(t, err, name)
		tc.want.Of = "CLERK_EVENTS"
		require.Equal(t, []eventlog.Difference{tc.want}, inspect(o).Differences, name)
		open(t, nc, o)
		require.Empty(t, inspect(o).Differences, name)
	}

	require.NoError(t, js.DeleteStream(t.Context(), eventlog.DeadStream))
	require.Equal(t, []eventlog.Difference{{Of: "CLERK_DEAD", Setting: "stream", Is: "missing", Want: "there"}}, inspect(o).Differences)
}

// TestInspectTheConsumer, which all workers share.
func TestInspectTheConsumer(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{})
	appendAll(t, l, events(0, 1))
	ch := make(chan *eventlog.Message)
	consume(t, l, into(ch))
	// A delivery comes after the server has answered the creation. It can answer an update
	// that overlaps the creation with the settings of the creation.
	take(t, ch, 1, patience)
	i, err := l.Inspect(t.Context(), eventlog.Options{})
	require.NoError(t, err)
	require.True(t, i.HasConsumer)
	require.Empty(t, i.Differences)

	js, err := jetstream.New(nc)
	require.NoError(t, err)
	consumer, err := js.Consumer(t.Context(), eventlog.Stream, eventlog.ConsumerName)
	require.NoError(t, err)
	config := consumer.CachedInfo().Config
	config.AckWait, config.MaxAckPending, config.MaxDeliver, config.FilterSubjects = time.Second, 1, 3, []string{"clerk.events.user.>", "clerk.events.organization.>"}
	_, err = js.UpdateConsumer(t.Context(), eventlog.Stream, config)
	require.NoError(t, err)
	_, err = js.PauseConsumer(t.Context(), eventlog.Stream, eventlog.ConsumerName, time.Now().Add(time.Hour))
	require.NoError(t, err)
	i, err = l.Inspect(t.Context(), eventlog.Options{})
	require.NoError(t, err)
	require.Equal(t, []eventlog.Difference{
		{Of: "projector", Setting: "ack wait", Is: "1s", Want: "30s"},
		{Of: "projector", Setting: "max deliver", Is: "3", Want: "no limit"},
		{Of: "projector", Setting: "max ack pending", Is: "1", Want: "20000"},
		{Of: "projector", Setting: "paused", Is: "true", Want: "false"},
		{Of: "projector", Setting: "filter", Is: "clerk.events.user.> clerk.events.organization.>", Want: ""},
	}, i.Differences)
}
