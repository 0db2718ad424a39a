package clerk

import (
	"fmt"
	"strconv"
	"time"
)

// SnapshotAction is the action in the type of a snapshot: an entity as the Backend API
// returned it. Clerk sends no events of that name.
const SnapshotAction = "snapshot"

// Snapshot is an entity as the Backend API returned it, as an event for the log.
type Snapshot struct {
	Event     *Event
	CreatedAt int64 // Unix milliseconds

	// Members is the number of memberships of an organization, -1 when Clerk does not say.
	Members int64
}

// NewSnapshot makes an event of type <resource>.snapshot from the data of an entity, which
// it keeps byte for byte. The error says why there can be none, see [Reason].
//
// The event was emitted, so to speak, when the entity was updated, and its id sorts before
// Svix's. So its version is less than that of a webhook about the same state, and the same
// state read again is a duplicate.
func NewSnapshot(kind Kind, data []byte, instanceID string, origin Origin, receivedAt time.Time) (*Snapshot, error) {
	entity := ofKind(kind)
	var read struct {
		ID        string `json:"id"`
		CreatedAt int64  `json:"created_at"`
		UpdatedAt int64  `json:"updated_at"`
		Members   *int64 `json:"members_count"`
		parents
	}
	if err := decode(data, &read, strict); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUndecodable, err)
	}
	if !inRange(read.UpdatedAt) || !inRange(read.CreatedAt) || read.UpdatedAt < secondsBelow {
		return nil, fmt.Errorf("%w: updated_at or created_at is missing or out of range", ErrUndecodable)
	}
	e := Envelope{
		Type: entity.resource + "." + SnapshotAction, EventAt: read.UpdatedAt, InstanceID: instanceID,
		EntityID: read.ID, OrgID: read.OrganizationID, UserID: read.UserID,
	}
	entity.parents(&e, &read.parents)
	if err := e.CheckIDs(); err != nil {
		return nil, err
	}
	if kind == KindMembership && (e.UserID == "" || e.OrgID == "") {
		return nil, fmt.Errorf("%w: a membership without its user or organization", ErrNoID)
	}

	body := make([]byte, 0, len(data)+len(instanceID)+128)
	body = append(body, `{"type":"`+e.Type+`","object":"event"`...)
	if ValidToken(instanceID) {
		body = append(body, `,"instance_id":"`+instanceID+`"`...)
	}
	body = append(body, `,"timestamp":`...)
	body = strconv.AppendInt(body, read.UpdatedAt, 10)
	body = append(body, `,"data":`...)
	body = append(append(body, data...), '}')
	if len(body) > MaxBody {
		return nil, fmt.Errorf("%w: larger than an event can be, %d bytes", ErrUndecodable, MaxBody)
	}
	s := &Snapshot{CreatedAt: read.CreatedAt, Members: -1, Event: &Event{
		ID:     "api_" + read.ID + "_" + strconv.FormatInt(read.UpdatedAt, 10),
		Origin: origin, ReceivedAt: receivedAt, Body: body, Envelope: e,
	}}
	if read.Members != nil {
		s.Members = *read.Members
	}
	return s, nil
}
