package cli_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/cli"
)

func TestSendStopsWhenItIsTold(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { cancel() }))
	defer server.Close()
	const event = "../../testdata/events/user.created.json"
	var stdout, stderr bytes.Buffer
	status := cli.Main(ctx, []string{"send", "--url", server.URL, "--secret", markerSecret, event, event, event}, nil, &stdout, &stderr)
	require.Equal(t, 1, status)
	require.LessOrEqual(t, strings.Count(stdout.String(), "\n"), 1)
	require.Regexp(t, "^clerksync: stopped: [01] of 3 events were sent\n$", stderr.String())
}
