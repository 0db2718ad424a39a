package clerk

import (
	"bytes"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Change is the content of an event about one entity. At most one of User, Organization
// and Membership is set, the one that Kind names: a delete of a user or an organization
// has none, that of a membership has one if Clerk sent it.
type Change struct {
	Kind    Kind
	ID      string // Clerk id of the entity
	Version Version

	User         *User
	Organization *Organization
	Membership   *Membership
}

// User is the source of a row of users. An empty string stands for NULL. Times are Unix
// milliseconds, 0 for NULL.
type User struct {
	PrimaryEmail   string // the address that the user claims
	EmailVerified  bool
	Username       string
	FirstName      string
	LastName       string
	PhoneNumber    string
	ImageURL       string
	ExternalID     string
	PublicMetadata jsontext.Value
	Banned         bool
	Locked         bool
	Deprovisioned  bool
	LastSignInAt   int64
	CreatedAt      int64
	UpdatedAt      int64
	Raw            jsontext.Value // the whole data
}

// Organization is the source of a row of organizations, see [User].
type Organization struct {
	Name           string
	Slug           string
	ImageURL       string
	CreatedBy      string
	PublicMetadata jsontext.Value
	CreatedAt      int64
	UpdatedAt      int64
	Raw            jsontext.Value
}

// Membership is the source of a row of org_memberships, see [User].
type Membership struct {
	UserID         string // Clerk id
	OrgID          string // Clerk id
	Role           string
	Permissions    []string
	PublicMetadata jsontext.Value
	CreatedAt      int64
	UpdatedAt      int64
}

// An entity may have been updated at most maxAhead after the receipt of its event.
// Beyond it, the time is wrong, and would win over all that Clerk sends until then.
const maxAhead = 24 * time.Hour

// ParseChange reads the change in the body of a stored event, in one pass when the envelope
// has the type that the body has. It returns nil without an error when events of this type
// are not synced. The error says why the event can never be applied, see [Reason].
func ParseChange(e *Event) (*Change, error) {
	b, err := readBody(e.Body, e.Envelope.Type)
	if err != nil && b.Type == "" {
		b.Type = TypeOf(e.Body) // data, with the fault, stood before it
	}
	if b.Type != e.Envelope.Type {
		b, err = readBody(e.Body, b.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUndecodable, err)
	}
	resource, action := SplitType(b.Type)
	if resource == "" || action == "" {
		return nil, errNoType
	}
	if b.Data.entity == nil {
		return nil, nil
	}
	if !inRange(b.Timestamp) {
		return nil, errTimestamp
	}
	c := &Change{Kind: KindOfType(b.Type)}
	c.Version = Version{Deleted: action == deletedAction, EventAt: millis(b.Timestamp), EventID: e.ID}
	if c.Version.EventAt == 0 {
		c.Version.EventAt = e.ReceivedAt.UnixMilli()
	}
	raw := jsontext.Value(bytes.TrimLeft(e.Body[b.Data.start:b.Data.end], ": \t\r\n"))
	if clean := cleanText(raw); !bytes.Equal(clean, raw) {
		raw, b.Data.entity = clean, newEntity(b.Type)
		if err := decode(raw, b.Data.entity, cleaned); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUndecodable, err)
		}
	}
	if err := b.Data.entity.fill(c, raw); err != nil {
		return nil, err
	}
	// By the time of its receipt, so that a replay decides the same. That clock was right:
	// otherwise the delivery had been refused. That of the envelope is the sender's, like
	// updated_at itself.
	if updated := time.UnixMilli(c.Version.UpdatedAt); !e.ReceivedAt.IsZero() && updated.Sub(e.ReceivedAt) > maxAhead {
		return nil, fmt.Errorf("%w: data.updated_at is more than a day after the event was received", ErrFuture)
	}
	ids := Envelope{Type: b.Type, EntityID: c.ID}
	if m := c.Membership; m != nil {
		ids.UserID, ids.OrgID = m.UserID, m.OrgID
	}
	if err := ids.CheckIDs(); err != nil {
		return nil, err
	}
	return c, nil
}

// body has the fields of a body that ParseChange reads.
type body struct {
	Type      string `json:"type"`
	Timestamp int64  `json:"timestamp"`
	Data      data   `json:"data"`
}

// readBody reads a body that is taken to be of the given type.
func readBody(raw []byte, eventType string) (body, error) {
	b := body{Data: data{entity: newEntity(eventType)}}
	err := decode(raw, &b, strict)
	return b, err
}

// data reads an entity, and its position in the body.
type data struct {
	entity     entity // nil to read nothing
	start, end int64  // from the end of its name
}

func (d *data) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if d.entity == nil {
		return dec.SkipValue()
	}
	d.start = dec.InputOffset()
	err := json.UnmarshalDecode(dec, d.entity)
	d.end = dec.InputOffset()
	return err
}

// entity is the data of an event, as Clerk wrote it.
type entity interface {
	// fill completes a change. raw is the data as a row keeps it.
	fill(c *Change, raw jsontext.Value) error
}

// newEntity returns what reads the data of events of a type, nil when they are not synced.
func newEntity(eventType string) entity {
	resource, action := SplitType(eventType)
	kind := ofResource(resource)
	if kind == nil {
		return nil
	}
	switch action {
	case "created", "updated", SnapshotAction:
		return kind.data()
	case deletedAction:
		return kind.deletedData()
	}
	return nil
}

const deletedAction = "deleted"

// emptyObject is the default of the metadata columns.
var emptyObject = jsontext.Value("{}")

// deletedData is the id and nothing else: a tombstone keeps nothing else.
type deletedData struct {
	ID string `json:"id"`
}

func (d *deletedData) fill(c *Change, _ jsontext.Value) error {
	c.ID = d.ID
	return nil
}

type userData struct {
	ID                    string         `json:"id"`
	PrimaryEmailAddressID *string        `json:"primary_email_address_id"`
	EmailAddresses        []emailData    `json:"email_addresses"`
	PrimaryPhoneNumberID  *string        `json:"primary_phone_number_id"`
	PhoneNumbers          []phoneData    `json:"phone_numbers"`
	Username              string         `json:"username"`
	FirstName             string         `json:"first_name"`
	LastName              string         `json:"last_name"`
	ImageURL              string         `json:"image_url"`
	ExternalID            string         `json:"external_id"`
	PublicMetadata        jsontext.Value `json:"public_metadata"`
	Banned                bool           `json:"banned"`
	Locked                bool           `json:"locked"`
	Deprovisioned         bool           `json:"deprovisioned"`
	LastSignInAt          int64          `json:"last_sign_in_at"`
	CreatedAt             int64          `json:"created_at"`
	UpdatedAt             int64          `json:"updated_at"`
}

type emailData struct {
	ID           string `json:"id"`
	EmailAddress string `json:"email_address"`
	Verification *struct {
		Status string `json:"status"`
	} `json:"verification"`
}

type phoneData struct {
	ID          string `json:"id"`
	PhoneNumber string `json:"phone_number"`
}

func (u *userData) fill(c *Change, raw jsontext.Value) error {
	c.ID = u.ID
	c.User = &User{
		Username:       u.Username,
		FirstName:      u.FirstName,
		LastName:       u.LastName,
		ImageURL:       u.ImageURL,
		ExternalID:     u.ExternalID,
		PublicMetadata: metadata(u.PublicMetadata),
		Banned:         u.Banned,
		Locked:         u.Locked,
		Deprovisioned:  u.Deprovisioned,
		LastSignInAt:   u.LastSignInAt,
		CreatedAt:      u.CreatedAt,
		UpdatedAt:      u.UpdatedAt,
		Raw:            raw,
	}
	// The primary address need not be the first, and its id may not be in the list.
	// Primary does not mean verified.
	if id := u.PrimaryEmailAddressID; id != nil {
		for _, a := range u.EmailAddresses {
			if a.ID == *id {
				c.User.PrimaryEmail = a.EmailAddress
				c.User.EmailVerified = a.Verification != nil && a.Verification.Status == "verified"
			}
		}
	}
	if id := u.PrimaryPhoneNumberID; id != nil {
		for _, p := range u.PhoneNumbers {
			if p.ID == *id {
				c.User.PhoneNumber = p.PhoneNumber
			}
		}
	}
	return c.setUpdatedAt(u.UpdatedAt, u.CreatedAt, u.LastSignInAt)
}

type organizationData struct {
	ID             string         `json:"id"`
	Name           string         `json:"name"`
	Slug           string         `json:"slug"`
	ImageURL       string         `json:"image_url"`
	CreatedBy      string         `json:"created_by"`
	PublicMetadata jsontext.Value `json:"public_metadata"`
	CreatedAt      int64          `json:"created_at"`
	UpdatedAt      int64          `json:"updated_at"`
}

func (o *organizationData) fill(c *Change, raw jsontext.Value) error {
	c.ID = o.ID
	c.Organization = &Organization{
		Name:           o.Name,
		Slug:           o.Slug,
		ImageURL:       o.ImageURL,
		CreatedBy:      o.CreatedBy,
		PublicMetadata: metadata(o.PublicMetadata),
		CreatedAt:      o.CreatedAt,
		UpdatedAt:      o.UpdatedAt,
		Raw:            raw,
	}
	return c.setUpdatedAt(o.UpdatedAt, o.CreatedAt)
}

// membershipData is also that of a delete: Clerk sends the whole membership, and its user and
// organization are needed for the same rows when the delete arrives first. It accepts a
// delete that has the id alone.
type membershipData struct {
	ID             string          `json:"id"`
	Organization   organizationRef `json:"organization"`
	PublicUserData userRef         `json:"public_user_data"`
	Role           string          `json:"role"`
	Permissions    []string        `json:"permissions"`
	PublicMetadata jsontext.Value  `json:"public_metadata"`
	CreatedAt      int64           `json:"created_at"`
	UpdatedAt      int64           `json:"updated_at"`
}

func (m *membershipData) fill(c *Change, _ jsontext.Value) error {
	c.ID = m.ID
	if c.ID != "" && (m.PublicUserData.id == "" || m.Organization.id == "") {
		if !c.Version.Deleted {
			return fmt.Errorf("%w: a membership without data.public_user_data.user_id or data.organization.id", ErrNoID)
		}
		return nil
	}
	c.Membership = &Membership{
		UserID:         m.PublicUserData.id,
		OrgID:          m.Organization.id,
		Role:           m.Role,
		Permissions:    m.Permissions,
		PublicMetadata: metadata(m.PublicMetadata),
		CreatedAt:      m.CreatedAt,
		UpdatedAt:      m.UpdatedAt,
	}
	return c.setUpdatedAt(m.UpdatedAt, m.CreatedAt)
}

// setUpdatedAt completes the version, and checks all times of the entity.
func (c *Change) setUpdatedAt(updatedAt int64, others ...int64) error {
	for _, t := range append(others, updatedAt) {
		if !inRange(t) {
			return fmt.Errorf("%w: a time in data is out of range", ErrUndecodable)
		}
	}
	c.Version.UpdatedAt = updatedAt
	return nil
}

// metadata returns an object also for null, or nothing.
func metadata(v jsontext.Value) jsontext.Value {
	if v.Kind() != '{' {
		return emptyObject
	}
	return v
}
