package tracing_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	svix "github.com/svix/svix-webhooks/go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/receiver"
	"github.com/clerksync/clerksync/internal/replay"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
	"github.com/clerksync/clerksync/internal/tracing"
)

const secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

// at is the time of emission, in Unix milliseconds.
const at = int64(1767225600000)

// world is a receiver, a log and a store with one tracer.
type world struct {
	t        *testing.T
	nc       *nats.Conn
	log      *eventlog.Log
	store    *store.Store
	receiver *receiver.Receiver
	recorder *tracetest.SpanRecorder
	tracer   *tracing.Tracer
}

func newWorld(t *testing.T, options ...sdktrace.TracerProviderOption) *world {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(append(options, sdktrace.WithSpanProcessor(recorder))...)
	w := newWorldWith(t, tracing.New(provider))
	w.recorder = recorder
	return w
}

func newWorldWith(t *testing.T, tracer *tracing.Tracer) *world {
	t.Helper()
	nc := testkit.Connect(t, testkit.NATS(t))
	w := &world{t: t, nc: nc, log: testkit.OpenLog(t, nc), store: testkit.Store(t), tracer: tracer, recorder: tracetest.NewSpanRecorder()}
	var err error
	w.receiver, err = receiver.New(receiver.Options{
		Secrets: []string{secret}, Log: w.log, Registry: prometheus.NewRegistry(), Tracer: tracer,
	})
	require.NoError(t, err)
	return w
}

// project starts a projector that runs until the test ends or stop is called.
func (w *world) project(change ...func(*projector.Options)) (stop func()) {
	w.t.Helper()
	o := projector.Options{Log: w.log, Apply: w.store.Apply, Registry: prometheus.NewRegistry(), Tracer: w.tracer}
	for _, f := range change {
		f(&o)
	}
	p := projector.New(o)
	p.Start()
	stop = func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		require.NoError(w.t, p.Stop(ctx))
	}
	w.t.Cleanup(stop)
	return stop
}

// deliver posts an event as Svix does, with a foreign trace context.
func (w *world) deliver(e *clerk.Event, status int) {
	w.t.Helper()
	webhook, err := svix.NewWebhook(secret)
	require.NoError(w.t, err)
	now := time.Now()
	signature, err := webhook.Sign(e.ID, now, e.Body)
	require.NoError(w.t, err)
	req := httptest.NewRequest(http.MethodPost, clerk.WebhookPath, bytes.NewReader(e.Body))
	req.Header.Set("svix-id", e.ID)
	req.Header.Set("svix-timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("svix-signature", signature)
	req.Header.Set("traceparent", "00-"+foreign+"-00f067aa0ba902b7-01")
	answer := httptest.NewRecorder()
	w.receiver.ServeHTTP(answer, req)
	require.Equal(w.t, status, answer.Code)
}

// foreign is the trace context of a request.
const foreign = "4bf92f3577b34da6a3ce929d0e0e4736"

// await waits for n spans of a name and returns them in the order of their ends.
func (w *world) await(name string, n int) []sdktrace.ReadOnlySpan {
	w.t.Helper()
	var found []sdktrace.ReadOnlySpan
	testkit.Eventually(w.t, fmt.Sprintf("%d spans %s", n, name), func() (bool, any) {
		found = w.ended(name)
		return len(found) >= n, len(found)
	})
	require.Len(w.t, found, n)
	return found
}

func (w *world) ended(name string) []sdktrace.ReadOnlySpan {
	var found []sdktrace.ReadOnlySpan
	for _, span := range w.recorder.Ended() {
		if span.Name() == name {
			found = append(found, span)
		}
	}
	return found
}

// stored reads an event from the log.
func (w *world) stored(seq uint64) *eventlog.Message {
	w.t.Helper()
	m, err := w.log.Get(w.t.Context(), seq)
	require.NoError(w.t, err)
	return m
}

// append stores an event with a trace, without a receiver.
func (w *world) append(id, traceparent string) *clerk.Event {
	w.t.Helper()
	e := user(id)
	e.Trace = traceparent
	_, err := w.log.Append(w.t.Context(), e)
	require.NoError(w.t, err)
	return e
}

func user(id string) *clerk.Event {
	return testkit.Event(id, "user.created", at, testkit.UserData("user_"+id, id+"@example.com", "Ada", at, at))
}

func attributes(span sdktrace.ReadOnlySpan) map[string]any {
	values := map[string]any{}
	for _, kv := range span.Attributes() {
		values[string(kv.Key)] = kv.Value.AsInterface()
	}
	return values
}

func linked(span sdktrace.ReadOnlySpan) []trace.SpanID {
	var ids []trace.SpanID
	for _, link := range span.Links() {
		ids = append(ids, link.SpanContext.SpanID())
	}
	return ids
}

func traceparent(sc trace.SpanContext) string {
	return "00-" + sc.TraceID().String() + "-" + sc.SpanID().String() + "-01"
}

// TestOneTraceFromTheRequestToTheTransaction: linked with the trace of the transaction.
func TestOneTraceFromTheRequestToTheTransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deliver(user("msg_1"), http.StatusNoContent)
	before := time.Now()
	w.project()
	project := w.await("project", 1)[0]
	receive, storing, apply := w.await("receive", 1)[0], w.await("store", 1)[0], w.await("apply", 1)[0]

	require.False(t, receive.Parent().IsValid(), "a root")
	require.NotEqual(t, foreign, receive.SpanContext().TraceID().String(), "what a request says of its trace is not believed")
	require.Equal(t, receive.SpanContext().SpanID(), storing.Parent().SpanID())
	require.Equal(t, storing.SpanContext().SpanID(), project.Parent().SpanID())
	require.True(t, project.Parent().IsRemote())
	for _, span := range []sdktrace.ReadOnlySpan{storing, project} {
		require.Equal(t, receive.SpanContext().TraceID(), span.SpanContext().TraceID())
	}
	require.Equal(t, traceparent(storing.SpanContext()), w.stored(1).Header.Get("traceparent"))
	require.Equal(t, traceparent(storing.SpanContext()), w.stored(1).Event.Trace)

	require.False(t, apply.Parent().IsValid(), "a root: there can be many traces in a batch")
	require.NotEqual(t, receive.SpanContext().TraceID(), apply.SpanContext().TraceID())
	require.Equal(t, []trace.SpanID{storing.SpanContext().SpanID()}, linked(apply))
	require.Equal(t, []trace.SpanID{apply.SpanContext().SpanID()}, linked(project))

	require.Equal(t, apply.EndTime(), project.EndTime(), "to the commit")
	require.False(t, project.StartTime().Before(before), "from the delivery")
	require.False(t, project.StartTime().After(apply.StartTime()))

	require.Equal(t, trace.SpanKindServer, receive.SpanKind())
	require.Equal(t, trace.SpanKindProducer, storing.SpanKind())
	require.Equal(t, trace.SpanKindConsumer, project.SpanKind())
	require.Equal(t, trace.SpanKindInternal, apply.SpanKind())
	require.Equal(t, map[string]any{
		"clerksync.event_type": "user.created", "clerksync.svix_id": "msg_1", "clerksync.outcome": "stored", "http.response.status_code": int64(204),
	}, attributes(receive))
	require.Equal(t, map[string]any{"clerksync.seq": int64(1)}, attributes(storing))
	require.Equal(t, map[string]any{
		"clerksync.seq": int64(1), "clerksync.deliveries": int64(1), "clerksync.outcome": "applied",
	}, attributes(project))
	require.Equal(t, map[string]any{"clerksync.events": int64(1), "clerksync.outcome": "committed"}, attributes(apply))
}

// TestSpansAreAboutNobody: whatever the outcome, no span names a person.
func TestSpansAreAboutNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deliver(user("msg_1"), http.StatusNoContent)
	w.deliver(user("msg_1"), http.StatusNoContent)                                                                                    // again
	w.deliver(testkit.Event("msg_2", "email.created", at, testkit.Object{"id": "ema_1"}), http.StatusNoContent)                       // not stored
	w.deliver(testkit.Event("msg_3", "user.created", at, testkit.Object{"id": "user_3", "updated_at": "soon"}), http.StatusNoContent) // cannot be decoded
	w.deliver(testkit.Event("msg_4", "user.created", at, testkit.Object{"id": "bad id"}), http.StatusNoContent)                       // parked at once
	w.deliver(testkit.Event("msg_5", clerk.ProbeType, at, testkit.Object{"id": "probe"}), http.StatusNoContent)                       // not synced
	w.receiver.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, clerk.WebhookPath, http.NoBody))                // not signed
	w.project()
	projected := w.await("project", 3)
	outcomes := map[any]int{}
	for _, span := range append(w.await("receive", 7), projected...) {
		outcomes[attributes(span)["clerksync.outcome"]]++
	}
	require.Equal(t, map[any]int{
		"stored": 3, "duplicate": 1, "ignored": 2, "parked": 1, "unauthorized": 1, "applied": 1, "dead": 1,
	}, outcomes)

	for _, span := range w.recorder.Ended() {
		require.Empty(t, span.Events())
		for _, kv := range span.Attributes() {
			require.Contains(t, []attribute.Key{
				"clerksync.event_type", "clerksync.svix_id", "clerksync.seq", "clerksync.deliveries", "clerksync.outcome",
				"clerksync.events", "http.response.status_code",
			}, kv.Key)
		}
		everything := fmt.Sprintf("%+v", tracetest.SpanStubFromReadOnlySpan(span))
		for _, private := range []string{"user_msg_1", "user_3", "example.com", "Ada", "bad id"} {
			require.NotContains(t, everything, private)
		}
	}
}

// TestNothingIsTraced: without tracing, events have no header.
func TestNothingIsTraced(t *testing.T) {
	t.Parallel()
	for name, tracer := range map[string]*tracing.Tracer{
		"off":         nil,
		"sampled out": tracing.New(sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldWith(t, tracer)
			w.deliver(user("msg_1"), http.StatusNoContent)
			require.NotContains(t, w.stored(1).Header, "traceparent")
			w.project()
			w.awaitUsers(1)
		})
	}
}

// TestAWorkerAloneIsTraced: events without a trace still have a transaction.
func TestAWorkerAloneIsTraced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append("msg_1", "")
	stop := w.project()
	apply := w.await("apply", 1)[0]
	stop()
	require.Empty(t, apply.Links())
	require.Empty(t, w.ended("project"))
}

// TestRedeliveredEventHasOneSpan: one worker returned the event, the next applied it.
func TestRedeliveredEventHasOneSpan(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deliver(user("msg_1"), http.StatusNoContent)
	stop := w.project(func(o *projector.Options) {
		o.Apply = func(context.Context, []store.Entry) ([]store.Outcome, error) { return nil, errors.New("away") }
	})
	testkit.Eventually(t, "it failed", func() (bool, any) { return len(w.ended("apply")) > 0, "" })
	stop()
	require.Empty(t, w.ended("project"))
	failed := w.ended("apply")
	for _, span := range failed {
		require.Equal(t, "failed", attributes(span)["clerksync.outcome"])
		require.Equal(t, codes.Error, span.Status().Code)
		require.Len(t, span.Links(), 1)
	}

	w.project()
	project := w.await("project", 1)[0]
	require.Greater(t, attributes(project)["clerksync.deliveries"], int64(1))
	applies := w.await("apply", len(failed)+1)
	require.Equal(t, []trace.SpanID{applies[len(failed)].SpanContext().SpanID()}, linked(project))
	require.Equal(t, w.await("store", 1)[0].SpanContext().SpanID(), project.Parent().SpanID())
}

// TestRefusedEventIsFound: the halves of a refused batch are transactions with their own
// spans, and the parked event has one.
func TestRefusedEventIsFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, id := range []string{"msg_1", "msg_2"} {
		w.deliver(user(id), http.StatusNoContent)
	}
	w.project(func(o *projector.Options) {
		o.Apply = func(ctx context.Context, entries []store.Entry) ([]store.Outcome, error) {
			for _, e := range entries {
				if e.Seq == 2 {
					return nil, store.ErrRefused
				}
			}
			return w.store.Apply(ctx, entries)
		}
	})
	for _, span := range w.await("project", 2) {
		want := map[any]any{int64(1): "applied", int64(2): "dead"}
		require.Equal(t, want[attributes(span)["clerksync.seq"]], attributes(span)["clerksync.outcome"])
	}
	var refused int
	for _, span := range w.ended("apply") {
		if attributes(span)["clerksync.outcome"] == "refused" {
			refused++
		}
	}
	require.Positive(t, refused)
}

// TestReplayIsNotTraced: and the stored trace does not change.
func TestReplayIsNotTraced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deliver(user("msg_1"), http.StatusNoContent)
	stop := w.project()
	w.await("project", 1)
	stop()
	before, spans := w.stored(1).Header, len(w.recorder.Ended())

	scan, err := w.log.Events(t.Context(), eventlog.Filter{}, false)
	require.NoError(t, err)
	defer scan.Close()
	r := replay.NewEvents(scan, w.log, replay.Options{Apply: w.store.Apply})
	require.NoError(t, r.Run(t.Context()))
	require.EqualValues(t, 1, r.Counts().Duplicate)
	require.Len(t, w.recorder.Ended(), spans)
	require.Equal(t, before, w.stored(1).Header)
}

// TestDeadLetterKeepsItsTrace: a retry continues it.
func TestDeadLetterKeepsItsTrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deliver(user("msg_1"), http.StatusNoContent)
	stop := w.project(func(o *projector.Options) {
		o.Apply = func(context.Context, []store.Entry) ([]store.Outcome, error) { return nil, store.ErrRefused }
	})
	w.await("project", 1)
	stop()
	letter, err := w.log.GetLetter(t.Context(), 1)
	require.NoError(t, err)
	_, err = w.log.AppendParked(t.Context(), letter.Event, 1)
	require.NoError(t, err)
	require.Equal(t, w.stored(1).Event.Trace, w.stored(2).Event.Trace)

	w.project()
	both := w.await("project", 2)
	require.Equal(t, "dead", attributes(both[0])["clerksync.outcome"])
	require.Equal(t, "applied", attributes(both[1])["clerksync.outcome"])
	require.Equal(t, both[0].Parent().SpanID(), both[1].Parent().SpanID())
}

// TestMalformedTraceIsIgnored: the event is applied.
func TestMalformedTraceIsIgnored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	malformed := []string{
		"x", "00", "00-" + foreign, "00-" + foreign + "-00f067aa0ba902b7", "00-" + foreign + "-00f067aa0ba902b7-1",
		"00-" + foreign + "-0000000000000000-01", "00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01",
		"ff-" + foreign + "-00f067aa0ba902b7-01", "00-" + strings.ToUpper(foreign) + "-00f067aa0ba902b7-01",
		"00-" + foreign + "-00f067aa0ba902b7-01-more", strings.Repeat("0-", 4096), "\u00e9" + foreign,
	}
	for i, text := range malformed {
		w.append(fmt.Sprint("msg_", i), text)
	}
	w.append("msg_good", "00-"+foreign+"-00f067aa0ba902b7-01")
	w.project()
	w.awaitUsers(len(malformed) + 1)
	project := w.await("project", 1)[0]
	require.Equal(t, foreign, project.SpanContext().TraceID().String())
	require.EqualValues(t, len(malformed)+1, attributes(project)["clerksync.seq"])
	var links int
	for _, span := range w.ended("apply") {
		links += len(span.Links())
	}
	require.Equal(t, 1, links)
}

func (w *world) awaitUsers(n int) {
	w.t.Helper()
	testkit.Eventually(w.t, fmt.Sprintf("%d users have a row", n), func() (bool, any) {
		var got int
		err := w.store.Pool().QueryRow(w.t.Context(), "SELECT count(*) FROM users").Scan(&got)
		return err == nil && got == n, got
	})
}
