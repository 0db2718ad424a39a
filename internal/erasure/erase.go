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

// Person is what is stored about a user.
type Person struct {
	ID      string // Clerk id
	Head    *db.EntityHead
	Events  []*eventlog.Message // that name the user, without their bodies
	Letters []*eventlog.Message // dead letters, without their bodies

	addresses []string // e-mail addresses, to find letters that could not be decoded
}

// Nothing reports whether nothing is left to erase.
func (p *Person) Nothing() bool {
	return len(p.Events)+len(p.Letters) == 0 && p.Head != nil && p.Head.Deleted
}

// Eraser erases people.
type Eraser struct {
	Log   *eventlog.Log
	Store *store.Store

	// Progress is called with the number of events, or of dead letters, removed so far. Nil
	// does nothing.
	Progress func(removed uint64)

	// testOnlyRemove is called before an event or a dead letter is removed. On an error
	// the rest is left as a killed process would leave it.
	testOnlyRemove func(*eventlog.Message) error
}

// Find returns what is stored about a user. The error is [store.ErrUnknown] when nothing
// is, and no tombstone is there.
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

// find reads the log and the dead letters.
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
	// Read all letters: one that could not be decoded has no id in its subject.
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

// read collects the person's addresses from an event, as far as it can be decoded.
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
				Identifier string `json:"identifier"` // an address, a phone number or a username
			} `json:"public_user_data"`
		} `json:"data"`
	}
	_ = json.Unmarshal(body, &event) // skips values of an unexpected type
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

// concerns reports whether a letter names the person: in its subject or, when the subject
// names no user, by their id or one of their addresses in the body. A letter of another
// user stays, as that user's events stay in the log.
func (p *Person) concerns(m *eventlog.Message) bool {
	subject := m.Event.Envelope
	if subject.UserID != "" {
		return subject.UserID == p.ID
	}
	if kind, _ := clerk.KindOfID(subject.EntityID); kind == clerk.KindOrganization {
		return false
	}
	return slices.ContainsFunc(append([]string{p.ID}, p.addresses...), func(word string) bool { return hasWord(m.Event.Body, word) })
}

// hasWord reports whether a text contains a whole word: user_1 is not in user_11.
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

// Erase reduces the row of a person to that of a deleted user, removes the events that
// name them from the log and the dead letters, and returns how many. It is idempotent: a
// second call, or a [Sweeper], finishes an erasure that was interrupted.
func (e *Eraser) Erase(ctx context.Context, p *Person) (events, letters int, err error) {
	// Letters first: the row may be the only place left with the address by which they are
	// found, and the tombstone clears it.
	letters, err = e.remove(ctx, p.Letters, e.Log.RemoveLetters)
	if err != nil {
		return 0, letters, err
	}
	if err := e.Store.TombstoneUser(ctx, p.ID, time.Now()); err != nil {
		return 0, letters, err
	}
	events, more, err := e.purge(ctx, p)
	return events, letters + more, err
}

// purge removes the events that name a deleted person. The error is [store.ErrNotDeleted]
// when the person is no longer deleted.
func (e *Eraser) purge(ctx context.Context, p *Person) (events, letters int, err error) {
	for {
		// From here on, applying an event that names the person clears the mark that
		// FinishErase checks. An event that is applied later does so too, and the sweeper
		// erases again.
		if err := e.Store.BeginErase(ctx, p.ID); err != nil {
			return events, letters, err
		}
		if err := e.find(ctx, p); err != nil {
			return events, letters, err
		}
		// The letters first: after an interruption some of them are found only by the
		// addresses in the events.
		n, err := e.remove(ctx, p.Letters, e.Log.RemoveLetters)
		letters += n
		if err != nil {
			return events, letters, err
		}
		var seqs []uint64
		for _, m := range p.Events {
			seqs = append(seqs, m.Seq)
		}
		if err := e.Store.NoteErased(ctx, seqs); err != nil {
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

// remove removes events or dead letters, and returns how many.
func (e *Eraser) remove(ctx context.Context, all []*eventlog.Message, remove func(context.Context, ...uint64) error) (int, error) {
	removed := 0
	for batch := range slices.Chunk(all, eventlog.EraseBatch) {
		var seqs []uint64
		var killed error
		for _, m := range batch {
			if e.testOnlyRemove != nil {
				if killed = e.testOnlyRemove(m); killed != nil {
					break
				}
			}
			seqs = append(seqs, m.Seq)
		}
		if err := remove(ctx, seqs...); err != nil {
			return removed, err
		}
		removed += len(seqs)
		if killed != nil {
			return removed, killed
		}
		if e.Progress != nil {
			e.Progress(uint64(removed))
		}
	}
	return removed, nil
}
