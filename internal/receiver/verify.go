package receiver

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	svix "github.com/svix/svix-webhooks/go"

	"github.com/clerksync/clerksync/internal/clerk"
)

// tolerance is how far svix-timestamp may be from our clock, either way. Svix's
// libraries have the same.
const tolerance = 5 * time.Minute

// minSecret is the shortest secret that Svix makes, in bytes. The library takes
// an empty one, with which anybody can sign.
const minSecret = 24

// maxID is the longest svix-id that Svix allows.
const maxID = 256

// verifier checks signatures against several secrets: while they are rotated,
// Clerk signs with either.
type verifier struct {
	webhooks []*svix.Webhook
	now      func() time.Time
}

// CheckSecret returns what is wrong with a signing secret, and never the secret.
func CheckSecret(secret string) error {
	encoded, ok := strings.CutPrefix(secret, "whsec_")
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

func newVerifier(secrets []string, now func() time.Time) (*verifier, error) {
	if len(secrets) == 0 {
		return nil, errors.New("no signing secret")
	}
	v := &verifier{now: now}
	for i, secret := range secrets {
		if err := CheckSecret(secret); err != nil {
			return nil, fmt.Errorf("signing secret %d: %w", i+1, err)
		}
		webhook, err := svix.NewWebhook(secret)
		if err != nil {
			return nil, fmt.Errorf("signing secret %d: it is not usable", i+1)
		}
		v.webhooks = append(v.webhooks, webhook)
	}
	return v, nil
}

// signature is the three headers of a delivery.
type signature struct {
	id, timestamp, signature string
}

// refusal is why a delivery is not trusted.
type refusal struct {
	reason string // label of clerksync_refused_total
	text   string // of the 401; it names the header at fault and nothing else
}

func (r *refusal) Error() string { return r.text }

// Why a delivery is not trusted.
var (
	errNoID         = &refusal{"no_headers", "svix-id is missing"}
	errBadID        = &refusal{"no_headers", "svix-id is not of the form that Svix sends"}
	errNoTimestamp  = &refusal{"no_headers", "svix-timestamp is missing"}
	errBadTimestamp = &refusal{"bad_timestamp", "svix-timestamp is not a time in Unix seconds"}
	errTooOld       = &refusal{"too_old", "svix-timestamp is more than 5 minutes old: is this machine's clock right?"}
	errTooNew       = &refusal{"too_new", "svix-timestamp is more than 5 minutes ahead: is this machine's clock right?"}
	errNoSignature  = &refusal{"no_headers", "svix-signature is missing"}
	errBadSignature = &refusal{"bad_signature", "svix-signature does not match: is the signing secret that of this endpoint, and does the body arrive unchanged?"}
)

// readHeaders takes the signature from the headers of a request and checks what
// can be checked without the body, which an unsigned request is not worth reading.
func (v *verifier) readHeaders(h http.Header) (signature, *refusal) {
	for _, name := range []string{"Svix-Id", "Svix-Timestamp", "Svix-Signature"} {
		if len(h[name]) > 1 {
			return signature{}, &refusal{"no_headers", strings.ToLower(name) + " stands twice"}
		}
	}
	s := signature{h.Get("Svix-Id"), h.Get("Svix-Timestamp"), h.Get("Svix-Signature")}
	switch {
	case s.id == "":
		return s, errNoID
	case s.timestamp == "":
		return s, errNoTimestamp
	case s.signature == "":
		return s, errNoSignature
	case !ValidID(s.id):
		return s, errBadID
	}
	seconds, err := strconv.ParseInt(s.timestamp, 10, 64)
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

// verify checks the signature over the raw body. The library compares in constant
// time. It is given these three headers and no others: it would fall back to
// those of another name, and an id that was not signed could be taken for one
// that was.
func (v *verifier) verify(s signature, body []byte) *refusal {
	h := http.Header{"Svix-Id": {s.id}, "Svix-Timestamp": {s.timestamp}, "Svix-Signature": {s.signature}}
	for _, webhook := range v.webhooks {
		if webhook.VerifyIgnoringTimestamp(body, h) == nil {
			return nil
		}
	}
	return errBadSignature
}

// StoredVerifier returns a check of events that were received in the past, however long
// ago: whether one of the secrets has signed them.
func StoredVerifier(secrets []string) (func(*clerk.Event) error, error) {
	v, err := newVerifier(secrets, time.Now)
	if err != nil {
		return nil, err
	}
	return func(e *clerk.Event) error {
		if refused := v.verify(signature{e.ID, e.Timestamp, e.Signature}, e.Body); refused != nil {
			return refused
		}
		return nil
	}, nil
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
