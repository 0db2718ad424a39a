package eventlog_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	embeddednats "github.com/clerksync/clerksync/internal/embedded/nats"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := serveChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		return
	}
	if options := os.Getenv(clusterNode); options != "" {
		if err := serveNode(options); err != nil {
			fmt.Fprintln(os.Stderr, "node:", err)
			os.Exit(1)
		}
		return
	}
	testkit.Main(m)
}

const (
	// prompt is less than the time limit of a commit (8 s), than that of a request to
	// JetStream (5 s), and far less than the pause before a redelivery (30 s).
	prompt = 4 * time.Second

	// patience is for steps that may take any time.
	patience = 20 * time.Second
)

// event returns the i-th event of a test, with a body that decoding and encoding would
// change.
func event(i int) *clerk.Event {
	id := fmt.Sprintf("user_%d", i)
	e := testkit.Event(fmt.Sprintf("msg_%d", i), "user.created", 1767225600000+int64(i),
		testkit.UserData(id, id+"@example.com", "Zoë 🦊 \u2028", 1767225600000, 1767225600000))
	e.Body = append([]byte("\r\n\t "), e.Body...)
	e.Body = append(e.Body, strings.Repeat(" ", i%7)+"\n\x00"...)
	e.Timestamp = fmt.Sprint(1767225600 + i)
	e.Signature = fmt.Sprintf("v1,c2lnbmVk%d v1,dHdpY2U=", i)
	return e
}

func events(from, to int) []*clerk.Event {
	var all []*clerk.Event
	for i := from; i < to; i++ {
		all = append(all, event(i))
	}
	return all
}

func open(t *testing.T, nc *nats.Conn, o eventlog.Options) *eventlog.Log {
	t.Helper()
	l, err := eventlog.Open(t.Context(), nc, o)
	require.NoError(t, err)
	t.Cleanup(l.Close)
	return l
}

// startIn starts or restarts a server on a folder.
func startIn(t *testing.T, dir string) *embeddednats.Server {
	t.Helper()
	n, err := embeddednats.Start(t.Context(), embeddednats.Options{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(n.Stop)
	return n
}

// appendAll appends events one after the other and returns their sequences.
func appendAll(t *testing.T, l *eventlog.Log, all []*clerk.Event) []uint64 {
	t.Helper()
	var seqs []uint64
	for _, e := range all {
		stored, err := l.Append(t.Context(), e)
		require.NoError(t, err)
		require.False(t, stored.Duplicate)
		seqs = append(seqs, stored.Seq)
	}
	return seqs
}

func streamOf(t *testing.T, nc *nats.Conn, name string) jetstream.Stream {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	stream, err := js.Stream(t.Context(), name)
	require.NoError(t, err)
	return stream
}

// readBack reads a whole stream.
func readBack(t *testing.T, nc *nats.Conn, name string) []*jetstream.RawStreamMsg {
	t.Helper()
	stream := streamOf(t, nc, name)
	state := stream.CachedInfo().State
	all := []*jetstream.RawStreamMsg{}
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		msg, err := stream.GetMsg(t.Context(), seq)
		require.NoError(t, err)
		all = append(all, msg)
	}
	require.Len(t, all, int(state.Msgs))
	return all
}

// requireStored compares a stored message with its event, byte for byte.
func requireStored(t *testing.T, e *clerk.Event, msg *jetstream.RawStreamMsg) {
	t.Helper()
	headers := nats.Header{}
	for name, values := range msg.Header {
		switch name {
		case "Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp": // of the reply, not of the message
		case "Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit": // the server keeps them
		default:
			headers[name] = values
		}
	}
	require.Equal(t, "clerk.events.user.created."+e.Envelope.EntityID+".-."+e.Envelope.EntityID, msg.Subject)
	require.Equal(t, nats.Header{
		"Nats-Msg-Id":           {e.ID},
		"Svix-Id":               {e.ID},
		"Svix-Timestamp":        {e.Timestamp},
		"Svix-Signature":        {e.Signature},
		"Clerksync-Received-At": {e.ReceivedAt.UTC().Format("2006-01-02T15:04:05.000Z")},
		"Clerksync-Event-At":    {time.UnixMilli(e.Envelope.EventAt).UTC().Format("2006-01-02T15:04:05.000Z")},
		"Clerksync-Origin":      {"webhook"},
		"Clerksync-Instance-Id": {"ins_test"},
	}, headers)
	require.Equal(t, string(e.Body), string(msg.Data))
}

// traffic counts what is published to the log, as the server passes it on.
type traffic struct {
	mu       sync.Mutex
	messages int
	commits  int // messages that ask for an acknowledgement
	batches  int // of these, those that commit an atomic batch
}

func watch(t *testing.T, nc *nats.Conn) *traffic {
	t.Helper()
	w := &traffic{}
	sub, err := nc.Subscribe(eventlog.Subject+".>", func(msg *nats.Msg) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.messages++
		if msg.Reply != "" {
			w.commits++
		}
		if msg.Header.Get("Nats-Batch-Commit") != "" {
			w.batches++
		}
	})
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	return w
}

func (w *traffic) counts() (messages, commits, batches int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.messages, w.commits, w.batches
}

// await waits until so many messages have passed.
func (w *traffic) await(t *testing.T, messages int) {
	t.Helper()
	awaitCount(t, uint64(messages), func() (uint64, error) {
		n, _, _ := w.counts()
		return uint64(n), nil
	})
}

// awaitCount waits until a number is what it should be.
func awaitCount(t *testing.T, want uint64, read func() (uint64, error)) {
	t.Helper()
	deadline := time.After(patience)
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		got, err := read()
		if err == nil && got == want {
			tick.Stop()
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %s: %d, %v; want %d", patience, got, err, want)
		}
	}
}

// finish fails the test when wait does not return within the limit.
func finish(t *testing.T, limit time.Duration, what string, wait func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatalf("%s: not done after %s", what, limit)
	}
}

// consume runs Consume until the test ends or stop is called.
func consume(t *testing.T, l *eventlog.Log, deliver func(context.Context, *eventlog.Message)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Consume(ctx, func(m *eventlog.Message) { deliver(ctx, m) }) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Consume: %v", err)
			}
		case <-time.After(prompt):
			t.Errorf("Consume did not return within %s after its context ended", prompt)
		}
	})
	t.Cleanup(stop)
	return stop
}

// into delivers into a channel, and returns what arrives after the end.
func into(ch chan<- *eventlog.Message) func(context.Context, *eventlog.Message) {
	return func(ctx context.Context, m *eventlog.Message) {
		select {
		case ch <- m:
		case <-ctx.Done():
			_ = m.Return()
		}
	}
}

// take takes n delivered messages, within a time limit.
func take(t *testing.T, ch <-chan *eventlog.Message, n int, limit time.Duration) []*eventlog.Message {
	t.Helper()
	var got []*eventlog.Message
	deadline := time.After(limit)
	for len(got) < n {
		select {
		case m := <-ch:
			got = append(got, m)
		case <-deadline:
			t.Fatalf("%d of %d events were delivered within %s", len(got), n, limit)
		}
	}
	return got
}

func seqsOf(messages []*eventlog.Message) []uint64 {
	var seqs []uint64
	for _, m := range messages {
		seqs = append(seqs, m.Seq)
	}
	return seqs
}

func upTo(n int) []uint64 {
	var seqs []uint64
	for i := range n {
		seqs = append(seqs, uint64(i+1))
	}
	return seqs
}

// link is a TCP path to a server. It can hold back replies, be cut, and lead to another
// server.
type link struct {
	mu      sync.Mutex
	changed *sync.Cond
	address string // "" is no server
	held    bool
	conns   map[*linkConn]bool
}

type linkConn struct {
	net.Conn
	link *link
}

func newLink(t *testing.T, n *embeddednats.Server) *link {
	t.Helper()
	l := &link{conns: map[*linkConn]bool{}}
	l.changed = sync.NewCond(&l.mu)
	l.to(t, n)
	return l
}

func (l *link) to(t *testing.T, n *embeddednats.Server) {
	t.Helper()
	u, err := url.Parse(n.URL())
	require.NoError(t, err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.address = u.Host
}

// connect connects over the link, which ignores the address.
func (l *link) connect(t *testing.T) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("nats://127.0.0.1:1", nats.SetCustomDialer(l), nats.MaxReconnects(-1),
		nats.ReconnectWait(10*time.Millisecond), nats.ReconnectJitter(0, 0), nats.IgnoreDiscoveredServers())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

func (l *link) Dial(network, _ string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.address == "" {
		return nil, fmt.Errorf("the link is cut")
	}
	conn, err := net.Dial(network, l.address)
	if err != nil {
		return nil, err
	}
	c := &linkConn{conn, l}
	l.conns[c] = true
	return c, nil
}

// hold holds all replies back, release lets them through.
func (l *link) hold()    { l.set(func() { l.held = true }) }
func (l *link) release() { l.set(func() { l.held = false }) }

// cut closes the connections, drops what was held back, and refuses new ones.
func (l *link) cut() {
	var conns []*linkConn
	l.set(func() {
		l.address, l.held = "", false
		for c := range l.conns {
			conns = append(conns, c)
		}
		clear(l.conns)
	})
	for _, c := range conns {
		_ = c.Conn.Close()
	}
}

func (l *link) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	l.changed.Broadcast()
}

func (c *linkConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	for c.link.held && c.link.conns[c] {
		c.link.changed.Wait()
	}
	if !c.link.conns[c] {
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *linkConn) Close() error {
	c.link.set(func() { delete(c.link.conns, c) })
	return c.Conn.Close()
}
