package clerk

import (
	"fmt"
	"time"

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

// ParseChange reads the change in the body of a stored event. It returns nil without an
// error when events of this type are not synced. The error says why the event can never
// be applied, see [Reason].
func ParseChange(e *Event) (*Change, error) {
	var envelope struct {
		Type      string `json:"type"`
		Timestamp int64  `json:"timestamp"`
		Data      span   `json:"data"`
	}
	if err := decode(e.Body, &envelope, strict); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUndecodable, err)
	}
	resource, action := SplitType(envelope.Type)
	if resource == "" || action == "" {
		return nil, errNoType
	}
	kind := ofResource(resource)
	if kind == nil {
		return nil, nil
	}
	switch action {
	case "created", "updated", "deleted", SnapshotAction:
	default:
		return nil, nil
	}
	if !inRange(envelope.Timestamp) {
		return nil, errTimestamp
	}
	c := &Change{Kind: kind.kind}
	c.Version = Version{Deleted: action == "deleted", EventAt: millis(envelope.Timestamp), EventID: e.ID}
	if c.Version.EventAt == 0 {
		c.Version.EventAt = e.ReceivedAt.UnixMilli()
	}

	data := jsontext.Value(cleanText(e.Body[envelope.Data.start:envelope.Data.end]))
	read := kind.read
	if c.Version.Deleted {
		read = kind.readDeleted
	}
	if err := read(c, data); err != nil {
		return nil, err
	}
	// By the time of its receipt, so that a replay decides the same. That clock was right:
	// otherwise the delivery had been refused. That of the envelope is the sender's, like
	// updated_at itself.
	if updated := time.UnixMilli(c.Version.UpdatedAt); !e.ReceivedAt.IsZero() && updated.Sub(e.ReceivedAt) > maxAhead {
		return nil, fmt.Errorf("%w: data.updated_at is more than a day after the event was received", ErrFuture)
	}
	ids := Envelope{Type: envelope.Type, EntityID: c.ID}
	if m := c.Membership; m != nil {
		ids.UserID, ids.OrgID = m.UserID, m.OrgID
	}
	if err := ids.CheckIDs(); err != nil {
		return nil, err
	}
	return c, nil
}

// span is the position of a value in the body.
type span struct{ start, end int64 }

func (s *span) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	value, err := dec.ReadValue()
	s.end = dec.InputOffset()
	s.start = s.end - int64(len(value))
	return err
}

// emptyObject is the default of the metadata columns.
var emptyObject = jsontext.Value("{}")

// readDeleted reads the id and nothing else: a tombstone keeps nothing else.
func (c *Change) readDeleted(data jsontext.Value) error {
	var d struct {
		ID string `json:"id"`
	}
	err := decodeData(data, &d)
	c.ID = d.ID
	return err
}

func (c *Change) readUser(data jsontext.Value) error {
	type verification struct {
		Status string `json:"status"`
	}
	var u struct {
		ID                    string  `json:"id"`
		PrimaryEmailAddressID *string `json:"primary_email_address_id"`
		EmailAddresses        []struct {
			ID           string        `json:"id"`
			EmailAddress string        `json:"email_address"`
			Verification *verification `json:"verification"`
		} `json:"email_addresses"`
		PrimaryPhoneNumberID *string `json:"primary_phone_number_id"`
		PhoneNumbers         []struct {
			ID          string `json:"id"`
			PhoneNumber string `json:"phone_number"`
		} `json:"phone_numbers"`
		Username       string         `json:"username"`
		FirstName      string         `json:"first_name"`
		LastName       string         `json:"last_name"`
		ImageURL       string         `json:"image_url"`
		ExternalID     string         `json:"external_id"`
		PublicMetadata jsontext.Value `json:"public_metadata"`
		Banned         bool           `json:"banned"`
		Locked         bool           `json:"locked"`
		Deprovisioned  bool           `json:"deprovisioned"`
		LastSignInAt   int64          `json:"last_sign_in_at"`
		CreatedAt      int64          `json:"created_at"`
		UpdatedAt      int64          `json:"updated_at"`
	}
	if err := decodeData(data, &u); err != nil {
		return err
	}
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
		Raw:            data,
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

func (c *Change) readOrganization(data jsontext.Value) error {
	var o struct {
		ID             string         `json:"id"`
		Name           string         `json:"name"`
		Slug           string         `json:"slug"`
		ImageURL       string         `json:"image_url"`
		CreatedBy      string         `json:"created_by"`
		PublicMetadata jsontext.Value `json:"public_metadata"`
		CreatedAt      int64          `json:"created_at"`
		UpdatedAt      int64          `json:"updated_at"`
	}
	if err := decodeData(data, &o); err != nil {
		return err
	}
	c.ID = o.ID
	c.Organization = &Organization{
		Name:           o.Name,
		Slug:           o.Slug,
		ImageURL:       o.ImageURL,
		CreatedBy:      o.CreatedBy,
		PublicMetadata: metadata(o.PublicMetadata),
		CreatedAt:      o.CreatedAt,
		UpdatedAt:      o.UpdatedAt,
		Raw:            data,
	}
	return c.setUpdatedAt(o.UpdatedAt, o.CreatedAt)
}

// readMembership also reads a delete: Clerk sends the whole membership, and its user and
// organization are needed for the same rows when the delete arrives first. It accepts a
// delete that has the id alone.
func (c *Change) readMembership(data jsontext.Value) error {
	var m struct {
		ID             string          `json:"id"`
		Organization   organizationRef `json:"organization"`
		PublicUserData userRef         `json:"public_user_data"`
		Role           string          `json:"role"`
		Permissions    []string        `json:"permissions"`
		PublicMetadata jsontext.Value  `json:"public_metadata"`
		CreatedAt      int64           `json:"created_at"`
		UpdatedAt      int64           `json:"updated_at"`
	}
	if err := decodeData(data, &m); err != nil {
		return err
	}
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

func decodeData(data jsontext.Value, v any) error {
	if err := decode(data, v, cleaned); err != nil {
		return fmt.Errorf("%w: data: %w", ErrUndecodable, err)
	}
	return nil
}

// metadata returns an object also for null, or nothing.
func metadata(v jsontext.Value) jsontext.Value {
	if v.Kind() != '{' {
		return emptyObject
	}
	return v
}
