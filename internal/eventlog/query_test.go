package eventlog_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
)

var queriedAt = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestQuery(t *testing.T) {
	t.Parallel()
	at := func(text string) time.Time {
		at, err := time.Parse(time.RFC3339, text)
		require.NoError(t, err)
		return at
	}
	for name, test := range map[string]struct {
		query eventlog.Query
		want  eventlog.Filter
	}{
		"nothing":      {eventlog.Query{}, eventlog.Filter{}},
		"since a time": {eventlog.Query{Since: "2026-01-31T15:04:05Z"}, eventlog.Filter{Since: at("2026-01-31T15:04:05Z")}},
		"zone":         {eventlog.Query{Until: "2026-01-31T15:04:05+02:00"}, eventlog.Filter{Until: at("2026-01-31T15:04:05+02:00")}},
		"since a day":  {eventlog.Query{Since: "2026-01-31"}, eventlog.Filter{Since: at("2026-01-31T00:00:00Z")}},
		"seconds":      {eventlog.Query{Since: "90s"}, eventlog.Filter{Since: at("2026-03-01T11:58:30Z")}},
		"minutes":      {eventlog.Query{Since: "30m"}, eventlog.Filter{Since: at("2026-03-01T11:30:00Z")}},
		"hours":        {eventlog.Query{Until: "2h"}, eventlog.Filter{Until: at("2026-03-01T10:00:00Z")}},
		"hours and":    {eventlog.Query{Until: "1h30m"}, eventlog.Filter{Until: at("2026-03-01T10:30:00Z")}},
		"days":         {eventlog.Query{Since: "7d", Until: "1d"}, eventlog.Filter{Since: at("2026-02-22T12:00:00Z"), Until: at("2026-02-28T12:00:00Z")}},
		"types":        {eventlog.Query{Types: []string{"user.*", "*.deleted", "session.created", "*"}}, types("user.*", "*.deleted", "session.created", "*")},
		"user":         {eventlog.Query{User: "user_1"}, eventlog.Filter{User: "user_1"}},
		"org":          {eventlog.Query{Org: "org_1"}, eventlog.Filter{Org: "org_1"}},
		"range":        {eventlog.Query{Seq: "5..10"}, eventlog.Filter{From: 5, To: 10}},
		"from":         {eventlog.Query{Seq: "5.."}, eventlog.Filter{From: 5}},
		"to":           {eventlog.Query{Seq: "..10"}, eventlog.Filter{To: 10}},
		"one":          {eventlog.Query{Seq: "5"}, eventlog.Filter{From: 5, To: 5}},
		"largest":      {eventlog.Query{Seq: "18446744073709551615"}, eventlog.Filter{From: 1<<64 - 1, To: 1<<64 - 1}},
		"origin":       {eventlog.Query{Origins: []string{"import"}}, eventlog.Filter{Origins: []clerk.Origin{clerk.OriginImport}}},
		"limit":        {eventlog.Query{Limit: 5}, eventlog.Filter{Limit: 5}},
		"last":         {eventlog.Query{Last: 5}, eventlog.Filter{Last: 5}},
	} {
		f, err := test.query.Filter(queriedAt)
		require.NoError(t, err, name)
		require.Equal(t, test.want, f, name)
	}
}

func TestQueryThatIsWrong(t *testing.T) {
	t.Parallel()
	fault := func(q eventlog.Query) *eventlog.FilterError {
		f, err := q.Filter(queriedAt)
		require.Zero(t, f)
		var fault *eventlog.FilterError
		require.ErrorAs(t, err, &fault)
		return fault
	}
	const badTime = "is not a time: 2026-01-31T15:04:05Z, 2026-01-31, or an age such as 90s, 30m, 2h, 7d"
	for _, text := range []string{"yesterday", "2026-02-30", "2026-01-31T15:04:05", "5", "0s", "-5m", "0d", "-1d", "1.5d", "99999999d"} {
		require.Equal(t, &eventlog.FilterError{Field: "since", Value: text, Text: badTime}, fault(eventlog.Query{Since: text}))
		require.Equal(t, &eventlog.FilterError{Field: "until", Value: text, Text: badTime}, fault(eventlog.Query{Until: text}))
	}
	for _, text := range []string{"5-10", "..", "0", "0..5", "1..2..3", "18446744073709551616"} {
		require.Equal(t, &eventlog.FilterError{Field: "seq", Value: text, Text: "is not a range of sequences: 5..10, 5.., ..10, or 5"}, fault(eventlog.Query{Seq: text}))
	}
	require.EqualError(t, fault(eventlog.Query{Origins: []string{"mail"}}), `origin "mail" is not one of webhook, backfill, reconcile, readthrough, import, probe`)
	// The rest is [eventlog.Filter.Validate]'s.
	require.EqualError(t, fault(eventlog.Query{Since: "1h", Until: "2h"}), "until is not after since: nothing lies between them")
	require.Equal(t, &eventlog.FilterError{Field: "user", Text: "is not a Clerk id of the form user_…", Hint: "clerksync show finds it by e-mail address"},
		fault(eventlog.Query{User: "ada@example.com"}))
}
