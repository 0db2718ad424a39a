package receiver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/signing"
	"github.com/clerksync/clerksync/internal/tracing"
)

const (
	// DefaultDeadline bounds storing an event. Svix gives up after 15 s and should get a
	// 503 before that.
	DefaultDeadline = 10 * time.Second

	// retryAfter is the Retry-After of a 503, in seconds.
	retryAfter = "5"

	// maxInFlight bounds the verified events that are stored at once. The rest gets a 503.
	maxInFlight = 512
)

// Log stores events; *[eventlog.Log] implements it.
type Log interface {
	Append(context.Context, *clerk.Event) (eventlog.Stored, error)
	Park(context.Context, *clerk.Event, eventlog.Death) error
}

// Options configure a [Receiver].
type Options struct {
	Secrets    []string // signing secrets, whsec_…; a delivery is signed with any of them
	InstanceID string   // "" accepts events of every Clerk instance
	Store      []string // globs of event types to store; nil is [clerk.SyncedTypes]
	Log        Log
	Deadline   time.Duration // 0 is [DefaultDeadline]
	Registry   prometheus.Registerer
	Tracer     *tracing.Tracer // nil when nothing is traced
	Logger     *slog.Logger

	// Answered, if set, is called with every delivery and its answer, by several
	// goroutines.
	Answered func(Delivery)

	testOnlyNow func() time.Time
}

// Delivery is one request to the endpoint and its answer.
type Delivery struct {
	Event   *clerk.Event // nil when it was not verified
	SvixID  string       // also of a delivery that was not verified, if it has one
	Outcome string       // one of [Outcomes]
	Seq     uint64       // in the event log, when it was stored
	Reason  string       // why it was parked or refused, "" otherwise
	Status  int
	Text    string // of the answer, "" when it was accepted
	Took    time.Duration
}

// Receiver is the endpoint, an http.Handler for every path: it takes deliveries at
// [clerk.WebhookPath], and names it to those that come elsewhere.
type Receiver struct {
	verifier   *signing.Verifier
	instanceID string
	store      []string
	log        Log
	deadline   time.Duration
	logger     *slog.Logger
	tracer     *tracing.Tracer
	metrics    *instruments
	bodies     *budget
	inFlight   chan struct{}
	refusals   refusals
	answered   func(Delivery)
	now        func() time.Time
}

// New returns a receiver, or an error about the options.
func New(o Options) (*Receiver, error) {
	r := &Receiver{
		instanceID: o.InstanceID, store: o.Store, log: o.Log, deadline: o.Deadline, logger: o.Logger, tracer: o.Tracer,
		bodies: newBudget(maxHeld), inFlight: make(chan struct{}, maxInFlight), answered: o.Answered, now: o.testOnlyNow,
	}
	if r.answered == nil {
		r.answered = func(Delivery) {}
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.deadline == 0 {
		r.deadline = DefaultDeadline
	}
	if r.store == nil {
		r.store = clerk.SyncedTypes()
	}
	if r.logger == nil {
		r.logger = slog.New(slog.DiscardHandler)
	}
	for _, glob := range r.store {
		if err := clerk.CheckGlob(glob); err != nil {
			return nil, err
		}
	}
	var err error
	if r.verifier, err = signing.NewVerifier(o.Secrets, r.now); err != nil {
		return nil, err
	}
	r.refusals = refusals{logger: r.logger, loggedAt: map[string]time.Time{}}
	r.metrics = newInstruments(o.Registry) // last: a New that fails registers nothing
	return r, nil
}

// answer is the response to a delivery and how it is counted.
type answer struct {
	status  int
	outcome string // label of clerksync_received_total
	refused string // label of clerksync_refused_total, "" when the delivery was accepted
	text    string // response body, a fixed text

	clockOff time.Duration // see [signing.Refusal]
	err      error         // why it was not stored
}

// The answers. A verified delivery that can never be applied gets success: sending it
// again would not help, and Svix would retry for 28 hours and then disable the endpoint.
var (
	answerStored    = answer{status: http.StatusNoContent, outcome: "stored"}
	answerDuplicate = answer{status: http.StatusNoContent, outcome: "duplicate"}
	answerIgnored   = answer{status: http.StatusNoContent, outcome: "ignored"}
	answerParked    = answer{status: http.StatusNoContent, outcome: "parked"}
	answerMethod    = refusal(http.StatusMethodNotAllowed, ReasonMethod, "a webhook is a POST")
	answerPath      = refusal(http.StatusNotFound, ReasonPath, "the webhook endpoint is "+clerk.WebhookPath)
	answerTooLarge  = refusal(http.StatusRequestEntityTooLarge, ReasonTooLarge, "the body is over 1 MiB")
	answerBroken    = refusal(http.StatusBadRequest, ReasonBroken, "the body did not arrive whole")
	answerBusy      = refusal(http.StatusServiceUnavailable, ReasonBusy, "too many requests at once, try again")
	answerNoLog     = refusal(http.StatusServiceUnavailable, ReasonUnavailable, "the event log is not available, try again")
)

// refusal returns an answer whose outcome is the reason.
func refusal(status int, reason, text string) answer {
	return answer{status: status, outcome: reason, refused: reason, text: text}
}

func answerUnauthorized(r *signing.Refusal) answer {
	return answer{status: http.StatusUnauthorized, outcome: "unauthorized", refused: r.Reason, text: r.Text, clockOff: r.ClockOff}
}

// taken are the answers that accept a delivery, and others those that refuse one, except
// the unauthorized ones.
var (
	taken  = []answer{answerStored, answerDuplicate, answerIgnored, answerParked}
	others = []answer{answerMethod, answerPath, answerTooLarge, answerBroken, answerBusy, answerNoLog}
)

// Outcomes returns the outcomes of clerksync_received_total.
func Outcomes() (all []string) {
	for _, a := range slices.Concat(taken, []answer{answerUnauthorized(&signing.Refusal{})}, others) {
		all = append(all, a.outcome)
	}
	return all
}

// ReasonHeader carries the reason of a refusal, as clerksync_refused_total counts it. It
// tells a probe that clerksync answered, and not a proxy.
const ReasonHeader = "Clerksync-Reason"

// Reasons of refusals besides [signing.Reasons].
const (
	ReasonMethod      = "method"
	ReasonPath        = "path"
	ReasonTooLarge    = "too_large"
	ReasonBroken      = "broken"
	ReasonBusy        = "busy"
	ReasonUnavailable = "unavailable"
)

// Takes reports whether a request is for the receiver: for the endpoint, or a delivery to
// another path, which is counted and told the right one.
func Takes(req *http.Request) bool { return atEndpoint(req) || isDelivery(req) }

// atEndpoint takes a slash at the end too, which a proxy or a person may add.
func atEndpoint(req *http.Request) bool {
	return strings.TrimSuffix(req.URL.Path, "/") == clerk.WebhookPath
}

func isDelivery(req *http.Request) bool {
	return req.Method == http.MethodPost && signing.Present(req.Header)
}

// ServeHTTP answers one delivery. A 2xx means that it is durable, or of a type that is not
// stored.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	endpoint, delivery := atEndpoint(req), isDelivery(req)
	if !endpoint && !delivery {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	started := r.now()
	conn := http.NewResponseController(w)
	conn.SetReadDeadline(time.Now().Add(bodyTimeout)) // only a test's writer has none
	ctx, span := r.tracer.Receive(req.Context())
	var d Delivery
	a := answerPath
	if endpoint {
		a = r.receive(ctx, conn, req, span, &d)
	}
	span.End(a.outcome, a.status)
	r.metrics.received.WithLabelValues(a.outcome).Inc()
	ended := r.now()
	if a.refused == "" {
		r.refusals.accepted(ended)
	} else {
		r.metrics.refused.WithLabelValues(a.refused).Inc()
		d.Reason = a.refused
		if delivery {
			r.refusals.refused(a, ended)
		}
	}
	d.Outcome, d.Status, d.Text, d.Took = a.outcome, a.status, a.text, ended.Sub(started)
	r.metrics.duration.Observe(d.Took.Seconds())
	defer r.answered(d)

	h := w.Header()
	switch a.status {
	case http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodPost)
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", retryAfter)
	}
	if a.text == "" {
		w.WriteHeader(a.status)
		return
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set(ReasonHeader, a.refused)
	w.WriteHeader(a.status)
	io.WriteString(w, a.text+"\n")
}

func (r *Receiver) receive(ctx context.Context, conn *http.ResponseController, req *http.Request, span *tracing.Receiving, d *Delivery) answer {
	if req.Method != http.MethodPost {
		return answerMethod
	}
	signed, refused := r.verifier.ReadHeaders(req.Header)
	if refused != nil {
		return answerUnauthorized(refused)
	}
	d.SvixID = signed.ID
	b := r.bodies.open(conn)
	defer b.close()
	body, err := b.read(req)
	switch {
	case errors.Is(err, errTooLarge):
		return answerTooLarge
	case errors.Is(err, errGaveWay):
		return answerBusy
	case err != nil:
		return answerBroken
	}
	if refused := r.verifier.Verify(signed, body); refused != nil {
		return answerUnauthorized(refused)
	}
	// Only now, so that nobody without the secret takes a slot.
	select {
	case r.inFlight <- struct{}{}:
		defer func() { <-r.inFlight }()
	default:
		return answerBusy
	}
	e := &clerk.Event{
		ID:         signed.ID,
		Timestamp:  signed.Timestamp,
		Signature:  signed.Signature,
		ReceivedAt: r.now(),
		Origin:     clerk.OriginWebhook,
		Body:       body,
	}
	a := r.take(ctx, e, d)
	span.Verified(e.ID, e.Envelope.Type)
	return a
}

// take stores a verified event, parks it, or ignores it.
func (r *Receiver) take(ctx context.Context, e *clerk.Event, d *Delivery) answer {
	ctx, cancel := context.WithTimeout(ctx, r.deadline)
	defer cancel()
	d.Event = e

	var err error
	e.Envelope, err = clerk.ParseEnvelope(e.Body)
	if err != nil {
		if !r.mayKeep(e.Body) {
			return answerIgnored
		}
		return r.park(ctx, e, d, err)
	}
	if e.Envelope.Type == clerk.ProbeType { // belongs to no instance; sending one takes the signing secret
		e.Origin = clerk.OriginProbe
	} else {
		if !r.stores(e.Envelope.Type) {
			return answerIgnored
		}
		if came := e.Envelope.InstanceID; r.instanceID != "" && came != r.instanceID {
			return r.park(ctx, e, d, clerk.WrongInstance(came, r.instanceID))
		}
	}
	if err := e.Envelope.CheckIDs(); err != nil {
		return r.park(ctx, e, d, err)
	}

	ctx, span := r.tracer.Store(ctx)
	e.Trace = span.Traceparent()
	stored, err := r.log.Append(ctx, e)
	span.End(stored.Seq, err)
	switch {
	case errors.Is(err, eventlog.ErrTooLarge):
		return answerTooLarge
	case err != nil:
		return notStored(err)
	case stored.Duplicate:
		return answerDuplicate
	case e.Origin == clerk.OriginWebhook:
		r.metrics.observe(e)
	}
	d.Seq = stored.Seq
	return answerStored
}

// notStored is the answer for an event that Svix must send again.
func notStored(err error) answer {
	a := answerNoLog
	a.err = err
	return a
}

func (r *Receiver) park(ctx context.Context, e *clerk.Event, d *Delivery, reason error) answer {
	err := r.log.Park(ctx, e, eventlog.Death{Reason: clerk.Reason(reason), Err: reason, Attempts: 1})
	switch {
	case errors.Is(err, eventlog.ErrTooLarge):
		return answerTooLarge
	case err != nil:
		return notStored(err)
	}
	d.Reason = clerk.Reason(reason)
	r.metrics.dead.WithLabelValues(d.Reason).Inc()
	r.logger.Warn("an event can never be applied and was parked", "svix_id", e.ID, "reason", d.Reason)
	return answerParked
}

// mayKeep reports whether a body without a readable envelope may be parked: not when its
// type is not stored, and not when it may be an e-mail or a text message, whose one-time
// code must not be stored.
func (r *Receiver) mayKeep(body []byte) bool {
	eventType := clerk.TypeOf(body)
	resource, action := clerk.SplitType(eventType)
	switch {
	case resource == "":
		return !looksLikeMessage(body) || r.stores("email.created") || r.stores("sms.created")
	case action != "":
		return r.stores(eventType)
	case isMessage(resource):
		return r.stores(resource + ".created")
	default: // no type, but for sure none of these
		return true
	}
}

// isMessage reports whether the events of a resource carry one-time codes.
func isMessage(resource string) bool { return resource == "email" || resource == "sms" }

// looksLikeMessage guesses whether a body without a readable type is an e-mail or a text
// message. The type is the last field of the body and may be cut off; the other names are
// fields of messages, of which other events can have some.
func looksLikeMessage(body []byte) bool {
	for _, sign := range []string{`"email.`, `"sms.`, `"email"`, `"sms"`, `"body_plain"`, `"delivered_by_clerk"`, `"otp_code"`} {
		if bytes.Contains(body, []byte(sign)) {
			return true
		}
	}
	return false
}

// stores reports whether events of a type are stored. E-mails and text messages carry
// one-time codes: a star does not cover them.
func (r *Receiver) stores(eventType string) bool {
	resource, _ := clerk.SplitType(eventType)
	for _, glob := range r.store {
		if ok, _ := path.Match(glob, eventType); !ok {
			continue
		}
		if isMessage(resource) {
			if globResource, _ := clerk.SplitType(glob); globResource != resource {
				continue
			}
		}
		return true
	}
	return false
}
