package signing

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	svix "github.com/svix/svix-webhooks/go"
)

// tolerance is how far svix-timestamp may be from our clock, either way. Svix's
// libraries have the same.
const tolerance = 5 * time.Minute

// minSecret is the shortest secret that Svix makes, in bytes. The library takes
// an empty one, with which anybody can sign.
const minSecret = 24

// secretPrefix is what every secret of Svix begins with.
const secretPrefix = "whsec_"

// maxID is the longest svix-id that Svix allows.
const maxID = 256

// Verifier checks signatures against several secrets: while they are rotated, Clerk
// signs with either.
type Verifier struct {
	webhooks []*svix.Webhook
	now      func() time.Time
}

// CheckSecret returns what is wrong with a signing secret, and never the secret.
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

// NewVerifier makes a verifier. now is the clock, nil for the system's. The error says
// which secret is wrong and how, and never the secret.
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

// newWebhook makes the library's signer and verifier for one secret.
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

// Signature is the three headers of a delivery.
type Signature struct {
	ID, Timestamp, Signature string
}

// Refusal is why a delivery is not trusted.
type Refusal struct {
	Reason string // one of [Reasons]
	Text   string // for the sender: it names the header at fault, and no secret
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

// Reasons are all of them.
var Reasons = []string{NoHeaders, BadTimestamp, TooOld, TooNew, BadSignature}

// Why a delivery is not trusted.
var (
	errNoID         = &Refusal{NoHeaders, "svix-id is missing"}
	errBadID        = &Refusal{NoHeaders, "svix-id is not of the form that Svix sends"}
	errNoTimestamp  = &Refusal{NoHeaders, "svix-timestamp is missing"}
	errBadTimestamp = &Refusal{BadTimestamp, "svix-timestamp is not a time in Unix seconds"}
	errTooOld       = &Refusal{TooOld, "svix-timestamp is more than 5 minutes old: is this machine's clock right?"}
	errTooNew       = &Refusal{TooNew, "svix-timestamp is more than 5 minutes ahead: is this machine's clock right?"}
	errNoSignature  = &Refusal{NoHeaders, "svix-signature is missing"}
	errBadSignature = &Refusal{BadSignature, "svix-signature does not match: is the signing secret that of this endpoint, and does the body arrive unchanged?"}
)

// ReadHeaders takes the signature from the headers of a request and checks what can be
// checked without the body, which an unsigned request is not worth reading.
func (v *Verifier) ReadHeaders(h http.Header) (Signature, *Refusal) {
	for _, name := range []string{headerID, headerTimestamp, headerSignature} {
		if len(h[name]) > 1 {
			return Signature{}, &Refusal{NoHeaders, strings.ToLower(name) + " stands twice"}
		}
	}
	s := Signature{h.Get(headerID), h.Get(headerTimestamp), h.Get(headerSignature)}
	switch {
	case s.ID == "":
		return s, errNoID
	case s.Timestamp == "":
		return s, errNoTimestamp
	case s.Signature == "":
		return s, errNoSignature
	case !ValidID(s.ID):
		return s, errBadID
	}
	seconds, err := strconv.ParseInt(s.Timestamp, 10, 64)
	if err != nil {
		return s, errBadTimestamp
	}
	age := v.now().Unix() - seconds
	switch limit := int64(tolerance / time.Second); {
	case age > limit:
		return s, errTooOld
	case age < -limit:
		return s, errTooNew
	}
	return s, nil
}

// Verify checks the signature over the raw body, whatever its age. The library compares
// in constant time. It is given these three headers and no others: it would fall back to
// those of another name, and an id that was not signed could be taken for one that was.
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
