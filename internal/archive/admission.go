package archive

import (
	"errors"
	"fmt"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/signing"
)

// The refusals that depend on the settings of an [Admission]: with other settings it would
// take the event.
var (
	ErrUnsigned  = errors.New("the event has no signature: it did not come from Svix")
	ErrSignature = errors.New("the signature does not match: another secret signed the event, or it was changed since")
	ErrInstance  = errors.New("the event is of another Clerk instance, or names none")
)

// Admission checks the events of an archive before they are stored.
type Admission struct {
	Verifier   *signing.Verifier // nil trusts the archive
	InstanceID string            // refuses events of another Clerk instance; "" takes all
}

// Admit checks a record and completes its event. Its errors quote nothing of the
// content.
func (a *Admission) Admit(record *Record) error {
	e := record.Event
	claimed := e.Envelope.Type
	if len(e.Body) > clerk.MaxBody {
		return errors.New("the body is over 1 MiB, which no endpoint takes")
	}
	if !signing.ValidID(e.ID) {
		return errors.New("Svix-Id is not of the form that Svix sends")
	}
	var err error
	if e.Envelope, err = clerk.ParseEnvelope(e.Body); err == nil {
		err = e.Envelope.CheckIDs()
	}
	if err != nil {
		return fmt.Errorf("the body is not an event that can be stored: %w", err)
	}
	if a.Verifier != nil {
		if e.Signature == "" {
			return ErrUnsigned
		}
		if a.Verifier.Verify(signing.Signature{ID: e.ID, Timestamp: e.Timestamp, Signature: e.Signature}, e.Body) != nil {
			return ErrSignature
		}
	}
	if claimed != e.Envelope.Type {
		return errors.New("the type is not that of the body: the line was changed")
	}
	if a.InstanceID != "" && e.Envelope.InstanceID != a.InstanceID {
		return ErrInstance
	}
	e.Origin = clerk.OriginImport
	return nil
}
