package eventlog

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
)

// Filter selects stored events, or dead letters. A zero field selects all.
//
// The server does most of the work: types and ids become subjects, times and sequences
// the bounds of the scan. Only globs that are not a whole token, and origins, are
// matched here.
type Filter struct {
	Since, Until time.Time // when the event was stored: from Since on, before Until
	From, To     uint64    // sequences, both included; 0 leaves that side open
	Types        []string  // globs of event types, user.* or organization*.created
	Entity       string    // Clerk id of the event's entity
	User, Org    string    // Clerk ids that the event names
	Origins      []clerk.Origin
	Limit        int // only the first n that match; 0 for all
	Last         int // only the last n that match; 0 for all
}

// Validate returns what is wrong with the filter, as a [*FilterError].
func (f *Filter) Validate() error {
	for _, glob := range f.Types {
		// Without a dot or a wildcard it matches no type. No type is longer.
		if _, err := path.Match(glob, ""); err != nil || !strings.ContainsAny(glob, ".*?[") || len(glob) > 128 {
			return &FilterError{Field: "type", Value: glob, Text: "is not a type of events: user.created, or a glob such as user.* or *.deleted"}
		}
	}
	if _, ok := clerk.KindOfID(f.Entity); f.Entity != "" && (!ok || !clerk.ValidToken(f.Entity)) {
		return &FilterError{Field: "entity", Text: "is not a Clerk id of the form user_…, org_… or orgmem_…"}
	}
	if f.User != "" && !isID(f.User, clerk.KindUser) {
		return &FilterError{Field: "user", Text: "is not a Clerk id of the form user_…", Hint: "clerksync show finds it by e-mail address"}
	}
	if f.Org != "" && !isID(f.Org, clerk.KindOrganization) {
		return &FilterError{Field: "org", Text: "is not a Clerk id of the form org_…", Hint: "copy the id from the Clerk dashboard → Organizations"}
	}
	switch {
	case f.To != 0 && f.From > f.To:
		return &FilterError{Field: "seq", Value: fmt.Sprintf("%d..%d", f.From, f.To), Text: "ends before it begins"}
	case !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until):
		return &FilterError{Field: "until", Text: "is not after since: nothing lies between them"}
	case f.Limit < 0:
		return &FilterError{Field: "limit", Text: "is negative"}
	case f.Last < 0:
		return &FilterError{Field: "last", Text: "is negative"}
	case f.Limit > 0 && f.Last > 0:
		return &FilterError{Field: "limit", Text: "selects the first events and last the last: give one of them"}
	}
	return nil
}

func isID(id string, want clerk.Kind) bool {
	kind, ok := clerk.KindOfID(id)
	return ok && kind == want && clerk.ValidToken(id)
}

// String returns the filter as flags of the command line.
func (f *Filter) String() string {
	var words []string
	add := func(name, value string) {
		if value != "" {
			words = append(words, "--"+name+" "+value)
		}
	}
	if !f.Since.IsZero() {
		add("since", f.Since.UTC().Format(time.RFC3339))
	}
	if !f.Until.IsZero() {
		add("until", f.Until.UTC().Format(time.RFC3339))
	}
	add("type", strings.Join(f.Types, ","))
	add("entity", f.Entity)
	add("user", f.User)
	add("org", f.Org)
	if f.From != 0 || f.To != 0 {
		from, to := strconv.FormatUint(f.From, 10), strconv.FormatUint(f.To, 10)
		if f.From == 0 {
			from = ""
		}
		if f.To == 0 {
			to = ""
		}
		add("seq", from+".."+to)
	}
	for _, o := range f.Origins {
		add("origin", string(o))
	}
	return strings.Join(words, " ")
}

// IsZero reports whether the filter selects everything.
func (f *Filter) IsZero() bool { return f.String() == "" && f.Limit == 0 && f.Last == 0 }

// anyResource stands for the resources of a log that are not known.
const anyResource = "*"

// subjects returns the subjects to read, below a prefix. resources are those that the log
// can hold: with them, a filter by person is two orders of magnitude faster, since the
// server does not match the subjects of everyone else.
func (f *Filter) subjects(prefix string, resources []string) []string {
	types := f.Types
	if len(types) == 0 {
		types = []string{"*.*"}
	}
	if f.Entity != "" {
		kind, _ := clerk.KindOfID(f.Entity)
		resources = []string{clerk.ResourceOf(kind)}
	}
	anyID := f.Entity == "" && f.User == "" && f.Org == ""
	if anyID && slices.ContainsFunc(types, func(glob string) bool { return widen(glob) == "*.*" }) {
		return []string{prefix + ".>"}
	}
	var all []string
	for _, glob := range types {
		resource, action, _ := strings.Cut(widen(glob), ".")
		candidates := []string{resource}
		if resource == "*" && !anyID {
			candidates = resources
		}
		for _, resource := range candidates {
			subject, ok := f.subject(prefix, resource, action)
			if !ok || slices.ContainsFunc(all, func(other string) bool { return covers(other, subject) }) {
				continue
			}
			all = slices.DeleteFunc(all, func(other string) bool { return covers(subject, other) })
			all = append(all, subject)
		}
	}
	return all
}

// covers reports whether one subject, or glob, selects everything that another does.
func covers(wide, narrow string) bool {
	return eachToken(wide, narrow, func(w, n string) bool { return w == "*" || w == n })
}

// overlap reports whether both can select the same event.
func overlap(a, b string) bool {
	return eachToken(a, b, func(a, b string) bool { return a == b || a == "*" || b == "*" })
}

func eachToken(a, b string, ok func(a, b string) bool) bool {
	return slices.EqualFunc(strings.Split(a, "."), strings.Split(b, "."), ok)
}

// subject returns the subject for one resource, and false when the filter matches none of
// its events.
func (f *Filter) subject(prefix, resource, action string) (string, bool) {
	id, org, user := "*", "*", "*"
	if f.Org != "" {
		org = f.Org
	}
	if f.User != "" {
		user = f.User
	}
	switch resource {
	case "user": // belongs to itself and to no organization
		if f.Org != "" {
			return "", false
		}
		id, org = user, "-"
	case "organization":
		id = org
	}
	if f.Entity != "" {
		if id != "*" && id != f.Entity {
			return "", false
		}
		id = f.Entity
	}
	return strings.Join([]string{prefix, resource, action, id, org, user}, "."), true
}

// widen turns a glob of types into tokens of a subject: a token that is a pattern becomes
// a star.
func widen(glob string) string {
	resource, action, found := strings.Cut(glob, ".")
	if !found { // a star that spans the dot
		return "*.*"
	}
	for _, token := range []*string{&resource, &action} {
		if !clerk.ValidToken(*token) {
			*token = "*"
		}
	}
	return resource + "." + action
}

// exact reports whether the server alone does the filter's work, with each event under
// one subject only, so that it can also count.
func (f *Filter) exact() bool {
	for i, glob := range f.Types {
		if widen(glob) != glob {
			return false
		}
		for _, other := range f.Types[:i] {
			if overlap(glob, other) && !covers(glob, other) && !covers(other, glob) {
				return false
			}
		}
	}
	return len(f.Origins) == 0
}

// matches applies the part of the filter that the server does not.
func (f *Filter) matches(m *Message) bool {
	if len(f.Types) > 0 && !slices.ContainsFunc(f.Types, func(glob string) bool {
		ok, _ := path.Match(glob, m.Event.Envelope.Type)
		return ok
	}) {
		return false
	}
	return len(f.Origins) == 0 || slices.Contains(f.Origins, m.Event.Origin)
}

// resourcesOf returns the resources that globs of event types let into the log.
func resourcesOf(globs []string) []string {
	var all []string
	for _, glob := range globs {
		resource, _, _ := strings.Cut(widen(glob), ".")
		all = append(all, resource)
	}
	return all
}
