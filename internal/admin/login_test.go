package admin_test

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/admin"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/testkit"
)

func TestLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withToken)
	answer := w.do("GET", "/")
	require.Equal(t, http.StatusSeeOther, answer.Code)
	require.Equal(t, "/login", answer.Header().Get("Location"))

	answer = w.do("POST", "/login", form("token=wrong"))
	require.Equal(t, http.StatusUnauthorized, answer.Code)
	require.Contains(t, answer.Body.String(), "the token is wrong: it is CLERKSYNC_ADMIN_TOKEN")
	require.Empty(t, answer.Result().Cookies())
	require.Equal(t, http.StatusUnauthorized, w.do("POST", "/login?token="+adminToken).Code, "a token does not belong into a URL")

	answer = w.do("POST", "/login", form("token="+adminToken))
	require.Equal(t, http.StatusSeeOther, answer.Code)
	require.Equal(t, "/", answer.Header().Get("Location"))
	cookie := answer.Result().Cookies()[0]
	require.Equal(t, "clerksync_session", cookie.Name)
	require.Len(t, cookie.Value, 26)
	require.True(t, cookie.HttpOnly)
	require.Equal(t, http.SameSiteStrictMode, cookie.SameSite)
	require.Equal(t, 12*60*60, cookie.MaxAge)
	require.Equal(t, "/", cookie.Path)
	require.False(t, cookie.Secure, "it came over plain HTTP")
	secure := w.do("POST", "/login", form("token="+adminToken), header("X-Forwarded-Proto", "https"))
	require.True(t, secure.Result().Cookies()[0].Secure)

	session := func(r *http.Request) { r.AddCookie(cookie) }
	require.Equal(t, http.StatusOK, w.do("GET", "/", session).Code)
	require.Equal(t, http.StatusOK, w.do("GET", "/events", session).Code)
	require.Equal(t, http.StatusSeeOther, w.do("GET", "/login", session).Code)
	require.Equal(t, http.StatusUnauthorized, w.do("GET", "/events", func(r *http.Request) {
		r.AddCookie(&http.Cookie{Name: cookie.Name, Value: strings.Repeat("A", 26)})
	}).Code)

	answer = w.do("POST", "/logout", session, w.action(session))
	require.Equal(t, http.StatusNoContent, answer.Code)
	require.Negative(t, answer.Result().Cookies()[0].MaxAge)
	require.Equal(t, http.StatusUnauthorized, w.do("GET", "/events", session).Code)
}

// TestBearerToken: for programs, also on the loopback.
func TestBearerToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withToken)
	bearer := header("Authorization", "Bearer "+adminToken)
	require.Equal(t, http.StatusOK, w.do("GET", "/events", bearer).Code)
	for _, wrong := range []string{"", "Bearer", "Bearer ", "Basic " + adminToken, "Bearer " + adminToken + "x", adminToken} {
		answer := w.do("GET", "/events", header("Authorization", wrong))
		require.Equal(t, http.StatusUnauthorized, answer.Code, wrong)
		require.Equal(t, "Bearer", answer.Header().Get("WWW-Authenticate"))
	}
	w.park(user(1), "refused", 0)
	require.Equal(t, http.StatusOK, w.do("POST", "/letters/1/discard", bearer, w.action(bearer)).Code)
}

// TestBadFormsAreRefused before they are read to the end.
func TestBadFormsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withToken)
	large := "token=" + adminToken + "&more=" + strings.Repeat("x", 1<<20)
	require.Equal(t, http.StatusBadRequest, w.do("POST", "/login", form(large)).Code)
	require.Equal(t, http.StatusBadRequest, w.do("POST", "/login", form("token=%zz")).Code)
	require.Equal(t, http.StatusForbidden, w.do("POST", "/login", form("token="+adminToken), header("Origin", "https://attacker.example")).Code)
}

// guarded is a dashboard on which nothing is read, to be used where time is not real.
func guarded(t *testing.T) *world {
	w := &world{t: t, watch: &watch{}}
	var err error
	w.Handler, err = admin.New(admin.Options{
		Meter: &lag.Meter{}, Gatherer: prometheus.NewRegistry(), Watch: w.watch, Log: &eventlog.Log{}, Token: adminToken,
	})
	require.NoError(t, err)
	return w
}

// from sets the address of the client.
func from(address string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = net.JoinHostPort(address, "40000") }
}

// TestWrongTokensAreLimited: after ten on whatever path, wrong ones get 429 until some
// time went by. A right one always passes, also from the same address, and sessions and
// other addresses go on.
func TestWrongTokensAreLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := guarded(t)
		session := w.login()
		right, wrong := header("Authorization", "Bearer "+adminToken), header("Authorization", "Bearer wrong")
		attempts := []struct{ method, path, body string }{
			{"POST", "/login", "token=wrong"},
			{"POST", "/login", "code=wrong"},
			{"GET", "/lag", ""},
			{"GET", "/metrics", ""},
			{"GET", "/events", ""},
			{"POST", "/login/link", ""},
		}
		for i := range 10 {
			a := attempts[i%len(attempts)]
			require.Equal(t, http.StatusUnauthorized, w.do(a.method, a.path, form(a.body), wrong).Code, a.path)
		}
		for _, a := range append(attempts, []struct{ method, path, body string }{{"GET", "/", ""}, {"GET", "/login", ""}}...) {
			answer := w.do(a.method, a.path, form(a.body), wrong, from("192.0.2.1")) // by another port
			require.Equal(t, http.StatusTooManyRequests, answer.Code, a.path)
			require.Equal(t, "3", answer.Header().Get("Retry-After"), a.path)
			require.Contains(t, answer.Body.String(), "too many wrong tokens", a.path)
		}
		require.Equal(t, http.StatusUnauthorized, w.do("GET", "/events", wrong, from("192.0.2.2")).Code, "another address")

		for _, path := range []string{"/metrics", "/"} {
			require.Equal(t, http.StatusOK, w.do("GET", path, right, from("192.0.2.1")).Code, path)
		}
		require.Equal(t, http.StatusSeeOther, w.do("POST", "/login", form("token="+adminToken)).Code)
		require.Equal(t, http.StatusSeeOther, w.do("POST", "/login", form("code="+w.code())).Code)
		require.Equal(t, http.StatusOK, w.do("GET", "/", session).Code)

		testkit.Pass(3 * time.Second)
		require.Equal(t, http.StatusUnauthorized, w.do("POST", "/login", form("token=wrong")).Code)
		require.Equal(t, http.StatusTooManyRequests, w.do("POST", "/login", form("token=wrong")).Code)
	})
}

// code asks for a login code, as clerksync dashboard does.
func (w *world) code() string {
	w.t.Helper()
	answer := w.do("POST", "/login/link", header("Authorization", "Bearer "+adminToken))
	require.Equal(w.t, http.StatusOK, answer.Code, answer.Body)
	var made struct{ Code string }
	require.NoError(w.t, json.Unmarshal(answer.Body.Bytes(), &made))
	require.Len(w.t, made.Code, 26)
	return made.Code
}

// TestLinkLogsInOnce: within five minutes, and only when it is posted.
func TestLinkLogsInOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := guarded(t)
		code := w.code()
		for range 2 { // a preview or a prefetch of the page
			answer := w.do("GET", "/login/link")
			require.Equal(t, http.StatusOK, answer.Code)
			require.Empty(t, answer.Result().Cookies())
		}
		require.Equal(t, http.StatusUnauthorized, w.do("POST", "/login?code="+code).Code, "it does not belong into a query")
		require.Equal(t, http.StatusForbidden, w.do("POST", "/login", form("code="+code), header("Origin", "https://attacker.example")).Code)

		answer := w.do("POST", "/login", form("code="+code))
		require.Equal(t, http.StatusSeeOther, answer.Code)
		require.Equal(t, "/", answer.Header().Get("Location"))
		cookie := answer.Result().Cookies()[0]
		session := func(r *http.Request) { r.AddCookie(cookie) }
		require.Equal(t, http.StatusOK, w.do("GET", "/", session).Code)

		const used = "this link was used before, or is older than 5 minutes: clerksync dashboard prints a new one"
		answer = w.do("POST", "/login", form("code="+code))
		require.Equal(t, http.StatusUnauthorized, answer.Code)
		require.Contains(t, answer.Body.String(), used)
		require.Empty(t, answer.Result().Cookies())

		late := w.code()
		testkit.Pass(5 * time.Minute)
		require.Contains(t, w.do("POST", "/login", form("code="+late)).Body.String(), used)

		// Several links at once; of too many, the oldest ends.
		var made []string
		for range 9 {
			made = append(made, w.code())
		}
		require.Equal(t, http.StatusUnauthorized, w.do("POST", "/login", form("code="+made[0])).Code)
		for _, code := range made[1:] {
			require.Equal(t, http.StatusSeeOther, w.do("POST", "/login", form("code="+code)).Code)
		}

		// No link by a session: it would outlive the session.
		for _, change := range []func(*http.Request){session, header("Authorization", "Bearer wrong"), header("Authorization", "Bearer "+made[1])} {
			answer := w.do("POST", "/login/link", change)
			require.Equal(t, http.StatusUnauthorized, answer.Code)
			require.Equal(t, "Bearer", answer.Header().Get("WWW-Authenticate"))
		}
	})
}

// TestOpenDashboardNeedsNoLogin: every page of the login leads to the dashboard.
func TestOpenDashboardNeedsNoLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, page := range []string{"GET /login", "GET /login/link", "POST /login"} {
		method, path, _ := strings.Cut(page, " ")
		answer := w.do(method, path, form("token=wrong"))
		require.Equal(t, http.StatusSeeOther, answer.Code, page)
		require.Equal(t, "/", answer.Header().Get("Location"), page)
	}
}

// TestSessionsEnd after twelve hours, and the oldest when there are too many.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := guarded(t)
		first := w.login()
		testkit.Pass(12 * time.Hour)
		require.Equal(t, http.StatusOK, w.do("GET", "/", first).Code)
		testkit.Pass(time.Second)
		require.Equal(t, http.StatusSeeOther, w.do("GET", "/", first).Code)

		second := w.login()
		testkit.Pass(time.Second)
		for range 99 {
			w.login()
		}
		require.Equal(t, http.StatusOK, w.do("GET", "/", second).Code)
		last := w.login()
		require.Equal(t, http.StatusSeeOther, w.do("GET", "/", second).Code)
		require.Equal(t, http.StatusOK, w.do("GET", "/", last).Code)
	})
}
