package cli

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestSelection(t *testing.T) {
	t.Parallel()
	at := func(text string) time.Time {
		t, err := time.Parse(time.RFC3339, text)
		require.NoError(nil, err)
		return t
	}
	for name, test := range map[string]struct {
		selection selection
		want      eventlog.Filter
	}{
		"nothing":      {selection{}, eventlog.Filter{}},
		"since a time": {selection{Since: "2026-01-31T15:04:05Z"}, eventlog.Filter{Since: at("2026-01-31T15:04:05Z")}},
		"zone":         {selection{Until: "2026-01-31T15:04:05+02:00"}, eventlog.Filter{Until: at("2026-01-31T15:04:05+02:00")}},
		"since a day":  {selection{Since: "2026-01-31"}, eventlog.Filter{Since: at("2026-01-31T00:00:00Z")}},
		"seconds":      {selection{Since: "90s"}, eventlog.Filter{Since: at("2026-03-01T11:58:30Z")}},
		"minutes":      {selection{Since: "30m"}, eventlog.Filter{Since: at("2026-03-01T11:30:00Z")}},
		"hours":        {selection{Until: "2h"}, eventlog.Filter{Until: at("2026-03-01T10:00:00Z")}},
		"hours and":    {selection{Until: "1h30m"}, eventlog.Filter{Until: at("2026-03-01T10:30:00Z")}},
		"days":         {selection{Since: "7d", Until: "1d"}, eventlog.Filter{Since: at("2026-02-22T12:00:00Z"), Until: at("2026-02-28T12:00:00Z")}},
		"types":        {selection{Types: []string{"user.*", "*.deleted", "session.created"}}, eventlog.Filter{Types: []string{"user.*", "*.deleted", "session.created"}}},
		"star":         {selection{Types: []string{"*"}}, eventlog.Filter{Types: []string{"*"}}},
		"user":         {selection{User: "user_1"}, eventlog.Filter{User: "user_1"}},
		"org":          {selection{Org: "org_1"}, eventlog.Filter{Org: "org_1"}},
		"range":        {selection{Seq: "5..10"}, eventlog.Filter{From: 5, To: 10}},
		"from":         {selection{Seq: "5.."}, eventlog.Filter{From: 5}},
		"to":           {selection{Seq: "..10"}, eventlog.Filter{To: 10}},
		"one":          {selection{Seq: "5"}, eventlog.Filter{From: 5, To: 5}},
		"largest":      {selection{Seq: "18446744073709551615"}, eventlog.Filter{From: 1<<64 - 1, To: 1<<64 - 1}},
		"origin":       {selection{Origins: []string{"import"}}, eventlog.Filter{Origins: []clerk.Origin{clerk.OriginImport}}},
		"limit":        {selection{Limit: 5}, eventlog.Filter{Limit: 5}},
		"last":         {selection{Last: 5}, eventlog.Filter{Last: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := test.selection.filter(now)
			require.NoError(t, err)
			require.Equal(t, test.want, f)
		})
	}
}

func TestSelectionThatIsWrong(t *testing.T) {
	t.Parallel()
	const (
		badTime = ` is not a time: 2026-01-31T15:04:05Z, 2026-01-31, or how long ago, such as 90s, 30m, 2h, 7d`
		badType = ` is not a type of events: user.created, or a glob such as user.* or *.deleted`
		badUser = `--user is a Clerk id of the form user_…; clerksync show with an e-mail address tells it`
		badOrg  = `--org is a Clerk id of the form org_…, not a name or a slug`
		badSeq  = ` is not a range of sequences: 5..10, 5.., ..10, or 5`
	)
	for _, test := range []struct {
		selection selection
		want      string
	}{
		{selection{Since: "yesterday"}, `--since "yesterday"` + badTime},
		{selection{Since: "2026-02-30"}, `--since "2026-02-30"` + badTime},
		{selection{Since: "2026-01-31T15:04:05"}, `--since "2026-01-31T15:04:05"` + badTime},
		{selection{Until: "0s"}, `--until "0s"` + badTime},
		{selection{Until: "-5m"}, `--until "-5m"` + badTime},
		{selection{Until: "0d"}, `--until "0d"` + badTime},
		{selection{Until: "-1d"}, `--until "-1d"` + badTime},
		{selection{Until: "1.5d"}, `--until "1.5d"` + badTime},
		{selection{Until: "99999999d"}, `--until "99999999d"` + badTime},
		{selection{Since: "1h", Until: "2h"}, `--since is not before --until: nothing lies between them`},
		{selection{Since: "1h", Until: "1h"}, `--since is not before --until: nothing lies between them`},
		{selection{Types: []string{"user"}}, `--type "user"` + badType},
		{selection{Types: []string{"user.*", ""}}, `--type ""` + badType},
		{selection{Types: []string{"user.[a"}}, `--type "user.[a"` + badType},
		{selection{User: "ada@example.com"}, badUser},
		{selection{User: "org_1"}, badUser},
		{selection{User: "user_"}, badUser},
		{selection{User: "user_*"}, badUser},
		{selection{User: "user_1.>"}, badUser},
		{selection{Org: "user_1"}, badOrg},
		{selection{Org: "orgmem_1"}, badOrg},
		{selection{Org: "acme"}, badOrg},
		{selection{Seq: "5-10"}, `--seq "5-10"` + badSeq},
		{selection{Seq: ".."}, `--seq ".."` + badSeq},
		{selection{Seq: "0"}, `--seq "0"` + badSeq},
		{selection{Seq: "0..5"}, `--seq "0..5"` + badSeq},
		{selection{Seq: "1..2..3"}, `--seq "1..2..3"` + badSeq},
		{selection{Seq: "18446744073709551616"}, `--seq "18446744073709551616"` + badSeq},
		{selection{Seq: "10..5"}, `--seq 10..5: the end comes before the begin`},
		{selection{Origins: []string{"mail"}}, `--origin "mail" is not one of webhook, import, probe`},
		{selection{Limit: -1}, `--limit -1: a number of events is not negative`},
		{selection{Last: -1}, `--last -1: a number of events is not negative`},
		{selection{Last: 1, Limit: 1}, `--limit takes the first events and --last the last: give one of them`},
	} {
		_, err := test.selection.filter(now)
		require.EqualError(t, err, test.want)
		require.IsType(t, usageError(""), err)
	}
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Zoë 🦊\n  {}":            "Zoë 🦊\n  {}",
		"\x1b[31m\r\t\x00\x7f":   `\u001b[31m\u000d\u0009\u0000\u007f`,
		"\u009b31m\u202e\u2028é": `\u009b31m\u202e\u2028é`,
		"\xff \xf0\x9d":          `\xff \xf0\x9d`,
		"\U000e0001\uFFFD":       "\\U000e0001\uFFFD",
	} {
		require.Equal(t, want, printable(text))
	}
}

func TestProgressIsForTerminals(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	bar := (&place{}).progress(&session{stderr: &stderr}, 10, "replayed")
	for n := range uint64(11) {
		bar.set(n)
	}
	bar.finish()
	bar.finish()
	require.Empty(t, stderr.String())
}
