package clerk

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// maxMillis is the end of the year 9999, the last with a date in RFC 3339.
const maxMillis = 253402300799999

// secondsBelow tells seconds from milliseconds: Clerk's timestamps are milliseconds, but
// those of its example events are seconds. As milliseconds, a value below this one is
// before March 1973; as seconds, one above is beyond the year 5000.
const secondsBelow = 100_000_000_000

func inRange(t int64) bool { return 0 <= t && t <= maxMillis }

func millis(t int64) int64 {
	if t < secondsBelow {
		return t * 1000
	}
	return t
}

// The reasons why an event can never be applied, as dead letters name them.
var (
	ErrUndecodable   = errors.New("undecodable")    // not JSON, a duplicate key, a field of another type
	ErrNoType        = errors.New("no_type")        // no type of the form resource.action
	ErrNoID          = errors.New("no_id")          // no data.id, or a membership without its user or organization
	ErrUnusableID    = errors.New("unusable_id")    // an id that cannot be a subject token, or is of another kind
	ErrFuture        = errors.New("future")         // updated long after it was received
	ErrWrongInstance = errors.New("wrong_instance") // an event of another Clerk instance
)

var (
	errNoType    = fmt.Errorf("%w: type is missing or not of the form resource.action", ErrNoType)
	errTimestamp = fmt.Errorf("%w: timestamp is out of range", ErrUndecodable)
)

// WrongInstance returns the error of an event that is of another instance than wanted.
func WrongInstance(came, wanted string) error {
	return fmt.Errorf("%w: of instance %s, wanted %s", ErrWrongInstance, InstanceName(came), wanted)
}

// InstanceName returns the id of an instance as it may be shown: "none" when an event does
// not say it, and "unreadable" when it cannot be an id.
func InstanceName(id string) string {
	switch {
	case id == "":
		return "none"
	case !ValidToken(id):
		return "unreadable"
	}
	return id
}

// Reason returns the name of the reason in err, "" when there is none.
func Reason(err error) string {
	for _, reason := range []error{ErrUndecodable, ErrNoType, ErrNoID, ErrUnusableID, ErrFuture, ErrWrongInstance} {
		if errors.Is(err, reason) {
			return reason.Error()
		}
	}
	return ""
}

// parents are the ids in data that name the user and the organization of an entity.
type parents struct {
	OrganizationID string          `json:"organization_id"`
	UserID         string          `json:"user_id"`
	Organization   organizationRef `json:"organization"`
	PublicUserData userRef         `json:"public_user_data"`
}

// A user belongs to no organization but by memberships.
func ofUser(e *Envelope, _ *parents) { e.UserID, e.OrgID = e.EntityID, "" }

func ofOrganization(e *Envelope, _ *parents) { e.OrgID = e.EntityID }

func ofMembership(e *Envelope, p *parents) {
	e.OrgID, e.UserID = p.Organization.id, p.PublicUserData.id
}

// reference is an object of which only one id is read. In events of other kinds the same
// name can hold a value of any type: that is no fault.
type reference struct{ id string }

func (r *reference) UnmarshalJSONFrom(dec *jsontext.Decoder, name string) error {
	if dec.PeekKind() != '{' {
		return dec.SkipValue()
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != '}' {
		key, err := dec.ReadToken()
		if err != nil {
			return err
		}
		if key.String() != name || dec.PeekKind() != '"' {
			if err := dec.SkipValue(); err != nil {
				return err
			}
			continue
		}
		value, err := dec.ReadToken()
		if err != nil {
			return err
		}
		r.id = value.String()
	}
	_, err := dec.ReadToken()
	return err
}

type organizationRef struct{ reference }

func (r *organizationRef) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return r.reference.UnmarshalJSONFrom(dec, "id")
}

type userRef struct{ reference }

func (r *userRef) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return r.reference.UnmarshalJSONFrom(dec, "user_id")
}

// ParseEnvelope reads the envelope of a body, strictly: it validates the whole body and
// refuses duplicate keys in any object. The error is ErrUndecodable or ErrNoType.
//
// It does not check the ids, see [Envelope.CheckIDs].
func ParseEnvelope(body []byte) (Envelope, error) {
	var raw struct {
		Type       string `json:"type"`
		Timestamp  int64  `json:"timestamp"`
		InstanceID string `json:"instance_id"`
		Data       struct {
			ID string `json:"id"`
			parents
		} `json:"data"`
	}
	if err := decode(body, &raw, strict); err != nil {
		return Envelope{}, fmt.Errorf("%w: %w", ErrUndecodable, err)
	}
	if !inRange(raw.Timestamp) {
		return Envelope{}, errTimestamp
	}
	e := Envelope{
		Type:       raw.Type,
		EventAt:    millis(raw.Timestamp),
		InstanceID: raw.InstanceID,
		EntityID:   raw.Data.ID,
		OrgID:      raw.Data.OrganizationID,
		UserID:     raw.Data.UserID,
	}
	resource, action := SplitType(e.Type)
	if resource == "" || action == "" {
		return e, errNoType
	}
	if s := ofResource(resource); s != nil {
		s.parents(&e, &raw.Data.parents)
	}
	return e, nil
}

// TypeOf reads the type of a body that ParseEnvelope refused, leniently. It returns ""
// when it cannot read one, or when there are two.
func TypeOf(body []byte) (found string) {
	dec := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if tok, err := dec.ReadToken(); err != nil || tok.Kind() != '{' {
		return ""
	}
	for dec.PeekKind() == '"' {
		key, err := dec.ReadToken()
		if err != nil {
			return found
		}
		if key.String() != "type" || dec.PeekKind() != '"' {
			if dec.SkipValue() != nil {
				return found
			}
			continue
		}
		value, err := dec.ReadToken()
		if err != nil || found != "" && found != value.String() {
			return ""
		}
		found = value.String()
	}
	return found
}

// CheckIDs checks that the event names an entity, that its ids can be subject tokens, and
// that those of a synced kind have its prefix. The error is ErrNoID or ErrUnusableID.
func (e Envelope) CheckIDs() error {
	if e.EntityID == "" {
		return fmt.Errorf("%w: data.id is missing", ErrNoID)
	}
	resource, action := SplitType(e.Type)
	for _, token := range [...]struct{ name, value string }{
		{"type", resource},
		{"type", action},
		{"data.id", e.EntityID},
		{"organization id", e.OrgID},
		{"user id", e.UserID},
	} {
		if token.value != "" && !ValidToken(token.value) {
			return fmt.Errorf("%w: %s is not of the form [A-Za-z0-9_-]{1,%d}", ErrUnusableID, token.name, maxToken)
		}
	}
	entity := ofResource(resource)
	if entity == nil {
		return nil
	}
	for _, id := range [...]struct {
		name, value string
		kind        Kind
	}{
		{"data.id", e.EntityID, entity.kind},
		{"organization id", e.OrgID, KindOrganization},
		{"user id", e.UserID, KindUser},
	} {
		if kind, _ := KindOfID(id.value); id.value != "" && kind != id.kind {
			return fmt.Errorf("%w: %s is not of the form %s_…", ErrUnusableID, id.name, ofKind(id.kind).prefix)
		}
	}
	return nil
}
