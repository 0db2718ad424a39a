package fakeclerk_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clerksync/clerksync/internal/fakeclerk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// day is the day of the tests; their clock stands still unless they move it.
var day = time.UnixMilli(1768208400000)

// instance is an instance under test, with the events that it emitted.
type instance struct {
	*fakeclerk.Clerk
	t      *testing.T
	now    time.Time
	events []fakeclerk.Event
}

func newInstance(t *testing.T, o fakeclerk.Options) *instance {
	i := &instance{t: t, now: day}
	o.Now = func() time.Time { return i.now }
	o.Emit = func(e fakeclerk.Event) { i.events = append(i.events, e) }
	i.Clerk = fakeclerk.New(o)
	return i
}

// get makes a request with the right key.
func (i *instance) get(path string) *httptest.ResponseRecorder {
	return i.ask(http.MethodGet, path, "Bearer "+i.SecretKey())
}

func (i *instance) ask(method, path, authorization string) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(i.t.Context(), method, path, nil)
	req.Header.Set("Authorization", authorization)
	w := httptest.NewRecorder()
	i.ServeHTTP(w, req)
	return w
}

type object struct {
	ID           string `json:"id"`
	Role         string `json:"role"`
	MembersCount *int   `json:"members_count"`
	CreatedAt    int64  `json:"created_at"`
	UpdatedAt    int64  `json:"updated_at"`
}

// users returns the ids of a page of users.
func (i *instance) users(parameters string) []string {
	i.t.Helper()
	var page []object
	i.decode("/v1/users?"+parameters, &page)
	return ids(page)
}

// list returns the objects of a page of another list, and its total.
func (i *instance) list(path string) ([]object, int) {
	i.t.Helper()
	var page struct {
		Data  []object `json:"data"`
		Total *int     `json:"total_count"`
	}
	i.decode(path, &page)
	return page.Data, *page.Total
}

func (i *instance) decode(path string, into any) {
	i.t.Helper()
	w := i.get(path)
	require.Equal(i.t, http.StatusOK, w.Code, w.Body)
	require.NoError(i.t, json.Unmarshal(w.Body.Bytes(), into))
}

func ids(page []object) []string {
	all := []string{}
	for _, o := range page {
		all = append(all, o.ID)
	}
	return all
}

// refused checks the status and the code of an error.
func (i *instance) refused(w *httptest.ResponseRecorder, status int, code string) {
	i.t.Helper()
	require.Equal(i.t, status, w.Code, w.Body)
	var body struct {
		Errors []struct {
			Code        string `json:"code"`
			Message     string `json:"message"`
			LongMessage string `json:"long_message"`
		} `json:"errors"`
	}
	require.NoError(i.t, json.Unmarshal(w.Body.Bytes(), &body))
	require.Len(i.t, body.Errors, 1)
	require.Equal(i.t, code, body.Errors[0].Code)
	require.NotEmpty(i.t, body.Errors[0].Message)
	require.NotEmpty(i.t, body.Errors[0].LongMessage)
}

// people creates users, a second apart, and returns their ids.
func (i *instance) people(n int) []string {
	var all []string
	for k := range n {
		i.now = i.now.Add(time.Second)
		all = append(all, i.CreateUser(fakeclerk.User{Email: fmt.Sprintf("person-%d@example.com", k)}).ID)
	}
	return all
}

// walk pages through the users with the cursor, until a page is not full.
func (i *instance) walk(parameters string, limit int) []string {
	i.t.Helper()
	var all []string
	cursor := ""
	for {
		page := i.users(fmt.Sprintf("%s&limit=%d%s", parameters, limit, cursor))
		all = append(all, page...)
		if len(page) < limit {
			return all
		}
		cursor = "&starting_after=" + page[len(page)-1]
	}
}

func values(name string, ids []string) string {
	return url.Values{name: ids}.Encode()
}

// serve makes the instance reachable, for the traps of a connection.
func (i *instance) serve() func(path string) (*http.Response, []byte, error) {
	server := httptest.NewServer(i)
	i.t.Cleanup(server.Close)
	return func(path string) (*http.Response, []byte, error) {
		req, err := http.NewRequestWithContext(i.t.Context(), http.MethodGet, server.URL+path, nil)
		require.NoError(i.t, err)
		req.Header.Set("Authorization", "Bearer "+i.SecretKey())
		resp, err := server.Client().Do(req)
		if err != nil {
			return nil, nil, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp, body, err
	}
}

func types(events []fakeclerk.Event) string {
	var all []string
	for _, e := range events {
		all = append(all, e.Type)
	}
	return strings.Join(all, " ")
}
