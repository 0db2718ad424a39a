//go:build examples

package examples

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/signing"
	"github.com/clerksync/clerksync/internal/testkit"
)

const webhookPath = "/api/webhooks/clerk"

// startNext starts a Next.js application: next start or next dev.
func startNext(t *testing.T, command, dir string, env ...string) string {
	t.Helper()
	port := freePort(t)
	// Not 127.0.0.1: Next.js takes what Clerk's proxy rewrites to localhost for another
	// host then, and requests itself without end.
	p := start(t, dir, env, bin(t, "next"), command, "-p", port, "-H", "localhost")
	p.await(func() (bool, any) {
		conn, err := net.Dial("tcp", "localhost:"+port)
		if err != nil {
			return false, err
		}
		return true, conn.Close()
	})
	url := "http://localhost:" + port
	// No time limit: next dev compiles before its first answer.
	answer, err := (&http.Client{CheckRedirect: signing.NoRedirects}).Get(url)
	require.NoError(t, err)
	answer.Body.Close()
	return url
}

// nextSettings are those of the example besides clerkSettings.
func nextSettings(i *testkit.TokenIssuer, more ...string) []string {
	return append(append(clerkSettings(i), "NEXT_PUBLIC_CLERK_PUBLISHABLE_KEY="+publishableKey(i), "NEXT_PUBLIC_CLERK_SIGN_IN_URL=/sign-in"), more...)
}

// doctor runs clerksync doctor with a public URL, and returns what it says of the probe.
func (c *clerksync) doctor(t *testing.T, url string) string {
	t.Helper()
	// The exit status is that of all checks.
	out, _ := command(".", []string{"CLERKSYNC_DATA_DIR=" + c.DataDir, "CLERK_WEBHOOK_SIGNING_SECRET=" + c.Secret}, program, "doctor", "--url", url).CombinedOutput()
	_, probe, found := strings.Cut(string(out), " probe ")
	require.True(t, found, "%s", out)
	return probe
}

func TestNextJS(t *testing.T) {
	t.Parallel()

	issuer := testkit.NewTokenIssuer(t)
	sync := startClerksync(t)
	dir := filepath.Join(folder, "nextjs")
	output(t, dir, nextSettings(issuer), bin(t, "next"), "build")
	url := startNext(t, "start", dir, nextSettings(issuer, "DATABASE_URL="+sync.DatabaseURL, "CLERKSYNC_URL="+sync.Endpoint)...)
	endpoint := url + webhookPath

	page := func(token string) string {
		t.Helper()
		answer := get(t, url, cookie(token)...)
		require.Equal(t, http.StatusOK, answer.StatusCode, answer.Header)
		return answer.Body
	}
	signsIn := func(headers ...string) {
		t.Helper()
		answer := get(t, url, headers...)
		require.Equal(t, http.StatusTemporaryRedirect, answer.StatusCode, answer.Body)
		require.Regexp(t, "^"+url+`/sign-in\?`, answer.Header.Get("Location"))
	}

	// Without a session, or with one of another application: to the sign-in page, which
	// everyone gets.
	signsIn()
	signsIn(cookie(signed(issuer, ada, map[string]any{"azp": "https://other.example"}))...)
	signsIn(cookie(signed(issuer, ada, map[string]any{"azp": nil}))...)
	signsIn(cookie(issuer.Template(ada, "billing", nil))...)
	require.Equal(t, http.StatusOK, get(t, url+"/sign-in").StatusCode)

	// Webhooks go through the route into the tables, and from there onto the page.
	require.Contains(t, page(issuer.Session(ada)), "being set up")
	for _, name := range []string{
		"organizationMembership.created", "organization.created", "user.created",
		"user.created--ben", "organization.created--birch", "organizationMembership.created--ben",
	} {
		body, err := os.ReadFile(filepath.Join("../../testdata/events", name+".json"))
		require.NoError(t, err)
		require.Equal(t, http.StatusNoContent, deliver(t, endpoint, sync.Secret, signing.NewID(), body), name)
	}
	sync.awaitApplied(t)
	seen := page(issuer.Session(ada))
	require.Contains(t, seen, "<h1>Ada Example</h1>")
	require.Contains(t, seen, "<li>Acme Analytics, org:admin</li>")
	require.NotContains(t, seen, "Birch Labs")
	require.Regexp(t, "^ +what is sent to "+endpoint+" is stored and applied", sync.doctor(t, endpoint))

	// A route that parses the body and writes it again breaks the signature, which is of
	// the bytes: the events above have line breaks that a second writer leaves out.
	body, err := os.ReadFile("../../testdata/events/user.created.json")
	require.NoError(t, err)
	signer, err := signing.NewSigner(sync.Secret)
	require.NoError(t, err)
	request, err := signer.Request(t.Context(), endpoint, signing.NewID(), time.Now(), body)
	require.NoError(t, err)
	var written bytes.Buffer
	require.NoError(t, json.Compact(&written, body))
	request.Body, request.ContentLength = io.NopCloser(&written), int64(written.Len())
	answer := do(t, request)
	require.Equal(t, http.StatusUnauthorized, answer.StatusCode)
	require.Equal(t, signing.BadSignature, answer.Header.Get("Clerksync-Reason"))

	// Limits of the route, whatever clerksync does.
	require.Equal(t, http.StatusRequestEntityTooLarge, deliver(t, endpoint, sync.Secret, signing.NewID(), make([]byte, 1<<20+1)))
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	require.NoError(t, err)
	defer silent.Close()
	url = startNext(t, "start", dir, nextSettings(issuer, "CLERKSYNC_URL=http://"+silent.Addr().String())...)
	request, err = signer.Request(t.Context(), url+webhookPath, signing.NewID(), time.Now(), body)
	require.NoError(t, err)
	answer = do(t, request)
	require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
	require.Equal(t, "5", answer.Header.Get("Retry-After"))
}

// protectsEverything is the proxy.ts that many applications have, without a list of public
// paths.
const protectsEverything = `
import { clerkMiddleware } from '@clerk/nextjs/server'

export default clerkMiddleware(async (auth) => { await auth.protect() })
`

// TestNextJSProtectsEverything: the webhook and the sign-in page are behind the sign-in.
func TestNextJSProtectsEverything(t *testing.T) {
	t.Parallel()

	issuer := testkit.NewTokenIssuer(t)
	sync := startClerksync(t)
	dir, err := os.MkdirTemp(folder, "tmp-") // beside the packages
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.CopyFS(filepath.Join(dir, "app"), os.DirFS(filepath.Join(folder, "nextjs", "app"))))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "proxy.ts"), []byte(protectsEverything), 0o644))
	url := startNext(t, "dev", dir, nextSettings(issuer, "CLERKSYNC_URL="+sync.Endpoint)...)

	// Svix does not follow the redirect, and counts it as a failure.
	require.Equal(t, http.StatusTemporaryRedirect, deliver(t, url+webhookPath, sync.Secret, signing.NewID(), []byte("{}")))
	require.Regexp(t, `^ +stopped at redirect: localhost:\d+ answered 307: it redirects to `+url+"/sign-in, which Svix does not follow", sync.doctor(t, url+webhookPath))

	// The sign-in page leads to itself.
	signIn := get(t, url+"/sign-in", "Accept", "text/html")
	require.Equal(t, http.StatusTemporaryRedirect, signIn.StatusCode)
	require.Regexp(t, `^/sign-in\?redirect_url=`, signIn.Header.Get("Location"))
}
