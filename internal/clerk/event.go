package clerk

import (
	"fmt"
	"path"
	"strings"
	"time"
)

// Origin is the way by which an event entered the log.
type Origin string

// The origins of events.
const (
	OriginWebhook Origin = "webhook" // delivered by Svix
	OriginImport  Origin = "import"  // from an export of this or another log
	OriginProbe   Origin = "probe"   // synthetic, see [ProbeType]

	OriginBackfill    Origin = "backfill"    // a snapshot of everything that Clerk has
	OriginReconcile   Origin = "reconcile"   // a repair of what differed from Clerk
	OriginReadThrough Origin = "readthrough" // a snapshot of one entity that was asked for
)

// Origins lists them all.
var Origins = []Origin{OriginWebhook, OriginBackfill, OriginReconcile, OriginReadThrough, OriginImport, OriginProbe}

// ProbeType is the type of the synthetic events that measure the way from the public URL
// to the projector. They change no row, and Clerk sends no events of that name.
const (
	ProbeResource = "clerksync"
	ProbeType     = ProbeResource + ".probe"
	ProbeID       = "probe" // the entity that a probe names; an event of a load test names another
)

// ProbeBody returns the body of a probe. All probes name one entity, and so share one
// subject, since every subject costs the server memory. Their svix-ids differ.
func ProbeBody(at time.Time) []byte {
	return fmt.Appendf(nil, `{"object":"event","type":%q,"timestamp":%d,"data":{"object":"probe","id":%q}}`, ProbeType, at.UnixMilli(), ProbeID)
}

// Event is one verified delivery: the body as received, byte for byte, and its headers.
// Body must not be modified.
type Event struct {
	ID         string // svix-id, the idempotency key
	Timestamp  string // svix-timestamp, as received: the time of the delivery attempt. It orders nothing
	Signature  string // svix-signature, as received
	ReceivedAt time.Time
	Origin     Origin
	Trace      string // traceparent of the request that stored it, "" without tracing
	Body       []byte

	Envelope Envelope // parsed from Body
}

// WebhookPath is the path of the webhook endpoint.
const WebhookPath = "/api/webhooks/clerk"

// MaxBody is the largest body of an event, in bytes. Svix delivers up to about 350 KB.
const MaxBody = 1 << 20

// Envelope is the part of a body that names the event's type and entity.
type Envelope struct {
	Type       string // as Clerk wrote it, "user.created"
	EventAt    int64  // when Clerk emitted the event, Unix milliseconds; 0 when it does not say
	InstanceID string // "" when the event does not say (deliveries before 2025, examples)
	EntityID   string // data.id
	OrgID      string // the organization that the entity is or belongs to, "" for none
	UserID     string // the user that the entity is or belongs to, "" for none
}

// SplitType cuts the type of an event into the resource and the action:
// "user.created" into "user" and "created".
func SplitType(eventType string) (resource, action string) {
	resource, action, _ = strings.Cut(eventType, ".")
	return resource, action
}

// CheckGlob returns an error when a glob of event types is not valid.
func CheckGlob(glob string) error {
	if _, err := path.Match(glob, "user.created"); err != nil || glob == "" {
		return fmt.Errorf("not a glob of event types such as user.* or session.created: %q", glob)
	}
	return nil
}

// Subject returns the subject of the event in the log, below a prefix:
//
//	<prefix>.<resource>.<action>.<id>.<org>.<user>
//
// with "-" for an id that is missing or cannot be a token. So one filter selects one
// person, one organization or one type.
func (e Envelope) Subject(prefix string) string {
	resource, action := SplitType(e.Type)
	var b strings.Builder
	b.Grow(len(prefix) + len(e.Type) + len(e.EntityID) + len(e.OrgID) + len(e.UserID) + 8)
	b.WriteString(prefix)
	for _, token := range [...]string{resource, action, e.EntityID, e.OrgID, e.UserID} {
		b.WriteByte('.')
		if !ValidToken(token) {
			token = "-"
		}
		b.WriteString(token)
	}
	return b.String()
}
