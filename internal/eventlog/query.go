package eventlog

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
)

// Query is a [Filter] as people write it. Fields that are empty select everything.
type Query struct {
	Since, Until string   // 2026-01-31T15:04:05Z, 2026-01-31 (0:00 UTC), or an age: 90s, 2h, 7d
	Types        []string // user.created, or globs: user.*, *.deleted
	User, Org    string   // Clerk ids
	Seq          string   // 5..10, 5.., ..10, or 5
	Origins      []string
	Limit, Last  int
}

// FilterError is a fault in one field of a [Query] or a [Filter]. Command line and
// dashboard print their own name of the field before the text.
type FilterError struct {
	Field string // since, until, type, entity, user, org, seq, origin, limit or last
	Value string // what was given; "" for ids: it may be an e-mail address, which must not reach a log
	Text  string // completes a sentence that begins with the field
	Hint  string // the next step, or ""
}

func (e *FilterError) Error() string {
	if e.Value == "" {
		return e.Field + " " + e.Text
	}
	return fmt.Sprintf("%s %q %s", e.Field, e.Value, e.Text)
}

// Filter parses and validates a query. Ages count from now. The error is a [*FilterError].
func (q *Query) Filter(now time.Time) (Filter, error) {
	f := Filter{Types: q.Types, User: q.User, Org: q.Org, Limit: q.Limit, Last: q.Last}
	var err error
	if f.Since, err = queryTime("since", q.Since, now); err != nil {
		return Filter{}, err
	}
	if f.Until, err = queryTime("until", q.Until, now); err != nil {
		return Filter{}, err
	}
	if f.From, f.To, err = querySeq(q.Seq); err != nil {
		return Filter{}, err
	}
	for _, name := range q.Origins {
		if !slices.Contains(clerk.Origins, clerk.Origin(name)) {
			return Filter{}, &FilterError{Field: "origin", Value: name, Text: "is not one of " + OriginNames()}
		}
		f.Origins = append(f.Origins, clerk.Origin(name))
	}
	if err := f.Validate(); err != nil {
		return Filter{}, err
	}
	return f, nil
}

// OriginNames lists the origins of events, for texts.
func OriginNames() string {
	var names []string
	for _, o := range clerk.Origins {
		names = append(names, string(o))
	}
	return strings.Join(names, ", ")
}

func queryTime(field, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil && n > 0 {
			return now.AddDate(0, 0, -int(n)), nil
		}
	} else if age, err := time.ParseDuration(text); err == nil && age > 0 {
		return now.Add(-age), nil
	}
	return time.Time{}, &FilterError{
		Field: field, Value: text, Text: "is not a time: 2026-01-31T15:04:05Z, 2026-01-31, or an age such as 90s, 30m, 2h, 7d",
	}
}

// querySeq parses a range of sequences; 0 is a side that is open.
func querySeq(text string) (from, to uint64, err error) {
	if text == "" {
		return 0, 0, nil
	}
	first, last, isRange := strings.Cut(text, "..")
	if !isRange {
		last = first
	}
	fault := &FilterError{Field: "seq", Value: text, Text: "is not a range of sequences: 5..10, 5.., ..10, or 5"}
	if first == "" && last == "" {
		return 0, 0, fault
	}
	for _, side := range []struct {
		text string
		to   *uint64
	}{{first, &from}, {last, &to}} {
		if side.text == "" {
			continue
		}
		n, err := strconv.ParseUint(side.text, 10, 64)
		if err != nil || n == 0 {
			return 0, 0, fault
		}
		*side.to = n
	}
	return from, to, nil
}
