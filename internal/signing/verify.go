package signing

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	svix "github.com/svix/svix-webhooks/go"
)

// tolerance limits the difference between svix-timestamp and our clock, either way, as in
// Svix's libraries.
const tolerance = 5 * time.Minute

// minSecret is the length of the shortest secret that Svix generates, in bytes. The library
// accepts an empty one, with which anyone can sign.
const minSecret = 24

// secretPrefix begins every secret of Svix.
const secretPrefix = "whsec_"

// maxID is the length limit of a svix-id.
const maxID = 256

// Verifier checks signatures against several secrets: during a rotation, Clerk signs with
// either.
type Verifier struct {
	webhooks []*svix.Webhook
	now      func() time.Time
}

// CheckSecret checks the form of a signing secret. The error does not quote it.
func CheckSecret(secret string) error {
	encoded, ok := strings.CutPrefix(secret, secretPrefix)
	if !ok {
		return errors.New("a signing secret begins with whsec_")
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return errors.New("what follows whsec_ is not base64: was it copied whole?")
	}
	if len(decoded) < minSecret {
		return fmt.Errorf("the signing secret has %d bytes, at least %d are needed: was it copied whole?", len(decoded), minSecret)
	}
	return nil
}

// NewVerifier returns a verifier. now is the clock, nil for the system's. The error numbers
// the bad secret and does not quote it.
func NewVerifier(secrets []string, now func() time.Time) (*Verifier, error) {
	if len(secrets) == 0 {
		return nil, errors.New("no signing secret")
	}
	if now == nil {
		now = time.Now
	}
	v := &Verifier{now: now}
	for i, secret := range secrets {
		webhook, err := newWebhook(secret)
		if err != nil {
			return nil, fmt.Errorf("signing secret %d: %w", i+1, err)
		}
		v.webhooks = append(v.webhooks, webhook)
	}
	return v, nil
}

// newWebhook returns the library's signer and verifier for one secret.
func newWebhook(secret string) (*svix.Webhook, error) {
	if err := CheckSecret(secret); err != nil {
		return nil, err
	}
	webhook, err := svix.NewWebhook(secret)
	if err != nil {
		return nil, errors.New("the signing secret is not usable")
	}
	return webhook, nil
}

// The headers of a signature.
const (
	headerID        = "Svix-Id"
	headerTimestamp = "Svix-Timestamp"
	headerSignature = "Svix-Signature"
)

// spellings are the names of the headers: those of Svix, and those of Standard Webhooks.
// As in Svix's libraries, the first spelling with all three counts, and they do not mix.
var spellings = [...][3]string{
	{headerID, headerTimestamp, headerSignature},
	{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"},
}

// spelling returns the names of the three headers that a request has, nil when it does not
// have all of any spelling.
func spelling(h http.Header) *[3]string {
	for i := range spellings {
		names := &spellings[i]
		if h.Get(names[0]) != "" && h.Get(names[1]) != "" && h.Get(names[2]) != "" {
			return names
		}
	}
	return nil
}

// Signature holds the three headers of a delivery.
type Signature struct {
	ID, Timestamp, Signature string
}

// Present reports whether a request has the three headers of a delivery, whatever is in
// them.
func Present(h http.Header) bool { return spelling(h) != nil }

// Refusal is the error of a delivery that is not trusted.
type Refusal struct {
	Reason string // one of [Reasons]
	Text   string // for the sender: it names the header at fault, and no secret

	// ClockOff is how far our clock is ahead of the delivery's, with TooOld and TooNew;
	// negative when it is behind.
	ClockOff time.Duration
}

func (r *Refusal) Error() string { return r.Text }

// The reasons of a refusal.
const (
	NoHeaders    = "no_headers"    // a header is missing, stands twice, or has an id that Svix does not send
	BadTimestamp = "bad_timestamp" // svix-timestamp is no time
	TooOld       = "too_old"       // by our clock
	TooNew       = "too_new"
	BadSignature = "bad_signature" // no secret has signed this body
)

// Reasons lists all reasons.
var Reasons = []string{NoHeaders, BadTimestamp, TooOld, TooNew, BadSignature}

// errBadSignature names Svix's spelling, the one that Clerk uses.
var errBadSignature = &Refusal{
	Reason: BadSignature,
	Text:   "svix-signature does not match: is the signing secret that of this endpoint, and does the body arrive unchanged?",
}

// refuse returns a refusal that names a header.
func refuse(reason, header, text string) *Refusal {
	return &Refusal{Reason: reason, Text: strings.ToLower(header) + " " + text}
}

// ReadHeaders returns the signature in the headers of a request. It checks everything that
// needs no body, so that the body of an unsigned request is not read.
func (v *Verifier) ReadHeaders(h http.Header) (Signature, *Refusal) {
	names := spelling(h)
	if names == nil {
		for _, name := range spellings[0] {
			if h.Get(name) == "" {
				return Signature{}, refuse(NoHeaders, name, "is missing")
			}
		}
	}
	for _, name := range names {
		if len(h[name]) > 1 {
			return Signature{}, refuse(NoHeaders, name, "stands twice")
		}
	}
	s := Signature{h.Get(names[0]), h.Get(names[1]), h.Get(names[2])}
	if !ValidID(s.ID) {
		return s, refuse(NoHeaders, names[0], "is not of the form that Svix sends")
	}
	seconds, err := strconv.ParseInt(s.Timestamp, 10, 64)
	if err != nil {
		return s, refuse(BadTimestamp, names[1], "is not a time in Unix seconds")
	}
	age := v.now().Unix() - seconds
	var refused *Refusal
	switch limit := int64(tolerance / time.Second); {
	case age > limit:
		refused = refuse(TooOld, names[1], "is more than 5 minutes old: is this machine's clock right?")
	case age < -limit:
		refused = refuse(TooNew, names[1], "is more than 5 minutes ahead: is this machine's clock right?")
	default:
		return s, nil
	}
	const longest = int64(math.MaxInt64 / time.Second)
	refused.ClockOff = time.Duration(min(max(age, -longest), longest)) * time.Second
	return s, refused
}

// Verify checks the signature over the raw body, whatever its age. The library compares in
// constant time. It gets only these three headers: those of another spelling could have
// signed another id.
func (v *Verifier) Verify(s Signature, body []byte) *Refusal {
	h := http.Header{headerID: {s.ID}, headerTimestamp: {s.Timestamp}, headerSignature: {s.Signature}}
	for _, webhook := range v.webhooks {
		if webhook.VerifyIgnoringTimestamp(body, h) == nil {
			return nil
		}
	}
	return errBadSignature
}

// ValidID reports whether id has the form that Svix allows for message ids.
func ValidID(id string) bool {
	if len(id) == 0 || len(id) > maxID {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '.':
		default:
			return false
		}
	}
	return true
}
