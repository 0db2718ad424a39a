package cli_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/clerksync/clerksync/internal/testkit"
)

// get URL: prints what is there.
func cmdGet(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "get URL")
	text, err := get(args[0])
	ts.Check(err)
	io.WriteString(ts.Stdout(), text)
}

// waitget URL TEXT: waits until the text is there.
func cmdWaitGet(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "waitget URL TEXT")
	ts.Check(await(func() (bool, string) {
		text, err := get(args[0])
		if err != nil {
			return false, err.Error()
		}
		return strings.Contains(text, args[1]), text
	}))
}

func get(url string) (string, error) {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// login FILE: posts the code of the link in a file, as the page of the link does, and
// prints the status and the page that it leads to.
func cmdLogin(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "login FILE")
	link, err := url.Parse(strings.TrimSpace(ts.ReadFile(args[0])))
	ts.Check(err)
	jar, err := cookiejar.New(nil)
	ts.Check(err)
	client := &http.Client{Timeout: patience, Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.PostForm(link.ResolveReference(&url.URL{Path: "/login"}).String(), url.Values{"code": {link.Fragment}})
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%s %s\n%s", resp.Status, resp.Request.URL.Path, body)
}

// nats VARIABLE: starts a NATS server.
func cmdNATS(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "nats VARIABLE")
	ts.Setenv(args[0], testkit.NATS(ts.Value(testKey{}).(testing.TB)).URL())
}

// redirect VARIABLE URL: starts a web server that redirects to a URL.
func cmdRedirect(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "redirect VARIABLE URL")
	s := httptest.NewServer(http.RedirectHandler(args[1], http.StatusPermanentRedirect))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.URL)
}

// alerts VARIABLE SECRET: starts a web server that takes what is signed with the secret,
// by Standard Webhooks, and answers 401 to the rest.
func cmdAlerts(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "alerts VARIABLE SECRET")
	verifier, err := svix.NewWebhook(args[1])
	ts.Check(err)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("webhook-id") == "" || verifier.Verify(body, r.Header) != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.URL)
}

// occupy VARIABLE: takes a port and names it.
func cmdOccupy(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "occupy VARIABLE")
	s := httptest.NewServer(http.NotFoundHandler())
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.Listener.Addr().String())
}
