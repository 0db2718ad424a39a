package archive_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/archive"
)

// FuzzReader: no bytes make the reader panic, and what it took it can write and read
// again. Whatever a body is, it comes back byte for byte.
func FuzzReader(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(good + good + "{"))
	f.Add([]byte(good + `{"seq":1,"stored_at":"0001-01-01T00:00:00Z","type":"","headers":{}}`))
	f.Add([]byte(`{"seq":18446744073709551615,"stored_at":"9999-12-31T23:59:59.999999999+23:59","type":"a.b","headers":{"Svix-Id":"","Svix-Timestamp":"",` +
		`"Svix-Signature":"","Clerksync-Received-At":"0000-01-01T00:00:00.000Z","Clerksync-Event-At":"9999-12-31T23:59:59.999Z","Clerksync-Origin":""},"body_base64":"/w=="}`))
	f.Add(write(f, true, record("{}"), record("\xff")))
	f.Add(write(f, true, record("{}"))[:20])
	f.Add([]byte("\n\n\x00\xff\u2028"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, _ := readAll(t, data)
		for _, compress := range []bool{false, true} {
			again, err := readAll(t, write(t, compress, all...))
			require.NoError(t, err)
			require.Equal(t, all, again)
		}
		again, err := readAll(t, write(t, false, record(string(data))))
		require.NoError(t, err)
		require.Equal(t, []*archive.Record{record(string(data))}, again)
	})
}
