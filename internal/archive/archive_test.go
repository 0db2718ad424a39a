package archive_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/archive"
	"github.com/clerksync/clerksync/internal/clerk"
)

const good = `{"seq":7,"stored_at":"2026-01-12T08:56:41.123456789Z","type":"user.created","headers":{"Svix-Id":"msg_1",` +
	`"Svix-Timestamp":"1768208401","Svix-Signature":"v1,c2ln","Clerksync-Received-At":"2026-01-12T08:56:40.900Z",` +
	`"Clerksync-Event-At":"2026-01-12T08:56:40.426Z","Clerksync-Origin":"webhook"},"body":"{\"type\":\"user.created\"}"}` + "\n"

func record(body string) *archive.Record {
	return &archive.Record{
		Seq: 7, StoredAt: time.Date(2026, 1, 12, 8, 56, 41, 123456789, time.UTC),
		Event: &clerk.Event{
			ID: "msg_1", Timestamp: "1768208401", Signature: "v1,c2ln",
			ReceivedAt: time.Date(2026, 1, 12, 8, 56, 40, 900e6, time.UTC), Origin: clerk.OriginWebhook, Body: []byte(body),
			Envelope: clerk.Envelope{Type: "user.created", EventAt: 1768208200426},
		},
	}
}

func write(t testing.TB, compress bool, records ...*archive.Record) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := archive.NewWriter(&out, compress)
	require.NoError(t, err)
	for _, r := range records {
		require.NoError(t, w.Write(r))
	}
	require.NoError(t, w.Close())
	require.EqualValues(t, len(records), w.Events)
	require.EqualValues(t, out.Len(), w.Bytes)
	return out.Bytes()
}

// readAll reads up to the first error, nil at the end of the archive.
func readAll(t testing.TB, data []byte) ([]*archive.Record, error) {
	t.Helper()
	return readFrom(t, bytes.NewReader(data))
}

func readFrom(t testing.TB, in io.Reader) ([]*archive.Record, error) {
	r, err := archive.NewReader(in)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var all []*archive.Record
	for {
		record, err := r.Read()
		if err == io.EOF {
			require.Equal(t, len(all), r.Line())
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, record)
		require.Equal(t, len(all), r.Line())
	}
}

// TestForm: the format is a promise: other programs read exports, and old exports must
// stay readable.
func TestForm(t *testing.T) {
	t.Parallel()
	require.Equal(t, good, string(write(t, false, record(`{"type":"user.created"}`))))
	all, err := readAll(t, []byte(good))
	require.NoError(t, err)
	require.Equal(t, []*archive.Record{record(`{"type":"user.created"}`)}, all)
}

func TestBodiesComeBackByteForByte(t *testing.T) {
	t.Parallel()
	var records []*archive.Record
	for _, body := range []string{
		``, `{}`, "{ \"a\" :\t1.0,\r\n\"a\":\"\\u0041\\ud800\" }\n", "not JSON", "\x00\x01\x7f\u2028\u0085<&>é𝄞\uFFFD",
		"\xff\xfe", "half \xf0\x9d", strings.Repeat("x", 1<<20), strings.Repeat("\x00", 1<<20), strings.Repeat("\xff", 1<<20),
	} {
		records = append(records, record(body))
	}
	for _, compress := range []bool{false, true} {
		all, err := readAll(t, write(t, compress, records...))
		require.NoError(t, err)
		require.Equal(t, records, all)
	}
}

func TestStrangeHeadersAreWritten(t *testing.T) {
	t.Parallel()
	r := record("{}")
	r.Event.Signature = "v1,c2ln \xff"
	r.Event.ReceivedAt = time.Time{}
	r.StoredAt = r.StoredAt.In(time.FixedZone("", 3600))
	all, err := readAll(t, write(t, false, r))
	require.NoError(t, err)
	require.Equal(t, "v1,c2ln \uFFFD", all[0].Event.Signature)
	require.True(t, all[0].Event.ReceivedAt.IsZero())
	require.Equal(t, time.UTC, all[0].StoredAt.Location())
}

func TestTheLastLineNeedsNoEnd(t *testing.T) {
	t.Parallel()
	all, err := readAll(t, []byte(good+strings.TrimSuffix(good, "\n")))
	require.NoError(t, err)
	require.Len(t, all, 2)
	all, err = readAll(t, nil)
	require.NoError(t, err)
	require.Empty(t, all)
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	change := func(old, by string) string {
		require.Contains(t, good, old)
		return strings.Replace(good, old, by, 1)
	}
	for name, test := range map[string]struct{ line, want string }{
		"empty":             {"\n", "not JSON: fault at byte 0"},
		"not JSON":          {"{\"seq\":7,}\n", "not JSON: fault at byte 8"},
		"more behind it":    {change("\n", " {}\n"), "not JSON: fault at byte 329"},
		"an array":          {"[]\n", "not an event of an export, which is an object"},
		"a webhook":         {"{\"type\":\"user.created\",\"data\":{\"id\":\"user_1\"}}\n", "not an event of an export: it has a field that those do not have"},
		"twice":             {change(`"seq":7`, `"seq":7,"seq":8`), "a key stands twice in one object"},
		"another name":      {change("Svix-Id", "svix-id"), "not an event of an export: it has a field that those do not have"},
		"no sequence":       {change(`"seq":7,`, ``), "not an event of an export: seq is missing"},
		"sequence":          {change(`"seq":7`, `"seq":-7`), "not an event of an export: seq is of another type"},
		"no time":           {change(`"stored_at":"2026-01-12T08:56:41.123456789Z",`, ``), "not an event of an export: stored_at is missing"},
		"time":              {change(`"2026-01-12T08:56:41.123456789Z"`, `"yesterday"`), "not an event of an export: stored_at is of another type"},
		"no type":           {change(`"type":"user.created"`, `"type":null`), "not an event of an export: type is missing"},
		"no headers":        {`{"seq":7,"stored_at":"2026-01-12T08:56:41Z","type":"user.created","body":""}` + "\n", "not an event of an export: headers is missing"},
		"no id":             {change(`"Svix-Id":"msg_1",`, ``), "not an event of an export: Svix-Id is missing"},
		"header":            {change(`"Svix-Id":"msg_1"`, `"Svix-Id":["msg_1"]`), "not an event of an export: headers/Svix-Id is of another type"},
		"no signature":      {change(`"Svix-Signature":"v1,c2ln",`, ``), "not an event of an export: Svix-Signature is missing"},
		"no origin":         {change(`,"Clerksync-Origin":"webhook"`, ``), "not an event of an export: Clerksync-Origin is missing"},
		"received":          {change("2026-01-12T08:56:40.900Z", "2026-01-12"), "Clerksync-Received-At is not a time of the form 2026-01-31T15:04:05.000Z"},
		"emitted":           {change("2026-01-12T08:56:40.426Z", "426"), "Clerksync-Event-At is not a time of the form 2026-01-31T15:04:05.000Z"},
		"no body":           {change(`,"body":"{\"type\":\"user.created\"}"`, ``), "not an event of an export: body is missing"},
		"body as an object": {change(`"body":"{\"type\":\"user.created\"}"`, `"body":{}`), "not an event of an export: body is of another type"},
		"both bodies":       {change(`"body":`, `"body_base64":"e30=","body":`), "body and body_base64 exclude each other"},
		"base64":            {change(`"body":"{\"type\":\"user.created\"}"`, `"body_base64":"e3="`), "body_base64 is not base64"},
		"broken text":       {change(`user.created\"}"`, "\xff\"}\""), "not JSON: fault at byte 311"},
		"too long":          {change(`{\"type`, strings.Repeat(" ", archive.MaxLine)), "longer than 8 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, compress := range []bool{false, true} {
				data := []byte(good + good + test.line + good)
				if compress {
					data = pack(t, data)
				}
				all, err := readAll(t, data)
				require.EqualError(t, err, "line 3: "+test.want)
				require.Len(t, all, 2)
			}
		})
	}
}

func pack(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	defer w.Close()
	return w.EncodeAll(data, nil)
}

// TestCutOff: wherever an archive ends that has no end, it is noticed, unless it ends
// with a line.
func TestCutOff(t *testing.T) {
	t.Parallel()
	plain := []byte(good + good + good)
	for n := range plain {
		all, err := readAll(t, plain[:n])
		if rest := n % len(good); rest == 0 || rest == len(good)-1 {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, archive.ErrCutOff)
		require.Len(t, all, n/len(good))
		want := []string{"the file is cut off in line 1", "the file is cut off after line 1", "the file is cut off after line 2"}
		require.EqualError(t, err, want[n/len(good)])
	}
	packed := write(t, true, record("{}"), record("[]"), record(strings.Repeat("x", 1<<20)))
	for n := len(packed) - 1; n >= 4; n-- {
		_, err := readAll(t, packed[:n])
		require.ErrorIs(t, err, archive.ErrCutOff, "%d of %d bytes", n, len(packed))
	}
}

func TestDamaged(t *testing.T) {
	t.Parallel()
	packed := write(t, true, record("{}"), record(base64.StdEncoding.EncodeToString([]byte(strings.Repeat("ab", 500)))))
	packed[len(packed)-1]++ // the checksum
	_, err := readAll(t, packed)
	require.ErrorContains(t, err, "it cannot be unpacked: ")
	require.NotErrorIs(t, err, archive.ErrCutOff)
}

func TestOneAfterTheOther(t *testing.T) {
	t.Parallel()
	packed := append(write(t, true, record("{}")), write(t, true, record("[]"))...)
	all, err := readAll(t, packed)
	require.NoError(t, err)
	require.Equal(t, []*archive.Record{record("{}"), record("[]")}, all)
}

func TestDiskFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	_, err := readFrom(t, io.MultiReader(strings.NewReader(good), iotest.ErrReader(broken)))
	require.EqualError(t, err, "line 2: broken")
	for _, compress := range []bool{false, true} {
		w, err := archive.NewWriter(failing{broken}, compress)
		require.NoError(t, err)
		if err = w.Write(record("{}")); err == nil {
			err = w.Close()
		}
		require.ErrorIs(t, err, broken)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestNameSaysWhetherItIsCompressed(t *testing.T) {
	t.Parallel()
	require.True(t, archive.Compressed("events.ndjson.zst"))
	require.False(t, archive.Compressed("events.ndjson"))
	require.False(t, archive.Compressed("events.zst.ndjson"))
}
