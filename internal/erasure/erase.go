package erasure

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/store/db"
)

// Person is what there is to be erased of a user.
type Person struct {
	ID      string // Clerk id
	Head    *db.EntityHead
	Events  []*eventlog.Message // their own, and those that name them, without their bodies
	Letters []*eventlog.Message // dead letters, without their bodies

	addresses []string // e-mail addresses, by which letters are found that nobody could read
}

// Nothing tells whether there is nothing left to be erased.
func (p *Person) Nothing() bool {
	return len(p.Events)+len(p.Letters) == 0 && p.Head != nil && p.Head.Deleted
}

// Eraser erases people.
type Eraser struct {
	Log   *eventlog.Log
	Store *store.Store

	// testOnlyRemove is called before an event or a dead letter is removed. Its error
	// leaves the rest as a killed process would.
	testOnlyRemove func(*eventlog.Message) error
}

// Find looks for what there is of a user. The error is [store.ErrUnknown] when there never
// was anything, as far as one can know.
func (e *Eraser) Find(ctx context.Context, id string) (*Person, error) {
	head, err := e.Store.Head(ctx, clerk.KindUser, id)
	if err != nil {
		return nil, err
	}
	p := &Person{ID: id, Head: head}
	address, err := e.Store.EmailClaimedBy(ctx, id)
	if err != nil {
		return nil, err
	}
	p.learn(address)
	if err := e.find(ctx, p); err != nil {
		return nil, err
	}
	if p.Head == nil && len(p.Events)+len(p.Letters) == 0 {
		return nil, fmt.Errorf("%s: %w", id, store.ErrUnknown)
	}
	return p, nil
}

// find looks into the log and the dead letters.
func (e *Eraser) find(ctx context.Context, p *Person) error {
	p.Events, p.Letters = nil, nil
	err := e.Log.PersonalEvents(ctx, p.ID, func(m *eventlog.Message) error {
		p.read(m.Event.Body)
		m.Event.Body = nil
		p.Events = append(p.Events, m)
		return nil
	})
	if err != nil {
		return err
	}
	// All of them: one that nobody could read stands under no id.
	letters, err := e.Log.Letters(ctx, eventlog.Filter{})
	if err != nil {
		return err
	}
	return letters.Each(ctx, func(m *eventlog.Message) error {
		if p.concerns(m) {
			m.Event.Body = nil
			p.Letters = append(p.Letters, m)
		}
		return nil
	})
}

// read takes the addresses of the person from an event of theirs, as far as it can be
// read.
func (p *Person) read(body []byte) {
	type address struct {
		EmailAddress string `json:"email_address"`
	}
	var event struct {
		Data struct {
			ID               string    `json:"id"`
			EmailAddresses   []address `json:"email_addresses"`
			ExternalAccounts []address `json:"external_accounts"`
			PublicUserData   struct {
				UserID     string `json:"user_id"`
				Identifier string `json:"identifier"` // an address, a number, or a name
			} `json:"public_user_data"`
		} `json:"data"`
	}
	_ = json.Unmarshal(body, &event) // what is of another type than it should be is left out
	if event.Data.ID == p.ID {
		for _, a := range append(event.Data.EmailAddresses, event.Data.ExternalAccounts...) {
			p.learn(a.EmailAddress)
		}
	}
	if u := event.Data.PublicUserData; u.UserID == p.ID {
		p.learn(u.Identifier)
	}
}

func (p *Person) learn(address string) {
	if strings.Contains(address, "@") && !slices.Contains(p.addresses, address) {
		p.addresses = append(p.addresses, address)
	}
}

// concerns tells whether a letter is about the person: under their id, or, when its
// place says nothing, with their id or an address of theirs in it. Letters of others
// that have these in them are left, as their events are in the log.
func (p *Person) concerns(m *eventlog.Message) bool {
	place := m.Event.Envelope
	if place.UserID != "" {
		return place.UserID == p.ID
	}
	if kind, _ := clerk.KindOfID(place.EntityID); kind == clerk.KindOrganization {
		return false
	}
	return slices.ContainsFunc(append([]string{p.ID}, p.addresses...), func(word string) bool { return hasWord(m.Event.Body, word) })
}

// hasWord tells whether a word stands in a text, and not only as a part of a longer
// one: user_1 is not user_11.
func hasWord(text []byte, word string) bool {
	for from := 0; ; {
		i := bytes.Index(text[from:], []byte(word))
		if i < 0 {
			return false
		}
		begin, end := from+i, from+i+len(word)
		escaped := begin > 1 && text[begin-2] == '\\' // the n of a line break
		if (begin == 0 || escaped || !inWord(text[begin-1])) && (end == len(text) || !inWord(text[end])) {
			return true
		}
		from = begin + 1
	}
}

func inWord(c byte) bool { return clerk.ValidToken(string(rune(c))) }

// Erase reduces the row of a person to what a deleted user has, and removes the events
// that name them from the log and the dead letters. It returns how many. To do it
// again does nothing; one that was interrupted is finished by that, or by a
// [Sweeper].
func (e *Eraser) Erase(ctx context.Context, p *Person) (events, letters int, err error) {
	// The row may be the last to tell the address that a letter was found by.
	letters, err = e.remove(ctx, p.Letters, e.Log.RemoveLetter)
	if err != nil {
		return 0, letters, err
	}
	if err := e.Store.TombstoneUser(ctx, p.ID, time.Now()); err != nil {
		return 0, letters, err
	}
	events, more, err := e.purge(ctx, p)
	return events, letters + more, err
}

// purge removes the events that name a person who is deleted. The error is
// [store.ErrNotDeleted] when that is no longer so.
func (e *Eraser) purge(ctx context.Context, p *Person) (events, letters int, err error) {
	for {
		// From here on, an event that is applied and names the person takes the mark
		// away that FinishErase looks for. What is stored and not yet applied does so
		// later, and the sweeper comes again.
		if err := e.Store.BeginErase(ctx, p.ID); err != nil {
			return events, letters, err
		}
		if err := e.find(ctx, p); err != nil {
			return events, letters, err
		}
		// The letters first: whoever goes on after an interruption finds some of them
		// by what the events say.
		n, err := e.remove(ctx, p.Letters, e.Log.RemoveLetter)
		letters += n
		if err != nil {
			return events, letters, err
		}
		n, err = e.remove(ctx, p.Events, e.Log.Erase)
		events += n
		if err != nil {
			return events, letters, err
		}
		if done, err := e.Store.FinishErase(ctx, p.ID); err != nil || done {
			return events, letters, err
		}
	}
}

func (e *Eraser) remove(ctx context.Context, all []*eventlog.Message, remove func(context.Context, uint64) error) (int, error) {
	for i, m := range all {
		if e.testOnlyRemove != nil {
			if err := e.testOnlyRemove(m); err != nil {
				return i, err
			}
		}
		if err := remove(ctx, m.Seq); err != nil {
			return i, err
		}
	}
	return len(all), nil
}
