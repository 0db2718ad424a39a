package admin_test

import (
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

// TestWrongTokensAreCounted: after ten, none is looked at, also not a right one, until
// some time went by. Sessions go on.
func TestWrongTokensAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := guarded(t)
		session := w.login()
		for i := range 10 {
			change := []func(*http.Request){form("token=wrong")}
			method, path := "POST", "/login"
			if i%2 == 1 { // of either kind
				method, path, change = "GET", "/events", []func(*http.Request){header("Authorization", "Bearer wrong")}
			}
			require.Equal(t, http.StatusUnauthorized, w.do(method, path, change...).Code)
		}
		answer := w.do("POST", "/login", form("token="+adminToken))
		require.Equal(t, http.StatusTooManyRequests, answer.Code)
		require.Equal(t, "3", answer.Header().Get("Retry-After"))
		require.Contains(t, answer.Body.String(), "too many wrong tokens")
		require.Equal(t, http.StatusOK, w.do("GET", "/", session).Code)
		require.Equal(t, http.StatusSeeOther, w.do("GET", "/", header("Authorization", "Bearer "+adminToken)).Code)

		testkit.Pass(3 * time.Second)
		require.Equal(t, http.StatusSeeOther, w.do("POST", "/login", form("token="+adminToken)).Code)
	})
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
