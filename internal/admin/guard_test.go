package admin_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/admin"
	"github.com/clerksync/clerksync/internal/testkit"
)

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// TestEveryAnswerIsGuarded: whatever is asked for, and whatever the answer.
func TestEveryAnswerIsGuarded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append(user(1))
	w.park(user(2), "refused", 0)
	guarded := newWorld(t, withToken)
	for _, c := range []struct {
		world        *world
		method, path string
		status       int
		change       func(*http.Request)
	}{
		{w, "GET", "/", 200, nil},
		{w, "HEAD", "/", 200, nil},
		{w, "GET", "/static/app.js", 200, nil},
		{w, "GET", "/static/uplot/LICENSE", 200, nil},
		{w, "GET", "/static/uplot/", 404, nil},
		{w, "GET", "/static/../admin.go", 307, nil},
		{w, "GET", "/events", 200, nil},
		{w, "GET", "/events?user=x", 400, nil},
		{w, "GET", "/events/1", 200, nil},
		{w, "GET", "/events/1/body", 200, nil},
		{w, "GET", "/events/99", 404, nil},
		{w, "GET", "/events/0", 404, nil},
		{w, "GET", "/events/x", 404, nil},
		{w, "GET", "/letters", 200, nil},
		{w, "GET", "/letters/1", 200, nil},
		{w, "GET", "/letters/99/body", 404, nil},
		{w, "POST", "/letters/1/retry", 403, nil},
		{w, "GET", "/letters/1/retry", 405, nil},
		{w, "DELETE", "/", 405, nil},
		{w, "GET", "/nothing", 404, nil},
		{w, "GET", "/", 403, host("attacker.example")},
		{w, "POST", "/events/1/replay", 403, header("Origin", "https://attacker.example")},
		{guarded, "GET", "/", 303, nil},
		{guarded, "GET", "/events", 401, nil},
		{guarded, "GET", "/stream", 401, nil},
		{guarded, "GET", "/login", 200, nil},
		{guarded, "POST", "/login", 401, nil},
		{guarded, "GET", "/login/link", 200, nil},
		{guarded, "POST", "/login/link", 401, nil},
		{guarded, "POST", "/login/link", 403, header("Origin", "https://attacker.example")},
	} {
		name := fmt.Sprint(c.method, " ", c.path)
		change := c.change
		if change == nil {
			change = func(*http.Request) {}
		}
		answer := c.world.do(c.method, c.path, change)
		require.Equal(t, c.status, answer.Code, "%s: %s", name, answer.Body)
		require.Equal(t, policy, answer.Header().Get("Content-Security-Policy"), name)
		require.Equal(t, "nosniff", answer.Header().Get("X-Content-Type-Options"), name)
		referrer, cache := "no-referrer", "no-store"
		if strings.HasPrefix(c.path, "/login") && answer.Header().Get("Content-Type") == "text/html; charset=utf-8" {
			referrer = "same-origin"
		}
		if strings.HasPrefix(c.path, "/static/") && c.status == 200 {
			cache = "no-cache"
		}
		require.Equal(t, referrer, answer.Header().Get("Referrer-Policy"), name)
		require.Equal(t, cache, answer.Header().Get("Cache-Control"), name)
		if c.status >= 400 && c.path != "/login" {
			require.Equal(t, "text/plain; charset=utf-8", answer.Header().Get("Content-Type"), name)
		}
	}
}

// TestPagesNeedNothingInline: what the policy would refuse is not there, and nothing
// is of another host.
func TestPagesNeedNothingInline(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withToken)
	session := w.login()
	for _, page := range []string{w.do("GET", "/", session).Body.String(), w.do("GET", "/login").Body.String(), w.do("GET", "/login/link").Body.String()} {
		require.Contains(t, page, "<main")
		require.NotRegexp(t, `(?i)\s(style|on[a-z]+)\s*=`, page)
		require.NotRegexp(t, `(?i)<style|javascript:|//`, strings.TrimPrefix(page, "<!doctype html>"))
		for _, script := range regexp.MustCompile(`<script[^>]*>[^<]*`).FindAllString(page, -1) {
			require.Regexp(t, `^<script src="/static/[a-zA-Z/.]+" (defer|type="module")>$`, script)
		}
		for _, ref := range regexp.MustCompile(`(?:href|src)="([^"#]+)"`).FindAllStringSubmatch(page, -1) {
			require.Equal(t, http.StatusOK, w.do("GET", ref[1]).Code, ref[1])
		}
		require.NotContains(t, page, adminToken)
	}
}

func TestStaticFilesAreKeptByTheBrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for path, contentType := range map[string]string{
		"/static/app.js": "text/javascript; charset=utf-8", "/static/app.css": "text/css; charset=utf-8", "/static/icon.svg": "image/svg+xml",
		"/static/preact/standalone.module.js": "text/javascript; charset=utf-8", "/static/preact/LICENSE-preact": "text/plain; charset=utf-8",
	} {
		answer := w.do("GET", path)
		require.Equal(t, http.StatusOK, answer.Code, path)
		require.Equal(t, contentType, answer.Header().Get("Content-Type"), path)
		require.NotEmpty(t, answer.Body.Bytes(), path)
		again := w.do("GET", path, header("If-None-Match", answer.Header().Get("ETag")))
		require.Equal(t, http.StatusNotModified, again.Code, path)
		require.Empty(t, again.Body.Bytes(), path)
	}
}

// TestNamesOfOthersAreRefused: a site whose name leads to this machine gets nothing.
func TestNamesOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, status := range map[string]int{
		"localhost": 200, "localhost:8081": 200, "LOCALHOST:1": 200, "127.0.0.1": 200, "127.0.0.1:8081": 200, "127.8.9.10:80": 200,
		"[::1]": 200, "[::1]:8081": 200, "[::ffff:127.0.0.1]:8081": 200,
		"": 403, "attacker.example": 403, "attacker.example:8081": 403, "localhost.attacker.example:8081": 403, "127.0.0.1.attacker.example": 403,
		"10.0.0.5:8081": 403, "192.168.1.1": 403, "0.0.0.0:8081": 403, "[::]:8081": 403, "[2001:db8::1]": 403, "127.1": 403, "2130706433": 403,
		"localhost:8081:8082": 403, "[localhost": 200,
	} {
		for _, path := range []string{"/", "/events", "/static/app.js", "/login"} {
			want := status
			if path == "/login" && status == 200 {
				want = 303
			}
			require.Equal(t, want, w.do("GET", path, host(name)).Code, "%s%s", name, path)
		}
	}

	// With a token, the name does not matter: the session is bound to it.
	guarded := newWorld(t, withToken)
	require.Equal(t, http.StatusOK, guarded.do("GET", "/", host("admin.example"), guarded.login()).Code)
	require.Equal(t, http.StatusSeeOther, guarded.do("GET", "/", host("attacker.example")).Code)
}

// TestWithoutATokenNobodyLogsIn: no page, payload or action, neither by an empty token
// nor by an empty code; and the answer says what to set. Readings are open where they are
// without a token anyway.
func TestWithoutATokenNobodyLogsIn(t *testing.T) {
	t.Parallel()
	for open, readings := range map[admin.Access]int{admin.HealthOnly: 403, admin.Readings: 200} {
		w := newWorld(t, func(o *admin.Options) { o.Open = open })
		w.append(user(1))
		for _, path := range []string{"/", "/login", "/login/link", "/events", "/events/1/body", "/letters", "/stream"} {
			for _, bearer := range []string{"", "Bearer ", "Bearer x"} {
				answer := w.do("GET", path, header("Authorization", bearer))
				require.Equal(t, http.StatusForbidden, answer.Code, path)
				require.Contains(t, answer.Body.String(), "set CLERKSYNC_ADMIN_TOKEN (openssl rand -hex 24 makes one)", path)
			}
		}
		for _, path := range []string{"/lag", "/metrics"} {
			require.Equal(t, readings, w.do("GET", path).Code, path)
		}
		for _, body := range []string{"token=", "code=", ""} {
			require.Equal(t, http.StatusForbidden, w.do("POST", "/login", form(body)).Code, body)
		}
		require.Equal(t, http.StatusForbidden, w.do("POST", "/login/link", header("Authorization", "Bearer ")).Code)
		require.Equal(t, http.StatusForbidden, w.do("POST", "/events/1/replay").Code)
	}
}

// TestReadingsAreOpenToLocalScrapers: /lag and /metrics need no token on the loopback,
// also when a wrong one is sent; everything else but health does.
func TestReadingsAreOpenToLocalScrapers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withReadings)
	w.append(user(1))
	for _, path := range []string{"/healthz", "/readyz", "/lag", "/metrics"} {
		require.Equal(t, http.StatusOK, w.do("GET", path).Code, path)
		require.Equal(t, http.StatusOK, w.do("GET", path, header("Authorization", "Bearer wrong")).Code, path)
	}
	for _, path := range []string{"/events", "/events/1", "/events/1/body", "/letters", "/stream"} {
		require.Equal(t, http.StatusUnauthorized, w.do("GET", path).Code, path)
	}
	require.Equal(t, http.StatusUnauthorized, w.do("POST", "/events/1/replay").Code)
	require.Equal(t, http.StatusSeeOther, w.do("GET", "/").Code)
	require.Equal(t, http.StatusOK, w.do("GET", "/", w.login()).Code)

	// What a page of another site could otherwise read by a name of its own.
	for _, path := range []string{"/lag", "/metrics", "/", "/login"} {
		require.Equal(t, http.StatusForbidden, w.do("GET", path, host("attacker.example")).Code, path)
	}
	for _, path := range []string{"/lag", "/metrics"} {
		require.Equal(t, http.StatusForbidden, w.do("GET", path, header("Sec-Fetch-Site", "cross-site")).Code, path)
	}
}

// TestOthersFetchNothing: a page of another site can neither read nor hold a stream.
func TestOthersFetchNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{"/events", "/letters", "/stream"} {
		for _, site := range []string{"cross-site", "same-site"} {
			require.Equal(t, http.StatusForbidden, w.do("GET", path, header("Sec-Fetch-Site", site)).Code, path)
		}
	}
	require.Equal(t, http.StatusOK, w.do("GET", "/events", header("Sec-Fetch-Site", "same-origin")).Code)
	require.Equal(t, http.StatusOK, w.do("GET", "/", header("Sec-Fetch-Site", "cross-site")).Code, "a link to the page")
}

// TestActionsAreRefused that are without the token of the page, with that of another,
// or from another origin: and nothing is done.
func TestActionsAreRefused(t *testing.T) {
	t.Parallel()
	st := testkit.Store(t)
	withStore := func(o *admin.Options) { o.Store = st }
	open, guarded := newWorld(t, withStore), newWorld(t, withStore, withToken)
	mine, others := guarded.login(), guarded.login()
	none := func(*http.Request) {}
	type attempt struct {
		world *world
		name  string
		as    func(*http.Request)
		with  []func(*http.Request)
	}
	var attempts []attempt
	add := func(w *world, name string, as func(*http.Request), with ...func(*http.Request)) {
		attempts = append(attempts, attempt{w, name, as, with})
	}
	for _, w := range []*world{open, guarded} {
		as := none
		if w == guarded {
			as = mine
		}
		add(w, "no token", as)
		add(w, "wrong token", as, header("Clerksync-Action", "AAAAAAAAAAAAAAAAAAAAAAAAAA"))
		add(w, "admin token for it", as, header("Clerksync-Action", adminToken))
		add(w, "cross-site", as, w.action(as), header("Sec-Fetch-Site", "cross-site"))
		add(w, "same site, another port", as, w.action(as), header("Sec-Fetch-Site", "same-site"))
		add(w, "another origin", as, w.action(as), header("Origin", "https://attacker.example"))
		add(w, "another port", as, w.action(as), header("Origin", "http://localhost:3000"))
		add(w, "no origin to speak of", as, w.action(as), header("Origin", "null"))
	}
	add(open, "another name", none, open.action(), host("attacker.example"))
	add(guarded, "token of another session", mine, guarded.action(others))
	add(guarded, "bearer with the token of a session", header("Authorization", "Bearer "+adminToken), guarded.action(mine))

	for _, w := range []*world{open, guarded} {
		seq := w.append(user(1))
		w.park(user(1), "refused", seq)
	}
	for _, a := range attempts {
		for _, path := range []string{"/events/1/replay", "/letters/1/retry", "/letters/1/discard", "/logout"} {
			answer := a.world.do("POST", path, append(a.with, a.as)...)
			require.Equal(t, http.StatusForbidden, answer.Code, "%s %s: %s", a.name, path, answer.Body)
		}
	}
	for _, w := range []*world{open, guarded} {
		require.Len(t, w.letters(), 1)
		require.Equal(t, http.StatusUnauthorized, guarded.do("POST", "/events/1/replay", guarded.action(mine)).Code, "without a session")
	}
	var rows int
	require.NoError(t, st.Pool().QueryRow(t.Context(), "SELECT count(*) FROM users").Scan(&rows))
	require.Zero(t, rows)
	require.Equal(t, http.StatusOK, guarded.do("GET", "/events", mine).Code, "the session goes on")
}

// TestNoPayloadUnlessAskedFor: neither in a page, nor in a list, nor in a header.
func TestNoPayloadUnlessAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append(user(1))
	w.park(user(1), "refused", 1)
	broken := user(2)
	broken.Body = []byte(`{"type":"` + secret + `", broken`)
	broken.Envelope.Type = ""
	w.park(broken, "undecodable", 0)
	for _, path := range []string{"/", "/events", "/events/1", "/letters", "/letters/1", "/letters/2", "/events?type=user.*&user=user_1", "/login"} {
		answer := w.do("GET", path)
		require.Less(t, answer.Code, 400, path)
		require.NotContains(t, answer.Body.String(), "example.com", path)
		require.NotContains(t, fmt.Sprint(answer.Header()), "example.com", path)
	}
	for _, path := range []string{"/events/1/body", "/letters/1/body", "/letters/2/body"} {
		require.Contains(t, w.do("GET", path).Body.String(), secret, path)
	}
}
